// Token embedding: rows of a table, and their gradient.
#include "cpu/cpu.h"

void cpu_embedding_forward(real *out, const int32_t *tokens, int64_t token_stride, const real *weight,
                           int64_t B, int64_t N, int64_t C) {
#pragma omp parallel for
    for (int64_t row = 0; row < B * N; row++) {
        int64_t token = tokens[row / N * token_stride + row % N];
        memcpy(out + row * C, weight + token * C, (size_t)C * sizeof *out);
    }
}

// A task owns some columns and adds all rows in order: no two tasks meet, and the sum has one order.
void cpu_embedding_backward(real *dweight, const real *dout, const int32_t *tokens, int64_t token_stride,
                            int64_t B, int64_t N, int64_t C) {
    const int64_t width = 16;
#pragma omp parallel for schedule(dynamic)
    for (int64_t start = 0; start < C; start += width) {
        int64_t end = start + width < C ? start + width : C;
        for (int64_t row = 0; row < B * N; row++) {
            int64_t token = tokens[row / N * token_stride + row % N];
            for (int64_t c = start; c < end; c++) dweight[token * C + c] += dout[row * C + c];
        }
    }
}
