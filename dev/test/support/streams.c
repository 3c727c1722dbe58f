// Streams played by the host; see streams.h.
#include "dev/test/support/streams.h"

#include "core/base/error.h"
#include "core/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STREAMS 8
#define STEPS   4096

struct EventPlayed {
    int recorded, passed; // how often: as it was put on streams, as these came to it
};

// A copy, a call, the record of an event, or the wait for its record of a number.
typedef struct {
    void *to;
    const void *from;
    size_t bytes;
    StreamCall *call;
    void *job;
    struct EventPlayed *records, *waits;
    int record;
} Step;

struct StreamPlayed {
    Step steps[STEPS];
    int begin, end;
};

static cudaStream_t streams[STREAMS];

void cudaStreamCreateWithFlags(cudaStream_t *stream, int flags) {
    int place = 0;
    (void)flags;
    while (streams[place]) place++;
    assert_true(place < STREAMS);
    *stream = streams[place] = (cudaStream_t)alloc_or_exit(1, sizeof **stream);
}

void cudaStreamSynchronize(cudaStream_t stream) {
    streams_run(1, stream);
}

void cudaStreamDestroy(cudaStream_t stream) {
    for (int i = 0; i < STREAMS; i++)
        if (streams[i] == stream) streams[i] = NULL;
    free(stream);
}

void cudaEventCreateWithFlags(cudaEvent_t *event, int flags) {
    (void)flags;
    *event = (cudaEvent_t)alloc_or_exit(1, sizeof **event);
}

void cudaEventDestroy(cudaEvent_t event) {
    free(event);
}

static Step *put(cudaStream_t stream) {
    assert_true(stream->end < STEPS);
    Step *step = &stream->steps[stream->end++];
    memset(step, 0, sizeof *step);
    return step;
}

void cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->recorded++;
    put(stream)->records = event;
}

void cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, int flags) {
    Step *step = put(stream);
    (void)flags;
    step->waits = event;
    step->record = event->recorded;
}

void cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    Step *step = put(stream);
    (void)kind;
    step->to = to;
    step->from = from;
    step->bytes = bytes;
}

void streams_call(cudaStream_t stream, StreamCall *call, void *job) {
    Step *step = put(stream);
    step->call = call;
    step->job = job;
}

static bool can_step(const struct StreamPlayed *stream) {
    if (!stream || stream->begin == stream->end) return false;
    const Step *step = &stream->steps[stream->begin];
    return !step->waits || step->waits->passed >= step->record;
}

static void make_step(cudaStream_t stream) {
    Step *step = &stream->steps[stream->begin++];
    if (step->bytes) memcpy(step->to, step->from, step->bytes);
    if (step->call) step->call(step->job);
    free(step->job);
    if (step->records) step->records->passed++;
    if (stream->begin == stream->end) stream->begin = stream->end = 0;
}

// NULL: all have come to their ends.
static cudaStream_t choose(uint64_t random, cudaStream_t preferred) {
    cudaStream_t able[STREAMS];
    int count = 0, left = 0;
    if (can_step(preferred)) return preferred;
    for (int i = 0; i < STREAMS; i++) {
        if (can_step(streams[i])) able[count++] = streams[i];
        left += streams[i] && streams[i]->begin < streams[i]->end;
    }
    if (left > 0 && count == 0) fail_msg("%d streams wait for each other", left);
    return count > 0 ? able[random % (uint64_t)count] : NULL;
}

void streams_run(uint64_t seed, cudaStream_t preferred) {
    cudaStream_t stream;
    for (uint64_t i = 0; (stream = choose(random_bits(seed, 1, i), preferred)) != NULL; i++)
        make_step(stream);
}
