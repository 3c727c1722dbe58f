// Cross-entropy on the GPU: loss of each row of logits, and their gradient in place; its twin is the inner
// part of cpu/cross_entropy.c. The engine makes the logits a chunk of rows at a time.
//
// Logits are bf16, as the matrix product rounds them from its float32 sums; everything from there on is
// float32, and sums of losses float64. The rounding (2^-9 of a logit, either way) leaves the mean loss of a
// batch alone, and halves the bytes of the largest tensor there is.
#ifndef CUDA_CROSS_ENTROPY_CUH
#define CUDA_CROSS_ENTROPY_CUH

#include "core/model/model.h"
#include "cuda/device/common.cuh"

// Rows of a chunk: as many as 2^29 logits (1 GiB) hold. Fewer would read and write the head and its gradient
// more often: at V = 128,256 they cost a quarter of what the logits themselves do.
static inline int64_t cross_entropy_chunk(int64_t rows, int64_t V) {
    int64_t chunk = (1ll << 29) / V / 256 * 256;
    if (chunk < 256) chunk = 256;
    return chunk < rows ? chunk : rows;
}

// nats[first_row + i] = -log softmax(logits of row i)[target], i < rows; with `gradient` the logits become
// scale * (softmax - one_hot(target)), scale > 0.   logits: (rows, V), V a multiple of 8; target of row (b,
// n) of the whole: targets[b * target_stride + n]
void cuda_cross_entropy(bf16 *logits, double *nats, const int32_t *targets, int64_t target_stride, int64_t N,
                        int64_t first_row, int64_t rows, int64_t V, double scale, bool gradient,
                        cudaStream_t stream);

// *sum = x[0] + ... + x[count - 1], always in the same order
void sum_ordered(double *sum, const double *x, int64_t count, cudaStream_t stream);

#endif
