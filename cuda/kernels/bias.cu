// The kernels; see bias.cuh.
#include "cuda/kernels/bias.cuh"

#include <assert.h>

#define BIAS_THREADS 256

// A thread has a vector of 8 columns, of rows blockIdx.x, + gridDim.x, ...

static __global__ void bias_forward_kernel(bf16 *x,           // (rows, C), added to
                                           const float *bias, // (C)
                                           int64_t rows, int C) {
    int vector = blockIdx.y * BIAS_THREADS + threadIdx.x;
    if (vector >= C / 8) return;
    float b[8], values[8];
#pragma unroll
    for (int i = 0; i < 8; i++) b[i] = bias[vector * 8 + i];
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        Bf16x8 *at = (Bf16x8 *)(x + row * C) + vector;
        unpack(values, *at);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] += b[i];
        *at = pack(values);
    }
}

static __global__ void bias_backward_kernel(float *partial,   // (gridDim.x, C)
                                            const bf16 *dout, // (rows, C)
                                            int64_t rows, int C) {
    int vector = blockIdx.y * BIAS_THREADS + threadIdx.x;
    if (vector >= C / 8) return;
    float sum[8] = {}, values[8];
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        unpack(values, ((const Bf16x8 *)(dout + row * C))[vector]);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += values[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) partial[blockIdx.x * (int64_t)C + vector * 8 + i] = sum[i];
}

// ---- Launchers.

static inline dim3 bias_grid(int64_t rows, int64_t C) {
    assert(C % 8 == 0);
    return dim3((unsigned)column_slices(rows), (unsigned)ceil_div(C / 8, BIAS_THREADS));
}

void cuda_bias_forward(bf16 *x, const float *bias, int64_t rows, int64_t C, cudaStream_t stream) {
    bias_forward_kernel<<<bias_grid(rows, C), BIAS_THREADS, 0, stream>>>(x, bias, rows, (int)C);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_bias_backward(float *dbias, float *partial, const bf16 *dout, int64_t rows, int64_t C,
                        cudaStream_t stream) {
    bias_backward_kernel<<<bias_grid(rows, C), BIAS_THREADS, 0, stream>>>(partial, dout, rows, (int)C);
    CUDA_CHECK(cudaGetLastError());
    column_sums(dbias, partial, (int)column_slices(rows), C, stream);
}
