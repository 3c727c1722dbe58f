// RMSNorm (Zhang and Sennrich, 2019): y = w x / sqrt(mean(x^2) + eps).
#include "cpu/cpu.h"

void cpu_rmsnorm_forward(real *out, real *rstd, const real *x, const real *weight, int64_t rows, int64_t C,
                         double eps) {
#pragma omp parallel for
    for (int64_t row = 0; row < rows; row++) {
        const real *x_row = x + row * C;
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < C; c++) squares += (double)x_row[c] * x_row[c];
        real scale = (real)(1 / sqrt(squares / (double)C + eps));
        rstd[row] = scale;
        for (int64_t c = 0; c < C; c++) out[row * C + c] = weight[c] * (x_row[c] * scale);
    }
}

// With n = x rstd: dn = w dy, dx = rstd (dn - n mean(dn n)), dw = sum over rows of dy n.
static void row_backward(real *dx, double *dweight, const real *dout, const real *x, const real *weight,
                         real rstd, int64_t C) {
    double dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < C; c++) dot += (double)(weight[c] * dout[c]) * x[c];
    real mean = (real)(dot * rstd / (double)C);
#pragma omp simd
    for (int64_t c = 0; c < C; c++) {
        real n = x[c] * rstd;
        dx[c] += rstd * (weight[c] * dout[c] - n * mean);
        dweight[c] += (double)(dout[c] * n);
    }
}

void cpu_rmsnorm_backward(real *dx, real *dweight, double *partial, const real *dout, const real *x,
                          const real *weight, const real *rstd, int64_t rows, int64_t C) {
#pragma omp parallel for schedule(dynamic)
    for (int64_t slice = 0; slice < RMSNORM_SLICES; slice++) {
        double *sums = partial + slice * C;
        memset(sums, 0, (size_t)C * sizeof *sums);
        int64_t end = rows * (slice + 1) / RMSNORM_SLICES;
        for (int64_t row = rows * slice / RMSNORM_SLICES; row < end; row++) {
            row_backward(dx + row * C, sums, dout + row * C, x + row * C, weight, rstd[row], C);
        }
    }
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t slice = 0; slice < RMSNORM_SLICES; slice++) sum += partial[slice * C + c];
        dweight[c] += (real)sum;
    }
}
