// A bias of a product's columns on the GPU; its twin is cpu/bias.c.
#ifndef CUDA_BIAS_CUH
#define CUDA_BIAS_CUH

#include "cuda/kernels/column_sums.cuh"

// C is a multiple of 8.

// x (rows, C) += bias (C) in every row
void cuda_bias_forward(bf16 *x, const float *bias, int64_t rows, int64_t C, cudaStream_t stream);

// dbias (C) += the sum of the rows of dout (rows, C).   partial: (column_slices(rows), C)
void cuda_bias_backward(float *dbias, float *partial, const bf16 *dout, int64_t rows, int64_t C,
                        cudaStream_t stream);

#endif
