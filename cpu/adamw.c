// AdamW (Loshchilov and Hutter, 2019) over flat arrays, in the order of torch.optim.AdamW: decay first.
#include "cpu/cpu.h"

#include <stdlib.h>

#define BLOCK 16384 // elements a task

double cpu_gradient_squares(const real *gradient, int64_t count) {
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
    double *sums = (double *)alloc_or_exit((size_t)blocks, sizeof *sums);
#pragma omp parallel for
    for (int64_t block = 0; block < blocks; block++) {
        int64_t start = block * BLOCK, end = start + BLOCK < count ? start + BLOCK : count;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < end; i++) sum += (double)gradient[i] * gradient[i];
        sums[block] = sum;
    }
    double total = 0;
    for (int64_t block = 0; block < blocks; block++) total += sums[block];
    free(sums);
    return total;
}

void cpu_adamw_update(real *weight, real *gradient, real *moment1, real *moment2, int64_t count,
                      double gradient_scale, int64_t step, double lr, double beta1, double beta2, double eps,
                      double weight_decay) {
    real decay = (real)(1 - lr * weight_decay);
    real step_size = (real)(lr / (1 - pow(beta1, (double)step)));
    real root = (real)(1 / sqrt(1 - pow(beta2, (double)step)));
    real b1 = (real)beta1, one_b1 = (real)(1 - beta1), b2 = (real)beta2, one_b2 = (real)(1 - beta2);
    real scale = (real)gradient_scale, epsilon = (real)eps;
#pragma omp parallel for
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t end = start + BLOCK < count ? start + BLOCK : count;
#pragma omp simd
        for (int64_t i = start; i < end; i++) {
            real g = gradient[i] * scale;
            real m = b1 * moment1[i] + one_b1 * g;
            real v = b2 * moment2[i] + one_b2 * g * g;
            moment1[i] = m;
            moment2[i] = v;
            weight[i] = weight[i] * decay - step_size * m / (real_sqrt(v) * root + epsilon);
            gradient[i] = 0;
        }
    }
}
