// A block's linear layers: products of float32 operands (cpu/matmul.c), or of operands that are FP8 first.
#ifndef CPU_LINEAR_H
#define CPU_LINEAR_H

#include "cpu/cpu.h"
#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Room for a product's operands as FP8; all NULL: products take them as they are. Sums, results and what is
// added to stay float32. Activations, weights and gradients are e4m3; under scales of 128 values it comes
// closer than e5m2 does (dev/results/fp8.md).
typedef struct {
    real *left, *right;
} CpuFp8;

// Plans the room that products of `rows` rows need, nothing without config->fp8.
void cpu_plan_fp8(MemoryPlan *plan, CpuFp8 *fp8, const EngineConfig *config, int64_t rows);

// Twins of cpu_matmul_forward, ..._backward_input and ..._backward_weight.
void cpu_linear_forward(const CpuFp8 *fp8, real *out, const real *in, const real *weight, Places places,
                        int64_t n_in, int64_t n_out);
void cpu_linear_backward_input(const CpuFp8 *fp8, real *din, const real *dout, const real *weight,
                               int64_t rows, int64_t n_in, int64_t n_out, bool accumulate);
void cpu_linear_backward_weight(const CpuFp8 *fp8, real *dweight, const real *dout, const real *in,
                                int64_t rows, int64_t n_in, int64_t n_out);

#ifdef __cplusplus
}
#endif
#endif
