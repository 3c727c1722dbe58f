// RMSNorm of each query and key head, before RoPE, on the GPU; its twin is cpu/rmsnorm.c with a row for each
// head. Values pass through unchanged: they lie in the same packed buffer.
//
// The backward works 1 / rms out again, from the heads as they were before the norm, which the forward keeps.
#ifndef CUDA_HEAD_NORM_CUH
#define CUDA_HEAD_NORM_CUH

#include "cuda/kernels/column_sums.cuh"

// D is one of HEAD_WIDTHS; weight (2, D): of queries, then of keys.

// Norms queries and keys of qkv (rows, H + 2 KV, D) in place, and keeps them in before (rows, H + KV, D).
void cuda_head_norm_forward(bf16 *qkv, bf16 *before, const float *weight, int64_t rows, int64_t H, int64_t KV,
                            int64_t D, double eps, cudaStream_t stream);

// Gradients of the normed queries and keys in dqkv (rows, H + 2 KV, D) become those before the norm; dweight
// (2, D) += its own.   partial: (column_slices(rows), 2, D)
void cuda_head_norm_backward(bf16 *dqkv, float *dweight, float *partial, const bf16 *before,
                             const float *weight, int64_t rows, int64_t H, int64_t KV, int64_t D, double eps,
                             cudaStream_t stream);

#endif
