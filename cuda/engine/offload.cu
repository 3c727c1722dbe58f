// Copies beside the computing; see offload.cuh.
#include "cuda/engine/offload.cuh"

void offload_open(CudaOffload *offload, cudaStream_t computes) {
    if (offload->count == 0) return;
    offload->computes = computes;
    CUDA_CHECK(cudaStreamCreateWithFlags(&offload->stream, cudaStreamNonBlocking));
    for (int i = 0; i < OFFLOAD_ON_GPU; i++) {
        CUDA_CHECK(cudaEventCreateWithFlags(&offload->ready[i], cudaEventDisableTiming));
        CUDA_CHECK(cudaEventCreateWithFlags(&offload->copied[i], cudaEventDisableTiming));
    }
}

void offload_close(CudaOffload *offload) {
    if (!offload->stream) return;
    CUDA_CHECK(cudaStreamSynchronize(offload->stream));
    for (int i = 0; i < OFFLOAD_ON_GPU; i++) {
        CUDA_CHECK(cudaEventDestroy(offload->ready[i]));
        CUDA_CHECK(cudaEventDestroy(offload->copied[i]));
    }
    CUDA_CHECK(cudaStreamDestroy(offload->stream));
}

// One input, when the computing has come to here.
static void copy(CudaOffload *offload, int64_t layer, bf16 *to, const bf16 *from, cudaMemcpyKind kind) {
    int64_t place = layer % OFFLOAD_ON_GPU;
    CUDA_CHECK(cudaEventRecord(offload->ready[place], offload->computes));
    CUDA_CHECK(cudaStreamWaitEvent(offload->stream, offload->ready[place], 0));
    CUDA_CHECK(cudaMemcpyAsync(to, from, (size_t)offload->size * sizeof *to, kind, offload->stream));
    CUDA_CHECK(cudaEventRecord(offload->copied[place], offload->stream));
}

void offload_store(CudaOffload *offload, int64_t layer, const bf16 *x) {
    if (!offload_has(offload, layer)) return;
    copy(offload, layer, offload->host + layer * offload->size, x, cudaMemcpyDeviceToHost);
}

cudaEvent_t offload_before(const CudaOffload *offload, int64_t layer) {
    bool taken = offload_has(offload, layer - OFFLOAD_ON_GPU);
    return taken ? offload->copied[layer % OFFLOAD_ON_GPU] : NULL;
}

void offload_fetch(CudaOffload *offload, int64_t layer, bf16 *x) {
    if (!offload_has(offload, layer)) return;
    copy(offload, layer, x, offload->host + layer * offload->size, cudaMemcpyHostToDevice);
}

void offload_await(const CudaOffload *offload, int64_t layer) {
    CUDA_CHECK(cudaStreamWaitEvent(offload->computes, offload->copied[layer % OFFLOAD_ON_GPU], 0));
}
