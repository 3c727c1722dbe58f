// A block's linear layers; see linear.h.
//
// Scales of activations and gradients lie along the terms of the sum: columns of what stands on the left of
// forward and backward, tokens in the gradient of a weight. A weight has square blocks, the same values
// forward and backward.
#include "cpu/linear.h"

#include "cpu/fp8.h"

static bool takes(const CpuFp8 *fp8, int64_t n_in, int64_t n_out) {
    return fp8->left && fp8_takes(n_in, n_out);
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

void cpu_plan_fp8(MemoryPlan *plan, CpuFp8 *fp8, const EngineConfig *config, int64_t rows) {
    const ModelConfig *m = &config->model;
    if (!config->fp8) return;
    int64_t heads = m->n_heads * m->head_dim, widest = larger(m->ffn_dim, larger(m->dim, heads));
    int64_t weight = m->dim * larger(m->ffn_dim, heads);
    plan_add(plan, (void **)&fp8->left, "workspace", "left FP8 operand", rows * widest, sizeof(real));
    plan_add(plan, (void **)&fp8->right, "workspace", "right FP8 operand", larger(rows * widest, weight),
             sizeof(real));
}

void cpu_linear_forward(const CpuFp8 *fp8, real *out, const real *in, const real *weight, Places places,
                        int64_t n_in, int64_t n_out) {
    if (takes(fp8, n_in, n_out)) {
        fp8_quantize(fp8->left, in, places.B * places.N, n_in, FP8_E4M3, FP8_ALONG_COLUMNS);
        fp8_quantize(fp8->right, weight, n_out, n_in, FP8_E4M3, FP8_SQUARE);
        in = fp8->left, weight = fp8->right;
    }
    cpu_matmul_forward(out, in, weight, places, n_in, n_out);
}

void cpu_linear_backward_input(const CpuFp8 *fp8, real *din, const real *dout, const real *weight,
                               int64_t rows, int64_t n_in, int64_t n_out, bool accumulate) {
    if (takes(fp8, n_in, n_out)) {
        fp8_quantize(fp8->left, dout, rows, n_out, FP8_E4M3, FP8_ALONG_COLUMNS);
        fp8_quantize(fp8->right, weight, n_out, n_in, FP8_E4M3, FP8_SQUARE);
        dout = fp8->left, weight = fp8->right;
    }
    cpu_matmul_backward_input(din, dout, weight, rows, n_in, n_out, accumulate);
}

void cpu_linear_backward_weight(const CpuFp8 *fp8, real *dweight, const real *dout, const real *in,
                                int64_t rows, int64_t n_in, int64_t n_out) {
    if (takes(fp8, n_in, n_out)) {
        fp8_quantize(fp8->left, dout, rows, n_out, FP8_E4M3, FP8_ALONG_ROWS);
        fp8_quantize(fp8->right, in, rows, n_in, FP8_E4M3, FP8_ALONG_ROWS);
        dout = fp8->left, in = fp8->right;
    }
    cpu_matmul_backward_weight(dweight, dout, in, rows, n_in, n_out);
}
