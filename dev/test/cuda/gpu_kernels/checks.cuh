// The checks and timings of the CUDA engine's kernels, by subject; dev/test/cuda/gpu_kernels.cu calls them.
//
// Errors are ||x - twin|| / ||twin||, where the twin is the CPU engine's kernel. Inputs are bf16 numbers on
// both sides, so that the error is that of the arithmetic and one rounding of the result: at most 2^-9, in
// the norm near 1.7e-3 for bf16 results; and of float32 sums else. Outputs are poisoned before each run.
#ifndef TEST_GPU_KERNELS_CHECKS_CUH
#define TEST_GPU_KERNELS_CHECKS_CUH

#include "dev/test/support/gpu_numbers.cuh"

#define BOUND_BF16    2.5e-3 // one rounding of the result
#define BOUND_SUM     4e-3   // a result added to what was there, or of inputs rounded on the way
#define BOUND_FLOAT32 2e-5

// layers.cu
void check_rmsnorm(GpuChecks *checks, int64_t rows, int64_t C);
void check_rope(GpuChecks *checks, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D, int64_t start);
void check_bias(GpuChecks *checks, int64_t rows, int64_t C);
void check_head_norm(GpuChecks *checks, int64_t rows, int64_t H, int64_t KV, int64_t D);
void check_swiglu(GpuChecks *checks, int64_t rows, int64_t F);
void check_cached_attention(GpuChecks *checks, int64_t N, int64_t position, int64_t H, int64_t KV, int64_t D);

// tokens.cu. `skew` of ten tokens are the same one.
void check_embedding(GpuChecks *checks, int64_t B, int64_t N, int64_t V, int64_t C, int skew);
// Rows first ... first + rows - 1 of sequences of N tokens.
void check_cross_entropy(GpuChecks *checks, int64_t rows, int64_t V, int64_t N, int64_t first, float spread);

// update.cu
void check_adamw(GpuChecks *checks, int64_t count, double clip, bool finite);

// products.cu: every shape.
void check_products(GpuChecks *checks);
void time_products(void);

// large.cu: tensors of more than 2^31 elements.
void check_large(GpuChecks *checks);

// times.cu: all kernels but the products.
void time_kernels(void);

#endif
