// The kernels; see cached_attention.cuh.
#include "cuda/kernels/cached_attention.cuh"

#include <assert.h>
#include <math.h>

#define CACHED_WARPS 16 // of a thread block
#define CACHED_KEYS  4  // that a warp reads at once

// Softmax over a part of the keys, so far: exponentials are relative to `highest`; a lane holds E elements,
// pairs of which are read at once. Lanes past the head's width hold zeros.
template <int E> struct SoftmaxPart { float highest, sum, out[E]; };

template <int D, int E> static inline __device__ void lane_load(float (&to)[E], const bf16 *row /* (D) */) {
    const __nv_bfloat162 *pairs = (const __nv_bfloat162 *)(row + threadIdx.x % 32 * E);
#pragma unroll
    for (int e = 0; e < E; e += 2) {
        bool held = D == 32 * E || threadIdx.x % 32 * E < D;
        float2 pair = held ? __bfloat1622float2(pairs[e / 2]) : make_float2(0, 0);
        to[e] = pair.x, to[e + 1] = pair.y;
    }
}

// Takes CACHED_KEYS keys from `key` on into the part; those from n_keys on count nothing.
template <int D, int E>
static inline __device__ void take_keys(SoftmaxPart<E> *part, const float (&q)[E], const bf16 *k,
                                        const bf16 *v, int64_t stride, int64_t key, int64_t n_keys) {
    float score[CACHED_KEYS], x[E], top = part->highest;
#pragma unroll
    for (int i = 0; i < CACHED_KEYS; i++) {
        int64_t at = key + i < n_keys ? key + i : n_keys - 1;
        lane_load<D>(x, k + at * stride);
        float dot = 0;
#pragma unroll
        for (int e = 0; e < E; e++) dot += q[e] * x[e];
        dot = warp_sum(dot);
        score[i] = key + i < n_keys ? dot : -INFINITY;
        top = fmaxf(top, score[i]);
    }
    float shrink = __expf(part->highest - top); // 0 at first, when highest is -infinity
    part->highest = top;
    part->sum *= shrink;
#pragma unroll
    for (int e = 0; e < E; e++) part->out[e] *= shrink;
#pragma unroll
    for (int i = 0; i < CACHED_KEYS; i++) {
        int64_t at = key + i < n_keys ? key + i : n_keys - 1;
        float weight = __expf(score[i] - top);
        lane_load<D>(x, v + at * stride);
        part->sum += weight;
#pragma unroll
        for (int e = 0; e < E; e++) part->out[e] += weight * x[e];
    }
}

// The warps share out the keys; their parts are put together in shared memory.
template <int D>
static __global__ void cached_attention_kernel(bf16 *out,          // (N, H, D)
                                               const bf16 *qkv,    // (N, H + 2 KV, D)
                                               const bf16 *keys,   // (cache, KV, D)
                                               const bf16 *values, // (cache, KV, D)
                                               int64_t position, int H, int KV, float scale) {
    const int E = D <= 64 ? 2 : 4;
    __shared__ SoftmaxPart<E> parts[CACHED_WARPS][32];
    int64_t n = blockIdx.x, n_keys = position + n + 1, stride = (int64_t)KV * D;
    int head = blockIdx.y, kv = head / (H / KV), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float q[E];
    lane_load<D>(q, qkv + (n * (H + 2 * KV) + head) * D);
#pragma unroll
    for (int e = 0; e < E; e++) q[e] *= scale;
    SoftmaxPart<E> part;
    part.highest = -INFINITY, part.sum = 0;
#pragma unroll
    for (int e = 0; e < E; e++) part.out[e] = 0;
    for (int64_t key = warp * CACHED_KEYS; key < n_keys; key += CACHED_WARPS * CACHED_KEYS) {
        take_keys<D>(&part, q, keys + kv * D, values + kv * D, stride, key, n_keys);
    }
    parts[warp][lane] = part;
    __syncthreads();
    if (warp > 0 || lane * E >= D) return;
    float top = part.highest, sum = 0, total[E] = {};
    for (int w = 1; w < CACHED_WARPS; w++) top = fmaxf(top, parts[w][lane].highest);
    for (int w = 0; w < CACHED_WARPS; w++) {
        float weight = __expf(parts[w][lane].highest - top); // 0 for a warp that had no keys
        sum += weight * parts[w][lane].sum;
#pragma unroll
        for (int e = 0; e < E; e++) total[e] += weight * parts[w][lane].out[e];
    }
#pragma unroll
    for (int e = 0; e < E; e++) out[(n * H + head) * D + lane * E + e] = __float2bfloat16(total[e] / sum);
}

// ---- Launchers.

void cache_append(bf16 *keys, bf16 *values, const bf16 *qkv, int64_t N, int64_t position, int64_t H,
                  int64_t KV, int64_t D, cudaStream_t stream) {
    size_t width = (size_t)(KV * D) * sizeof(bf16), pitch = (size_t)((H + 2 * KV) * D) * sizeof(bf16);
    CUDA_CHECK(cudaMemcpy2DAsync(keys + position * KV * D, width, qkv + H * D, pitch, width, (size_t)N,
                                 cudaMemcpyDeviceToDevice, stream));
    CUDA_CHECK(cudaMemcpy2DAsync(values + position * KV * D, width, qkv + (H + KV) * D, pitch, width,
                                 (size_t)N, cudaMemcpyDeviceToDevice, stream));
}

void cached_attention_forward(bf16 *out, const bf16 *qkv, const bf16 *keys, const bf16 *values, int64_t N,
                              int64_t position, int64_t H, int64_t KV, int64_t D, cudaStream_t stream) {
    assert(head_width_known(D));
    auto kernel = FOR_HEAD_WIDTH(D, cached_attention_kernel);
    kernel<<<dim3((unsigned)N, (unsigned)H), CACHED_WARPS * 32, 0, stream>>>(
        out, qkv, keys, values, position, (int)H, (int)KV, 1 / sqrtf((float)D));
    CUDA_CHECK(cudaGetLastError());
}
