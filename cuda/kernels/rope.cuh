// Rotary position embedding on the GPU, in the rotate-half layout; its twin is cpu/rope.c. It turns queries
// and keys where they lie in the packed buffer, and gives the norms of what it wrote, the scores of
// Lighthouse's `norm` scorer, while the rows are at hand.
#ifndef CUDA_ROPE_CUH
#define CUDA_ROPE_CUH

#include "core/model/rope_scaling.h"
#include "cuda/kernels/score.cuh"

// cosines, sines: (positions, D/2)
void cuda_rope_table(float *cosines, float *sines, int64_t positions, int64_t D, RopeFrequencies frequencies,
                     cudaStream_t stream);

// Turns queries and keys of qkv (B, N, H + 2 KV, D) in place; row n of a sequence stands at position first +
// n. D is one of HEAD_WIDTHS. Where scores.q is given, the norms of the rows as written become the first N of
// the `entries` scores of each head.
void cuda_rope_forward(bf16 *qkv, const float *cosines, const float *sines, LighthouseScores scores,
                       int64_t entries, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D, int64_t first,
                       cudaStream_t stream);

// The same with the gradients of queries and keys in dqkv (B, N, H + 2 KV, D), turned back.
void cuda_rope_backward(bf16 *dqkv, const float *cosines, const float *sines, int64_t B, int64_t N, int64_t H,
                        int64_t KV, int64_t D, int64_t first, cudaStream_t stream);

#endif
