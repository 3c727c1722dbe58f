// RMSNorm on the GPU: y = w x / sqrt(mean(x^2) + eps); its twin is cpu/rmsnorm.c.
//
// Nothing is kept for the backward: it reads x anyway, so it works out 1 / rms(x) again and gives the norm's
// output once more, which the weight gradients behind it need. The residual addition costs no pass of its
// own: forward it happens inside the matrix product before (cuda_matmul_forward's `residual`), backward in
// here.
#ifndef CUDA_RMSNORM_CUH
#define CUDA_RMSNORM_CUH

#include "cuda/kernels/column_sums.cuh"

// out = weight x / rms(x).   x, out: (rows, C), C a multiple of 8 up to 16,384; weight: (C)
void cuda_rmsnorm_forward(bf16 *out, const bf16 *x, const float *weight, int64_t rows, int64_t C, double eps,
                          cudaStream_t stream);

// dx += gradient through the norm; dweight (C) += its own; normed = the forward's output once more.
//   dx, normed, dout, x: (rows, C); normed may be dout;   partial: (column_slices(rows), C)
void cuda_rmsnorm_backward(bf16 *dx, float *dweight, bf16 *normed, float *partial, const bf16 *dout,
                           const bf16 *x, const float *weight, int64_t rows, int64_t C, double eps,
                           cudaStream_t stream);

#endif
