// What `info --links` times on the GPU: NCCL's collectives over device memory; see core/engine/bench_api.h.
// Its twin is cpu/bench_link.c.
#include "core/engine/bench_api.h"
#include "cuda/kernels/watch.cuh"
#include "cuda/libraries/collectives_nccl.cuh"

typedef struct {
    BenchLink base;
    cudaStream_t stream;
    GpuWatch watch;
} CudaLink;

static void cuda_bench_link_close(BenchLink *link) {
    CudaLink *l = (CudaLink *)link;
    collectives_destroy(link->queue);
    gpu_watch_close(&l->watch);
    if (link->in) CUDA_CHECK(cudaFree(link->in));
    if (link->out) CUDA_CHECK(cudaFree(link->out));
    if (l->stream) CUDA_CHECK(cudaStreamDestroy(l->stream));
    free(l);
}

static bool take_memory(CudaLink *l, size_t bytes, Error *error) {
    CUDA_TRY(cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking), error);
    CUDA_TRY(cudaMalloc(&l->base.in, bytes), error);
    CUDA_TRY(cudaMalloc(&l->base.out, bytes), error);
    CUDA_TRY(cudaMemsetAsync(l->base.in, 0, bytes, l->stream), error);
    return true;
}

static BenchLink *cuda_bench_link_open(Ranks *ranks, size_t bytes, Error *error) {
    CudaLink *l = (CudaLink *)alloc_or_exit(1, sizeof *l);
    if (ranks_agree(ranks, take_memory(l, bytes, error), error)) {
        gpu_watch_open(&l->watch, ranks, l->stream, 1);
        l->base.queue = l->watch.queues[0] = collectives_nccl(ranks, RANKS_CONTEXT, l->stream);
        return &l->base;
    }
    cuda_bench_link_close(&l->base);
    return NULL;
}

static bool cuda_bench_link_settle(BenchLink *link, Error *error) {
    return gpu_wait(&((CudaLink *)link)->watch, "an exchange of tensors", error);
}

const BenchLinkApi cuda_bench_link = BENCH_LINK_API(cuda);
