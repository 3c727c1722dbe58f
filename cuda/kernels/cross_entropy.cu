// The kernels; see cross_entropy.cuh.
#include "cuda/kernels/cross_entropy.cuh"

#include <assert.h>
#include <math.h>

// The largest x over the thread block, for every thread.
static inline __device__ float block_max(float x) {
    __shared__ float highest[32];
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    if (threadIdx.x % 32 == 0) highest[threadIdx.x / 32] = x;
    __syncthreads();
    x = highest[0];
    for (int warp = 1; warp < blockDim.x / 32; warp++) x = fmaxf(x, highest[warp]);
    return x;
}

#define LOG2_E 1.442695041f

// 2^x in one instruction; below 2^-126 it is 0.
static inline __device__ float power_of_2(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

static inline __device__ float vector_max(const Bf16x8 &x) {
    const __nv_bfloat162 *pairs = (const __nv_bfloat162 *)&x;
    __nv_bfloat162 top = __hmax2(__hmax2(pairs[0], pairs[1]), __hmax2(pairs[2], pairs[3]));
    return fmaxf(__low2float(top), __high2float(top));
}

// One row a thread block. The first pass keeps a running maximum and the sum of exponentials relative to it;
// the second reads the row again, which is still in the L2 cache, and leaves the gradient. It is stored as
// what will not be read soon (st.cs), or it would push the rows of others out of that cache. Powers are of 2,
// and the factor scale / sum is part of the exponent: a multiplication and addition an element, and the
// power. Columns from V on, of a padded vocabulary, are no tokens: they become -inf, whose power and gradient
// are zero.
static __global__ void cross_entropy_kernel(bf16 *logits,           // (rows, width); gradients on return
                                            double *nats,           // (rows)
                                            const int32_t *targets, // of row (b, n): targets[b * stride + n]
                                            int64_t target_stride, int64_t N, int64_t first_row, int V,
                                            int width, float scale, bool gradient) {
    int64_t row = first_row + blockIdx.x;
    int target = targets[row / N * target_stride + row % N];
    bf16 *row_logits = logits + blockIdx.x * (int64_t)width;
    Bf16x8 *vectors = (Bf16x8 *)row_logits;
    float target_logit = __bfloat162float(row_logits[target]);
    float highest = -INFINITY, sum[1] = {0}, x[8];
    if (V < width) {
        if (threadIdx.x < width - V) row_logits[V + threadIdx.x] = __float2bfloat16(-INFINITY);
        __syncthreads();
    }
#pragma unroll 4
    for (int i = threadIdx.x; i < width / 8; i += blockDim.x) {
        Bf16x8 vector = vectors[i];
        float top = vector_max(vector);
        if (top > highest) {
            sum[0] *= power_of_2((highest - top) * LOG2_E);
            highest = top;
        }
        unpack(x, vector);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[0] += power_of_2(x[j] * LOG2_E - highest * LOG2_E);
    }
    float row_highest = block_max(highest);
    // A thread without a vector has no highest.
    if (highest > -INFINITY) sum[0] *= power_of_2((highest - row_highest) * LOG2_E);
    block_sum(sum);
    // The double lets the logarithm and the sum over rows keep what the float32 sum has.
    if (threadIdx.x == 0) nats[row] = (double)row_highest + log((double)sum[0]) - (double)target_logit;
    if (!gradient) return;
    float shift = log2f(scale / sum[0]) - row_highest * LOG2_E;
#pragma unroll 4
    for (int i = threadIdx.x; i < width / 8; i += blockDim.x) {
        unpack(x, vectors[i]);
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = power_of_2(x[j] * LOG2_E + shift);
        if (i == target / 8) {
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] -= j == target % 8 ? scale : 0;
        }
        Bf16x8 vector = pack(x);
        __stcs((uint4 *)(vectors + i), *(uint4 *)&vector);
    }
}

#define SUM_THREADS 1024

// One block: thread t adds numbers t, t + 1024, ..., then the threads are added up pairwise.
static __global__ void sum_kernel(double *sum,     // (1)
                                  const double *x, // (count)
                                  int64_t count) {
    __shared__ double sums[SUM_THREADS];
    double own = 0;
    for (int64_t i = threadIdx.x; i < count; i += SUM_THREADS) own += x[i];
    sums[threadIdx.x] = own;
    for (int half = SUM_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *sum = sums[0];
}

// ---- Launchers.

void cuda_cross_entropy(bf16 *logits, double *nats, const int32_t *targets, int64_t target_stride, int64_t N,
                        int64_t first_row, int64_t rows, int64_t V, double scale, bool gradient,
                        cudaStream_t stream) {
    int64_t width = model_padded_vocab(V);
    assert(width < (1ll << 31) && rows > 0);
    unsigned threads = (unsigned)(V >= 16384 ? 1024 : ceil_div(V, 512) * 32);
    cross_entropy_kernel<<<(unsigned)rows, threads, 0, stream>>>(
        logits, nats, targets, target_stride, N, first_row, (int)V, (int)width, (float)scale, gradient);
    CUDA_CHECK(cudaGetLastError());
}

void sum_ordered(double *sum, const double *x, int64_t count, cudaStream_t stream) {
    sum_kernel<<<1, SUM_THREADS, 0, stream>>>(sum, x, count);
    CUDA_CHECK(cudaGetLastError());
}
