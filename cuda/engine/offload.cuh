// Inputs of blocks in host memory, from their forward to their backward (core/engine/offload.h). Copies go on
// a stream of their own beside the computing; an event tells each side when the other is done with a place.
#ifndef CUDA_OFFLOAD_CUH
#define CUDA_OFFLOAD_CUH

#include "core/engine/offload.h"
#include "cuda/device/common.cuh"

// The GPU's places are taken by turns: input `layer` lies in place layer % OFFLOAD_ON_GPU.
typedef struct {
    int64_t count;         // of the first so many blocks the inputs are offloaded
    int64_t size;          // elements of an input
    bf16 *host;            // (count, size)
    cudaStream_t stream;   // of the copies
    cudaStream_t computes; // of what makes and reads the inputs
    cudaEvent_t ready[OFFLOAD_ON_GPU], copied[OFFLOAD_ON_GPU]; // on the one stream, on the other
} CudaOffload;

// Opens the stream where something is to be offloaded; count, size and host are set.
void offload_open(CudaOffload *offload, cudaStream_t computes);
// Waits for the copies under way.
void offload_close(CudaOffload *offload);

static inline bool offload_has(const CudaOffload *offload, int64_t layer) {
    return layer >= 0 && layer < offload->count;
}

// The input of `layer` has been made: where it is offloaded, its copy to the host begins.
void offload_store(CudaOffload *offload, int64_t layer, const bf16 *x);
// What has to be over before the input of `layer` is made in its place: an earlier one's way to the host.
// NULL: nothing.
cudaEvent_t offload_before(const CudaOffload *offload, int64_t layer);

// The place of `layer` has been read for the last time: where its input is offloaded, it comes back.
void offload_fetch(CudaOffload *offload, int64_t layer, bf16 *x);
// The computing waits until the input of `layer`, which is offloaded, has come back.
void offload_await(const CudaOffload *offload, int64_t layer);

#endif
