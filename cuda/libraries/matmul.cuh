// Linear layers on the GPU: the one face of cuBLASLt; the twin is cpu/matmul.c.
//
// bf16 operands, float32 sums; activations leave as bf16, weight gradients are float32 and added to what is
// there. The algorithm for a shape is chosen once, from those that cuBLASLt's heuristics list and by a rule
// without a clock, and kept: the same one on every run of the same library on the same GPU.
#ifndef CUDA_MATMUL_CUH
#define CUDA_MATMUL_CUH

#include "cuda/device/common.cuh"

#include <stddef.h>

#define MATMUL_WORKSPACE_BYTES ((size_t)64 << 20)

typedef struct Matmul Matmul;

// All work goes to the context's stream.   workspace: MATMUL_WORKSPACE_BYTES of device memory, aligned to 256
// bytes
Matmul *matmul_create(const CudaContext *context, void *workspace);
void matmul_destroy(Matmul *matmul);

// Widths n_in, n_out are multiples of 8, pointers aligned to 16 bytes. False with *error filled when cuBLASLt
// has no algorithm for a shape.

// out = in weight^T, plus `residual` where it is not NULL (added before rounding; not out itself)
bool cuda_matmul_forward(Matmul *matmul,
                         bf16 *out,            // (rows, n_out)
                         const bf16 *in,       // (rows, n_in)
                         const bf16 *weight,   // (n_out, n_in)
                         const bf16 *residual, // (rows, n_out) or NULL
                         int64_t rows, int64_t n_in, int64_t n_out, Error *error);

// The same with a float32 result, for logits that are compared with each other.
bool matmul_forward_float32(Matmul *matmul,
                            float *out,         // (rows, n_out)
                            const bf16 *in,     // (rows, n_in)
                            const bf16 *weight, // (n_out, n_in)
                            int64_t rows, int64_t n_in, int64_t n_out, Error *error);

// din = dout weight
bool cuda_matmul_backward_input(Matmul *matmul,
                                bf16 *din,          // (rows, n_in)
                                const bf16 *dout,   // (rows, n_out)
                                const bf16 *weight, // (n_out, n_in)
                                int64_t rows, int64_t n_in, int64_t n_out, Error *error);

// dweight += dout^T in
bool cuda_matmul_backward_weight(Matmul *matmul,
                                 float *dweight,   // (n_out, n_in)
                                 const bf16 *dout, // (rows, n_out)
                                 const bf16 *in,   // (rows, n_in)
                                 int64_t rows, int64_t n_in, int64_t n_out, Error *error);

#endif
