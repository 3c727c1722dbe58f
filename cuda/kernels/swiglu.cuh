// SwiGLU on the GPU: silu(gate) up; its twin is cpu/swiglu.c. gate and up of a row lie side by side, as one
// matrix product makes them.
#ifndef CUDA_SWIGLU_CUH
#define CUDA_SWIGLU_CUH

#include "cuda/device/common.cuh"

// out (rows, F) = silu(gate) up;   gate_up: (rows, 2F), a row's gates first; F a multiple of 8
void cuda_swiglu_forward(bf16 *out, const bf16 *gate_up, int64_t rows, int64_t F, cudaStream_t stream);

// On entry dout_out (rows, F) is the gradient of the output and gate_up (rows, 2F) what the forward read; on
// return dout_out is the output once more and gate_up the gradient of gate | up.
void cuda_swiglu_backward(bf16 *dout_out, bf16 *gate_up, int64_t rows, int64_t F, cudaStream_t stream);

#endif
