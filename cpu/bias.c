// A bias of a product's columns, and its gradient.
#include "cpu/cpu.h"

void cpu_bias_forward(real *x, const real *bias, int64_t rows, int64_t C) {
#pragma omp parallel for
    for (int64_t row = 0; row < rows; row++) {
#pragma omp simd
        for (int64_t c = 0; c < C; c++) x[row * C + c] += bias[c];
    }
}

// A task owns some columns and adds all rows in order: the sum has one order.
void cpu_bias_backward(real *dbias, const real *dout, int64_t rows, int64_t C) {
    enum { WIDTH = 16 };
#pragma omp parallel for
    for (int64_t start = 0; start < C; start += WIDTH) {
        int64_t left = C - start, width = left < WIDTH ? left : (int64_t)WIDTH;
        double sums[WIDTH] = {0};
        for (int64_t row = 0; row < rows; row++) {
            for (int64_t c = 0; c < width; c++) sums[c] += dout[row * C + start + c];
        }
        for (int64_t c = 0; c < width; c++) dbias[start + c] += (real)sums[c];
    }
}
