// The kernels; see head_norm.cuh.
#include "cuda/kernels/head_norm.cuh"

#include <assert.h>

#define HEAD_NORM_THREADS 256

// LANES lanes have a head of a token, the first D / 8 of them 8 elements each; a thread block has HEADS
// neighbouring ones at once, and takes heads blockIdx.x HEADS, + gridDim.x HEADS, ... of all (rows, H + KV).

// The sum over the lanes of a head, in a fixed order; every lane of the warp calls it.
template <int LANES> static inline __device__ float head_sum(float x) {
#pragma unroll
    for (int lane = LANES / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

static inline __device__ float dot(const float (&a)[8], const float (&b)[8]) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) sum += a[i] * b[i];
    return sum;
}

// The weights of this thread's elements, of queries or of keys.
template <int D>
static inline __device__ void head_weights(float (&to)[8], const float *weight, bool key, int lane) {
#pragma unroll
    for (int i = 0; i < 8; i++) to[i] = lane < D / 8 ? weight[(key ? D : 0) + lane * 8 + i] : 0;
}

template <int D>
static __global__ void __launch_bounds__(HEAD_NORM_THREADS)
    head_norm_forward_kernel(bf16 *qkv,           // (rows, H + 2 KV, D), queries and keys normed in place
                             bf16 *before,        // (rows, H + KV, D), as they were
                             const float *weight, // (2, D)
                             int64_t rows, int H, int KV, float eps) {
    const int LANES = row_lanes(D / 8), HEADS = HEAD_NORM_THREADS / LANES;
    int lane = threadIdx.x % LANES;
    for (int64_t first = blockIdx.x * (int64_t)HEADS; first < rows * (H + KV);
         first += gridDim.x * (int64_t)HEADS) {
        int64_t index = first + threadIdx.x / LANES, row = index / (H + KV);
        int head = (int)(index % (H + KV));
        bool is = index < rows * (H + KV) && lane < D / 8;
        Bf16x8 *at = (Bf16x8 *)(qkv + (row * (H + 2 * KV) + head) * D) + lane;
        Bf16x8 vector = is ? *at : Bf16x8();
        float x[8], w[8];
        unpack(x, vector);
        float rstd = rsqrtf(head_sum<LANES>(dot(x, x)) / D + eps);
        if (!is) continue;
        head_weights<D>(w, weight, head >= H, lane);
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = w[i] * (x[i] * rstd);
        ((Bf16x8 *)(before + index * D))[lane] = vector;
        *at = pack(x);
    }
}

// With n = x rstd: dn = w dy, dx = rstd (dn - n mean(dn n)); each block adds dy n of its heads for dweight.
template <int D>
static __global__ void __launch_bounds__(HEAD_NORM_THREADS)
    head_norm_backward_kernel(bf16 *dqkv,          // (rows, H + 2 KV, D), in place
                              float *partial,      // (gridDim.x, 2, D)
                              const bf16 *before,  // (rows, H + KV, D)
                              const float *weight, // (2, D)
                              int64_t rows, int H, int KV, float eps) {
    const int LANES = row_lanes(D / 8), HEADS = HEAD_NORM_THREADS / LANES;
    __shared__ float sums[HEADS][D];
    int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
    float dw[2][8] = {};
    for (int64_t first = blockIdx.x * (int64_t)HEADS; first < rows * (H + KV);
         first += gridDim.x * (int64_t)HEADS) {
        int64_t index = first + group, row = index / (H + KV);
        int head = (int)(index % (H + KV));
        bool is = index < rows * (H + KV) && lane < D / 8;
        Bf16x8 *at = (Bf16x8 *)(dqkv + (row * (H + 2 * KV) + head) * D) + lane;
        float n[8], dy[8], w[8], dn[8];
        unpack(n, is ? ((const Bf16x8 *)(before + index * D))[lane] : Bf16x8());
        unpack(dy, is ? *at : Bf16x8());
        head_weights<D>(w, weight, head >= H, lane);
        float rstd = rsqrtf(head_sum<LANES>(dot(n, n)) / D + eps);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            n[i] *= rstd;
            dn[i] = w[i] * dy[i];
            dw[0][i] += head < H ? dy[i] * n[i] : 0;
            dw[1][i] += head < H ? 0 : dy[i] * n[i];
        }
        float mean = head_sum<LANES>(dot(dn, n)) / D;
#pragma unroll
        for (int i = 0; i < 8; i++) dn[i] = rstd * (dn[i] - n[i] * mean);
        if (is) *at = pack(dn);
    }
#pragma unroll
    for (int side = 0; side < 2; side++) {
        __syncthreads(); // the sums of the other side have been read
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (lane < D / 8) sums[group][lane * 8 + i] = dw[side][i];
        __syncthreads();
        for (int d = threadIdx.x; d < D; d += HEAD_NORM_THREADS) {
            float sum = 0;
            for (int g = 0; g < HEADS; g++) sum += sums[g][d];
            partial[(blockIdx.x * (int64_t)2 + side) * D + d] = sum;
        }
    }
}

// ---- Launchers.

void cuda_head_norm_forward(bf16 *qkv, bf16 *before, const float *weight, int64_t rows, int64_t H, int64_t KV,
                            int64_t D, double eps, cudaStream_t stream) {
    assert(head_width_known(D));
    auto kernel = FOR_HEAD_WIDTH(D, head_norm_forward_kernel);
    kernel<<<(unsigned)column_slices(rows), HEAD_NORM_THREADS, 0, stream>>>(qkv, before, weight, rows, (int)H,
                                                                            (int)KV, (float)eps);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_head_norm_backward(bf16 *dqkv, float *dweight, float *partial, const bf16 *before,
                             const float *weight, int64_t rows, int64_t H, int64_t KV, int64_t D, double eps,
                             cudaStream_t stream) {
    assert(head_width_known(D));
    auto kernel = FOR_HEAD_WIDTH(D, head_norm_backward_kernel);
    int slices = (int)column_slices(rows);
    kernel<<<slices, HEAD_NORM_THREADS, 0, stream>>>(dqkv, partial, before, weight, rows, (int)H, (int)KV,
                                                     (float)eps);
    CUDA_CHECK(cudaGetLastError());
    column_sums(dweight, partial, slices, 2 * D, stream);
}
