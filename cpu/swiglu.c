// SwiGLU (Shazeer, 2020): silu(gate) * up, silu(x) = x sigmoid(x).
#include "cpu/cpu.h"

#define BLOCK 4096 // elements a task

static inline real sigmoid(real x) {
    real e = real_exp(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

void cpu_swiglu_forward(real *out, const real *gate, const real *up, int64_t count) {
#pragma omp parallel for
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t end = start + BLOCK < count ? start + BLOCK : count;
#pragma omp simd
        for (int64_t i = start; i < end; i++) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
}

void cpu_swiglu_backward(real *dgate, real *dup, const real *dout, const real *gate, const real *up,
                         int64_t count) {
#pragma omp parallel for
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t end = start + BLOCK < count ? start + BLOCK : count;
#pragma omp simd
        for (int64_t i = start; i < end; i++) {
            real s = sigmoid(gate[i]), silu = gate[i] * s, d = dout[i];
            dgate[i] = d * up[i] * (s + silu * (1 - s));
            dup[i] = d * silu;
        }
    }
}
