// The kernels; see adamw.cuh.
#include "cuda/kernels/adamw.cuh"

#include <assert.h>
#include <math.h>

#define SQUARES_THREADS 256

// Adds up one number a thread over the block, pairwise; thread 0 gets the sum.
static inline __device__ double block_sum_pairwise(double own) {
    __shared__ double sums[SQUARES_THREADS];
    sums[threadIdx.x] = own;
    for (int half = SQUARES_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? sums[0] : 0;
}

// Block b sums the squares of every SQUARES_SLICES-th stretch of 4 SQUARES_THREADS elements, and adds what
// partial[b] holds where `add` says so.
static __global__ void gradient_squares_kernel(double *partial,        // (SQUARES_SLICES)
                                               const float4 *gradient, // (count / 4)
                                               int64_t vectors, bool add) {
    double own = 0;
    const int64_t stride = (int64_t)SQUARES_SLICES * SQUARES_THREADS;
#pragma unroll 4
    for (int64_t i = blockIdx.x * (int64_t)SQUARES_THREADS + threadIdx.x; i < vectors; i += stride) {
        float4 g = gradient[i];
        own += (double)g.x * g.x + (double)g.y * g.y + ((double)g.z * g.z + (double)g.w * g.w);
    }
    double sum = block_sum_pairwise(own);
    if (threadIdx.x == 0) partial[blockIdx.x] = add ? partial[blockIdx.x] + sum : sum;
}

static __global__ void gradient_norm_kernel(GradientNorm *result,
                                            const double *squares, // (count)
                                            int count, double clip, double most_norm) {
    double own = 0;
    for (int i = threadIdx.x; i < count; i += SQUARES_THREADS) own += squares[i];
    double sum = block_sum_pairwise(own);
    if (threadIdx.x > 0) return;
    double norm = sqrt(sum);
    result->norm = norm;
    bool stays = !isfinite(norm) || (most_norm != 0 && norm > most_norm); // as adamw_skips
    result->factor = stays ? NAN : clip > 0 ? (float)fmin(1.0, clip / (norm + 1e-6)) : 1.0f;
}

// What a step does to every weight, worked out once on the host.
typedef struct {
    float decay;     // 1 - lr weight_decay
    float step_size; // lr / (1 - beta1^step)
    float root;      // 1 / sqrt(1 - beta2^step)
    float beta1, one_beta1, beta2, one_beta2, eps;
} AdamWStep;

static inline __device__ void adamw_element(float &w, float &g, float &m, float &v, float factor,
                                            const AdamWStep &s) {
    float clipped = g * factor;
    m = s.beta1 * m + s.one_beta1 * clipped;
    v = s.beta2 * v + s.one_beta2 * clipped * clipped;
    w = w * s.decay - s.step_size * m / (sqrtf(v) * s.root + s.eps);
    g = 0;
}

// Four neighbouring weights a thread.
static __global__ void adamw_kernel(float4 *weight,   // (vectors) of 4, like all of these
                                    bf16 *copy,       // (4 vectors)
                                    float4 *gradient, // zero on return
                                    float4 *moment1, float4 *moment2, const GradientNorm *norm,
                                    AdamWStep step, int64_t vectors) {
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i >= vectors) return;
    float factor = norm->factor;
    if (isnan(factor)) {
        gradient[i] = make_float4(0, 0, 0, 0);
        return;
    }
    float4 w = weight[i], g = gradient[i], m = moment1[i], v = moment2[i];
    adamw_element(w.x, g.x, m.x, v.x, factor, step);
    adamw_element(w.y, g.y, m.y, v.y, factor, step);
    adamw_element(w.z, g.z, m.z, v.z, factor, step);
    adamw_element(w.w, g.w, m.w, v.w, factor, step);
    weight[i] = w;
    gradient[i] = g;
    moment1[i] = m;
    moment2[i] = v;
    __nv_bfloat162 *rounded = (__nv_bfloat162 *)(copy + 4 * i);
    rounded[0] = __floats2bfloat162_rn(w.x, w.y);
    rounded[1] = __floats2bfloat162_rn(w.z, w.w);
}

static __global__ void round_kernel(bf16 *to,          // (count)
                                    const float *from, // (count)
                                    int64_t count) {
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < count) to[i] = __float2bfloat16(from[i]);
}

// ---- Launchers.

void cuda_gradient_squares(double *partial, const float *gradient, int64_t count, bool add,
                           cudaStream_t stream) {
    assert(count % 4 == 0);
    gradient_squares_kernel<<<SQUARES_SLICES, SQUARES_THREADS, 0, stream>>>(partial, (const float4 *)gradient,
                                                                            count / 4, add);
    CUDA_CHECK(cudaGetLastError());
}

void gradient_norm(GradientNorm *result, const double *squares, int count, double clip, double most_norm,
                   cudaStream_t stream) {
    gradient_norm_kernel<<<1, SQUARES_THREADS, 0, stream>>>(result, squares, count, clip, most_norm);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_adamw_update(float *weight, bf16 *copy, float *gradient, float *moment1, float *moment2,
                       const GradientNorm *norm, int64_t count, const AdamW *a, cudaStream_t stream) {
    assert(count % 4 == 0);
    AdamWStep step;
    step.decay = (float)(1 - a->lr * a->weight_decay);
    step.step_size = (float)(a->lr / (1 - pow(a->beta1, (double)a->step)));
    step.root = (float)(1 / sqrt(1 - pow(a->beta2, (double)a->step)));
    step.beta1 = (float)a->beta1;
    step.one_beta1 = (float)(1 - a->beta1);
    step.beta2 = (float)a->beta2;
    step.one_beta2 = (float)(1 - a->beta2);
    step.eps = (float)a->eps;
    adamw_kernel<<<(unsigned)ceil_div(count / 4, 256), 256, 0, stream>>>(
        (float4 *)weight, copy, (float4 *)gradient, (float4 *)moment1, (float4 *)moment2, norm, step,
        count / 4);
    CUDA_CHECK(cudaGetLastError());
}

void round_to_bf16(bf16 *to, const float *from, int64_t count, cudaStream_t stream) {
    round_kernel<<<(unsigned)ceil_div(count, 256), 256, 0, stream>>>(to, from, count);
    CUDA_CHECK(cudaGetLastError());
}
