// One rank of a test on the CUDA engine; see dev/test/rank_worker/worker.h. Needs a GPU for every rank.
#include "cuda/libraries/collectives_nccl.cuh"
#include "cuda/device/common.cuh"
#include "dev/test/rank_worker/worker.h"

#include <string.h>

static Collectives *open_queue(Ranks *ranks, RankGroup group) {
    return collectives_nccl(ranks, group, 0);
}

static void *take(size_t size) {
    void *memory;
    CUDA_CHECK(cudaMalloc(&memory, size));
    CUDA_CHECK(cudaMemset(memory, 0, size));
    return memory;
}

static void release(void *memory) {
    CUDA_CHECK(cudaFree(memory));
}

static void put(void *memory, const void *from, size_t size) {
    CUDA_CHECK(cudaMemcpyAsync(memory, from, size, cudaMemcpyHostToDevice, 0));
}

static void get(void *to, const void *memory, size_t size) {
    CUDA_CHECK(cudaMemcpyAsync(to, memory, size, cudaMemcpyDeviceToHost, 0));
    CUDA_CHECK(cudaStreamSynchronize(0));
}

static size_t free_memory(void) {
    size_t available, total;
    CUDA_CHECK(cudaMemGetInfo(&available, &total));
    return available;
}

int main(int argc, char **argv) {
    Subject subject;
    memset(&subject, 0, sizeof subject);
    subject.engine = engine_cuda();
    subject.prepare = engine_cuda_device;
    subject.open_queue = open_queue;
    subject.take = take;
    subject.release = release;
    subject.put = put;
    subject.get = get;
    subject.free_memory = free_memory;
    // Gradients are float32 sums in another order. From the first update on, weights that differ by a
    // rounding may have other bf16 copies, and rows whose scores are alike may be selected otherwise.
    subject.gradients = 1e-6;
    subject.losses = 2e-4;
    subject.norms = 1e-3;
    subject.weights = 1e-2;
    subject.moments = 1e-1;
    subject.slice_loss = 1e-6;
    subject.slice_gradients = 1e-4;
    // The parts of a head's gradient are rounded to bf16 before they are added; one rank rounds their sum.
    subject.copied_gradients = 1e-2;
    return worker_main(argc, argv, &subject);
}
