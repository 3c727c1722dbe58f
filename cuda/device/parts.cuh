// The parts of a training step on the GPU: each is a range that a profiler shows (NVTX), always; and, while a
// benchmark takes the time, events on the stream tell how long it took. Nothing waits for them.
#ifndef CUDA_PARTS_CUH
#define CUDA_PARTS_CUH

#include "core/engine/parts.h"
#include "cuda/device/common.cuh"

#include <assert.h>
#include <nvtx3/nvToolsExt.h>

// All zero but for the stream: no time is taken.
typedef struct {
    cudaStream_t stream;
    double *seconds;     // (PART_COUNT) added to by cuda_parts_collect; NULL: the time is not taken
    nvtxRangeId_t range; // of the part in progress
    bool open;           // there is one
    Part part;           // which it is
    cudaEvent_t *events; // where parts began since the last collection
    int *parts;          // which they are, PART_COUNT for none
    int count, room;
} CudaPartClock;

static inline void cuda_part_mark(CudaPartClock *clock, int part) {
    if (!clock->seconds) return;
    if (clock->count == clock->room) {
        int room = clock->room ? 2 * clock->room : 1024;
        cudaEvent_t *events = (cudaEvent_t *)alloc_or_exit((size_t)room, sizeof *events);
        int *parts = (int *)alloc_or_exit((size_t)room, sizeof *parts);
        for (int i = 0; i < clock->room; i++) events[i] = clock->events[i], parts[i] = clock->parts[i];
        for (int i = clock->room; i < room; i++) CUDA_CHECK(cudaEventCreate(&events[i]));
        free(clock->events);
        free(clock->parts);
        clock->events = events;
        clock->parts = parts;
        clock->room = room;
    }
    clock->parts[clock->count] = part;
    CUDA_CHECK(cudaEventRecord(clock->events[clock->count++], clock->stream));
}

// The part in progress ends, and none begins.
static inline void cuda_part_end(CudaPartClock *clock) {
    if (!clock->open) return;
    nvtxRangeEnd(clock->range);
    clock->open = false;
    cuda_part_mark(clock, PART_COUNT);
}

// From here on the work put on the stream is of this part; the one before it ends.
static inline void cuda_part_begin(CudaPartClock *clock, Part part) {
    if (clock->open) nvtxRangeEnd(clock->range);
    clock->range = nvtxRangeStartA(part_name(part));
    clock->open = true;
    clock->part = part;
    cuda_part_mark(clock, part);
}

// Begins a part within another; gives that other, to go on with.
static inline Part cuda_part_switch(CudaPartClock *clock, Part part) {
    Part before = clock->part;
    assert(clock->open);
    cuda_part_begin(clock, part);
    return before;
}

// Adds up what was marked. All of it must be over.
static inline void cuda_parts_collect(CudaPartClock *clock) {
    for (int i = 0; i + 1 < clock->count; i++) {
        float ms;
        if (clock->parts[i] == PART_COUNT) continue;
        CUDA_CHECK(cudaEventElapsedTime(&ms, clock->events[i], clock->events[i + 1]));
        clock->seconds[clock->parts[i]] += ms * 1e-3;
    }
    clock->count = 0;
}

static inline void cuda_parts_free(CudaPartClock *clock) {
    if (clock->open) nvtxRangeEnd(clock->range); // an error has left it so
    clock->open = false;
    for (int i = 0; i < clock->room; i++) CUDA_CHECK(cudaEventDestroy(clock->events[i]));
    free(clock->events);
    free(clock->parts);
}

#endif
