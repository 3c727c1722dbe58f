// Streams, events and copies of CUDA, played by the host in plain memory, for the host code of the CUDA
// engine that orders them. What is put on a stream waits there; streams_run lets a stream of a random choice
// make a step, or, as long as it can, one that is preferred. So whatever no event forbids happens in some
// order.
#ifndef TEST_STREAMS_H
#define TEST_STREAMS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct StreamPlayed *cudaStream_t;
typedef struct EventPlayed *cudaEvent_t;
typedef enum { cudaMemcpyDefault, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost } cudaMemcpyKind;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };

void cudaStreamCreateWithFlags(cudaStream_t *stream, int flags);
void cudaStreamSynchronize(cudaStream_t stream);
void cudaStreamDestroy(cudaStream_t stream);
void cudaEventCreateWithFlags(cudaEvent_t *event, int flags);
void cudaEventDestroy(cudaEvent_t event);
void cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
void cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, int flags);
void cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);

// A call behind what is on the stream, as of a kernel. `job` is freed behind it.
typedef void StreamCall(const void *job);
void streams_call(cudaStream_t stream, StreamCall *call, void *job);

// Plays all streams to their ends. `preferred`: NULL for none
void streams_run(uint64_t seed, cudaStream_t preferred);

#ifdef __cplusplus
}
#endif
#endif
