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

double cross_entropy(real *dx, real *dhead, real *logits, const real *x, const real *head,
                     const int32_t *targets, int64_t target_stride, int64_t B, int64_t N, int64_t C,
                     int64_t V, double scale) {
    double nats = 0;
    for (int64_t start = 0; start < B * N; start += HEAD_CHUNK) {
        int64_t rows = B * N - start < HEAD_CHUNK ? B * N - start : HEAD_CHUNK;
        matmul_forward(logits, x + start * C, head, rows, C, V);
        double row_nats[HEAD_CHUNK];
#pragma omp parallel for
        for (int64_t row = 0; row < rows; row++) {
            int64_t n = start + row;
            int64_t target = targets[n / N * target_stride + n % N];
            row_nats[row] = row_loss(logits + row * V, target, V, (real)scale);
        }
        for (int64_t row = 0; row < rows; row++) nats += row_nats[row];
        if (dx) {
            matmul_backward_weight(dhead, logits, x + start * C, rows, C, V);
            matmul_backward_input(dx + start * C, logits, head, rows, C, V, false);
        }
    }
    return nats;
}
