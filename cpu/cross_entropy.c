// The head and its cross-entropy, fused: logits of a chunk of rows are made, used and turned into their
// gradient in place.
#include "cpu/cpu.h"

// Loss of one row in nats; where `scale` is not zero the logits become scale * (softmax - one_hot(target)).
static double row_loss(real *logits, int64_t target, int64_t V, real scale) {
    real highest = logits[0];
#pragma omp simd reduction(max : highest)
    for (int64_t i = 0; i < V; i++) highest = logits[i] > highest ? logits[i] : highest;
    double sum = 0;
    double target_logit = logits[target];
    for (int64_t i = 0; i < V; i++) {
        real e = real_exp(logits[i] - highest);
        logits[i] = e;
        sum += e;
    }
    real factor = scale / (real)sum;
    for (int64_t i = 0; i < V; i++) logits[i] *= factor;
    logits[target] -= scale;
    return (double)highest + log(sum) - target_logit;
}

// The rows from `row` on to the next multiple of HEAD_CHUNK in their sequence, where pieces of
// cpu_matmul_forward end too.
static Places head_chunk(Places places, int64_t row) {
    int64_t n = row % places.N, first = places.first + n;
    int64_t rows = HEAD_CHUNK - first % HEAD_CHUNK, left = places.N - n;
    Places chunk = {1, rows < left ? rows : left, first};
    return chunk;
}

double cpu_cross_entropy(double *nats, real *dx, real *dhead, real *logits, const real *x, const real *head,
                         const int32_t *targets, int64_t target_stride, Places places, int64_t C, int64_t V,
                         double scale) {
    double sum = 0;
    for (int64_t n = 0, end = places.B * places.N; n < end;) {
        Places chunk = head_chunk(places, n);
        const int32_t *row_targets = targets + n / places.N * target_stride + n % places.N;
        cpu_matmul_forward(logits, x + n * C, head, chunk, C, V);
#pragma omp parallel for
        for (int64_t row = 0; row < chunk.N; row++) {
            nats[n + row] = row_loss(logits + row * V, row_targets[row], V, (real)scale);
        }
        for (int64_t row = 0; row < chunk.N; row++) sum += nats[n + row];
        if (dx) {
            cpu_matmul_backward_weight(dhead, logits, x + n * C, chunk.N, C, V);
            cpu_matmul_backward_input(dx + n * C, logits, head, chunk.N, C, V, false);
        }
        n += chunk.N;
    }
    return sum;
}
