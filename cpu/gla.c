// Scores of the gla scorer: a gated linear recurrence (Yang et al., "Gated Linear Attention", 2023), one
// scalar gate a head, evaluated as it is defined. Its state is float64: the scores decide a selection.
#include "cpu/cpu.h"

#define MAX_D 128

void gla_gate(real *gate, const real *x, const real *weight, const real *bias, Places places, int64_t C,
              int64_t H) {
    cpu_matmul_forward(gate, x, weight, places, C, H);
#pragma omp parallel for
    for (int64_t row = 0; row < places.B * places.N; row++) {
        for (int64_t h = 0; h < H; h++) {
            double z = (double)gate[row * H + h] + bias[h];
            gate[row * H + h] =
                (real)((z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z))) / 16); // log sigmoid(z) / 16
        }
    }
}

// One step of one head: state (D, D) decays and takes in k v^T; returns |q^T state|.
static double recurrence_step(double *state, const real *q, const real *k, const real *v, double decay,
                              int64_t D) {
    double out[MAX_D] = {0};
    for (int64_t i = 0; i < D; i++) {
        double *row = state + i * D, k_i = k[i], q_i = q[i];
#pragma omp simd
        for (int64_t j = 0; j < D; j++) {
            row[j] = decay * row[j] + k_i * v[j];
            out[j] += q_i * row[j];
        }
    }
    double squares = 0;
    for (int64_t j = 0; j < D; j++) squares += out[j] * out[j];
    return sqrt(squares);
}

void gla_score(real *score, int64_t score_stride, Rows q, Rows k, Rows v, const real *gate, double *states,
               int64_t B, int64_t H, int64_t N, int64_t D, int64_t dilation) {
    double scale = 1 / sqrt((double)D);
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < B * H * dilation; task++) {
        int64_t b = task / (H * dilation), h = task / dilation % H;
        double state[MAX_D * MAX_D] = {0};
        if (states) memcpy(state, states + task * D * D, (size_t)(D * D) * sizeof *state);
        for (int64_t t = task % dilation; t < N; t += dilation) {
            double decay = exp((double)gate[(b * N + t) * H + h]);
            score[(b * H + h) * score_stride + t] =
                (real)(scale * recurrence_step(state, cpu_rows_at(q, b, h, t), cpu_rows_at(k, b, h, t),
                                               cpu_rows_at(v, b, h, t), decay, D));
        }
        if (states) memcpy(states + task * D * D, state, (size_t)(D * D) * sizeof *state);
    }
}
