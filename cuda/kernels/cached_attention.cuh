// Attention of a few new tokens over a key/value cache, for generation; the twin is cuda_sdpa_forward of
// cpu/sdpa.c with fewer queries than keys.
//
// One thread block a (query, head) reads all keys and values that the query sees, so its time is that of
// those bytes out of the caches: right for one new token or a few. Whole prompts go through cuDNN
// (cuda/engine/block.cu).
#ifndef CUDA_CACHED_ATTENTION_CUH
#define CUDA_CACHED_ATTENTION_CUH

#include "cuda/device/common.cuh"

// Puts keys and values of the new tokens (N, H + 2 KV, D) behind the cached ones.   keys, values: (cache, KV,
// D)
void cache_append(bf16 *keys, bf16 *values, const bf16 *qkv, int64_t N, int64_t position, int64_t H,
                  int64_t KV, int64_t D, cudaStream_t stream);

// out (N, H, D) = causal attention of the queries in qkv (N, H + 2 KV, D), which stand at position, position
// + 1, ..., over the cache (with their own keys and values appended). D is one of HEAD_WIDTHS.
void cached_attention_forward(bf16 *out, const bf16 *qkv, const bf16 *keys, const bf16 *values, int64_t N,
                              int64_t position, int64_t H, int64_t KV, int64_t D, cudaStream_t stream);

#endif
