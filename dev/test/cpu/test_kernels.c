// Every kernel of the CPU engine against the formula in float64, on awkward shapes: one row, odd sizes, tiles
// that do not divide, several sequences, shared heads.
#include "cpu/cpu.h"
#include "dev/test/support/numbers.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define BOUND 4e-6 // relative error by norm: float32 rounding of sums, far below any wrong term

static void check(const char *what, const float *got, const double *want, int64_t count) {
    double error = numbers_error(got, want, count);
    if (!(error < BOUND)) fail_msg("%s is off by %.2e of its norm", what, error);
}

static double *copy(const float *x, int64_t count) {
    double *doubles = numbers_zeros(count);
    for (int64_t i = 0; i < count; i++) doubles[i] = x[i];
    return doubles;
}

// ---- linear layers

static void check_matmul(int64_t rows, int64_t n_in, int64_t n_out) {
    float *in = numbers_new(rows * n_in, 1, 1), *weight = numbers_new(n_out * n_in, 2, 1);
    float *out = numbers_new(rows * n_out, 3, 1), *dout = numbers_new(rows * n_out, 4, 1);
    float *din = numbers_new(rows * n_in, 5, 1), *sum = numbers_new(rows * n_in, 6, 1);
    float *dweight = numbers_new(n_out * n_in, 7, 1);
    double *want_out = numbers_zeros(rows * n_out), *want_din = numbers_zeros(rows * n_in);
    double *want_sum = copy(sum, rows * n_in), *want_dweight = copy(dweight, n_out * n_in);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t o = 0; o < n_out; o++) {
            for (int64_t i = 0; i < n_in; i++) {
                double d = dout[r * n_out + o], w = weight[o * n_in + i], x = in[r * n_in + i];
                want_out[r * n_out + o] += x * w;
                want_din[r * n_in + i] += d * w;
                want_sum[r * n_in + i] += d * w;
                want_dweight[o * n_in + i] += d * x;
            }
        }
    }
    Places places = {1, rows, 0};
    cpu_matmul_forward(out, in, weight, places, n_in, n_out);
    cpu_matmul_backward_input(din, dout, weight, rows, n_in, n_out, false);
    cpu_matmul_backward_input(sum, dout, weight, rows, n_in, n_out, true);
    cpu_matmul_backward_weight(dweight, dout, in, rows, n_in, n_out);
    check("matmul out", out, want_out, rows * n_out);
    check("matmul din", din, want_din, rows * n_in);
    check("matmul din, added", sum, want_sum, rows * n_in);
    check("matmul dweight", dweight, want_dweight, n_out * n_in);
    void *buffers[] = {in, weight, out, dout, din, sum, dweight, want_out, want_din, want_sum, want_dweight};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_matmul(void **state) {
    (void)state;
    check_matmul(1, 1, 1);
    check_matmul(1, 64, 320);
    check_matmul(257, 65, 130);
    check_matmul(66, 300, 7);
    check_matmul(129, 128, 513);
}

// Rows of sequences that are cut at `cuts` have the bits of the whole ones, whatever stands beside them.
static void check_slices(int64_t B, int64_t N, int64_t n_in, int64_t n_out, const int64_t *cuts) {
    Places whole = {B, N, 0};
    float *in = numbers_new(B * N * n_in, 1, 1), *weight = numbers_new(n_out * n_in, 2, 1);
    float *want = numbers_new(B * N * n_out, 3, 1), *got = numbers_new(B * N * n_out, 4, 1);
    cpu_matmul_forward(want, in, weight, whole, n_in, n_out);
    for (int64_t from = 0, to; from < N; from = to) {
        to = *cuts ? *cuts++ : N;
        Places slice = {B, to - from, from};
        float *part = numbers_new(B * slice.N * n_in, 5, 1);
        for (int64_t b = 0; b < B; b++) {
            memcpy(part + b * slice.N * n_in, in + (b * N + from) * n_in,
                   (size_t)(slice.N * n_in) * sizeof *in);
        }
        cpu_matmul_forward(got, part, weight, slice, n_in, n_out);
        for (int64_t b = 0; b < B; b++) {
            for (int64_t n = from; n < to; n++) {
                const float *row = want + (b * N + n) * n_out, *own = got + (b * slice.N + n - from) * n_out;
                if (memcmp(row, own, (size_t)n_out * sizeof *row) != 0) {
                    fail_msg("%d -> %d: row %d of a slice from %d to %d has other bits than in the whole",
                             (int)n_in, (int)n_out, (int)n, (int)from, (int)to);
                }
            }
        }
        free(part);
    }
    void *buffers[] = {in, weight, want, got};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_rows_do_not_depend_on_slices(void **state) {
    (void)state;
    static const int64_t cuts[][4] = {{384}, {387}, {1, 2, 765}, {64, 130, 400}, {256, 512}};
    static const int64_t sizes[][2] = {{72, 264}, {64, 3}, {257, 88}, {320, 640}, {1, 8}};
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            check_slices(c == 1 ? 2 : 1, 768, sizes[s][0], sizes[s][1], cuts[c]);
            check_slices(1, 771, sizes[s][0], sizes[s][1], cuts[c]);
        }
    }
}

// ---- norm

static void check_rmsnorm(int64_t rows, int64_t C) {
    const double eps = 1e-5; // as large as the mean square: it must be in its place
    float *x = numbers_new(rows * C, 1, 3e-3), *weight = numbers_new(C, 2, 1),
          *out = numbers_new(rows * C, 3, 1);
    float *rstd = numbers_new(rows, 4, 1), *dout = numbers_new(rows * C, 5, 1);
    float *dx = numbers_new(rows * C, 6, 100), *dweight = numbers_new(C, 7, 1);
    double *partial = numbers_zeros(RMSNORM_SLICES * C), *want_out = numbers_zeros(rows * C);
    double *want_rstd = numbers_zeros(rows), *want_dx = copy(dx, rows * C), *want_dweight = copy(dweight, C);
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0, dot = 0;
        for (int64_t c = 0; c < C; c++) squares += (double)x[r * C + c] * x[r * C + c];
        double s = want_rstd[r] = 1 / sqrt(squares / (double)C + eps);
        for (int64_t c = 0; c < C; c++) dot += (double)dout[r * C + c] * weight[c] * x[r * C + c];
        for (int64_t c = 0; c < C; c++) {
            double d = dout[r * C + c], w = weight[c], value = x[r * C + c];
            want_out[r * C + c] = w * value * s;
            want_dx[r * C + c] += d * w * s - value * s * s * s * dot / (double)C;
            want_dweight[c] += d * value * s;
        }
    }
    cpu_rmsnorm_forward(out, rstd, x, weight, rows, C, eps);
    cpu_rmsnorm_backward(dx, dweight, partial, dout, x, weight, rstd, rows, C);
    check("rmsnorm out", out, want_out, rows * C);
    check("rmsnorm rstd", rstd, want_rstd, rows);
    check("rmsnorm dx", dx, want_dx, rows * C);
    check("rmsnorm dweight", dweight, want_dweight, C);
    void *buffers[] = {x,       weight,  out,      rstd,      dout,    dx,
                       dweight, partial, want_out, want_rstd, want_dx, want_dweight};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_rmsnorm(void **state) {
    (void)state;
    check_rmsnorm(1, 8);
    check_rmsnorm(5, 72);
    check_rmsnorm(33, 1);
    check_rmsnorm(101, 515);
}

// ---- rotary embedding

// Element i of a head turns with element i + D/2 by position theta^(-2i/D), and grows by the attention
// factor.
static void check_rope(int64_t B, int64_t N, int64_t heads, int64_t D, int64_t first) {
    const double theta = 500, grown = 1.25;
    int64_t size = B * N * heads * D, half = D / 2;
    float *x = numbers_new(size, 1, 1), *cosines = numbers_new((first + N) * half, 2, 1);
    float *sines = numbers_new((first + N) * half, 3, 1), *back = numbers_new(size, 1, 1);
    double *want = numbers_zeros(size), *original = copy(x, size), *want_back = numbers_zeros(size);
    for (int64_t row = 0; row < B * N; row++) {
        for (int64_t j = 0; j < heads * half; j++) {
            int64_t low = row * heads * D + j / half * D + j % half, high = low + half;
            double frequency = exp(-2 * (double)(j % half) / (double)D * log(theta));
            double angle = (double)(first + row % N) * frequency, own = (double)(row % N) * frequency;
            want[low] = grown * (original[low] * cos(angle) - original[high] * sin(angle));
            want[high] = grown * (original[low] * sin(angle) + original[high] * cos(angle));
            want_back[low] = grown * (original[low] * cos(own) + original[high] * sin(own));
            want_back[high] = grown * (original[high] * cos(own) - original[low] * sin(own));
        }
    }
    const RopeScaling plain = {ROPE_DEFAULT};
    RopeFrequencies frequencies = rope_frequencies(&plain, theta, D, first + N);
    frequencies.attention_factor = grown;
    cpu_rope_table(cosines, sines, first + N, D, &frequencies);
    cpu_rope_forward(x, cosines, sines, B, N, heads, D, first);
    cpu_rope_backward(back, cosines, sines, B, N, heads, D, 0);
    check("rope", x, want, size);
    check("rope backward", back, want_back, size);
    void *buffers[] = {x, cosines, sines, back, want, original, want_back};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_rope(void **state) {
    (void)state;
    check_rope(1, 1, 1, 64, 0);
    check_rope(1, 1, 3, 128, 1000);
    check_rope(2, 37, 3, 64, 5);
    check_rope(1, 21, 2, 96, 7);
    check_rope(1, 3, 1, 64, 100000); // angles are float64: position 100,000 is as exact as position 1
}

// ---- SwiGLU, exponential

static void test_swiglu(void **state) {
    (void)state;
    const int64_t count = 4096 * 2 + 13;
    float *gate = numbers_new(count, 1, 3), *up = numbers_new(count, 2, 1), *dout = numbers_new(count, 3, 1);
    float *out = numbers_new(count, 4, 1), *dgate = numbers_new(count, 5, 1), *dup = numbers_new(count, 6, 1);
    double *want_out = numbers_zeros(count), *want_dgate = numbers_zeros(count),
           *want_dup = numbers_zeros(count);
    gate[count - 1] = 200;
    gate[count - 2] = -200;
    gate[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        double g = gate[i], s = 1 / (1 + exp(-g));
        want_out[i] = g * s * up[i];
        want_dup[i] = g * s * dout[i];
        want_dgate[i] = dout[i] * up[i] * s * (1 + g * (1 - s));
    }
    cpu_swiglu_forward(out, gate, up, count);
    cpu_swiglu_backward(dgate, dup, dout, gate, up, count);
    check("swiglu out", out, want_out, count - 2);
    check("swiglu dgate", dgate, want_dgate, count - 2);
    check("swiglu dup", dup, want_dup, count - 2);
    check("swiglu of 200 and -200", out + count - 2, want_out + count - 2, 2);
    check("swiglu dgate of 200 and -200", dgate + count - 2, want_dgate + count - 2, 2);
    void *buffers[] = {gate, up, dout, out, dgate, dup, want_out, want_dgate, want_dup};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_fast_exp(void **state) {
    (void)state;
    for (int i = 0; i <= 16990; i++) { // -87 to 88
        double x = -87 + 0.0103 * i;
        double want = exp((double)(float)x);
        if (!(fabs(fast_exp((float)x) - want) < 2.4e-7 * want)) fail_msg("fast_exp(%f)", x);
    }
    assert_true(fast_exp(0) == 1);
    assert_true(fast_exp(-HUGE_VALF) < 1e-37f);
    assert_true(isnan(fast_exp(NAN)));
}

// ---- embedding, head and loss

static void test_embedding(void **state) {
    (void)state;
    const int64_t B = 3, N = 41, C = 35, V = 12, stride = N + 1;
    int32_t tokens[3 * 42];
    float *weight = numbers_new(V * C, 1, 1), *out = numbers_new(B * N * C, 2, 1);
    float *dout = numbers_new(B * N * C, 3, 1), *dweight = numbers_new(V * C, 4, 1);
    double *want = numbers_zeros(B * N * C), *want_dweight = copy(dweight, V * C);
    for (int i = 0; i < 3 * 42; i++) tokens[i] = (int32_t)numbers_between(5, (uint64_t)i, 0, V - 1);
    for (int64_t i = 0; i < B * N * C; i++) {
        int64_t token = tokens[i / C / N * stride + i / C % N];
        want[i] = weight[token * C + i % C];
        want_dweight[token * C + i % C] += dout[i];
    }
    cpu_embedding_forward(out, tokens, stride, weight, B, N, C);
    cpu_embedding_backward(dweight, dout, tokens, stride, B, N, C);
    check("embedding", out, want, B * N * C);
    check("embedding dweight", dweight, want_dweight, V * C);
    void *buffers[] = {weight, out, dout, dweight, want, want_dweight};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void check_cross_entropy(int64_t B, int64_t N, int64_t C, int64_t V) {
    const double scale = 0.37;
    Places places = {B, N, 0};
    int64_t rows = B * N, stride = N + 1;
    int32_t *targets = (int32_t *)alloc_or_exit((size_t)(B * stride), sizeof *targets);
    float *x = numbers_new(rows * C, 1, 1), *head = numbers_new(V * C, 2, 0.7),
          *dx = numbers_new(rows * C, 3, 1);
    float *dhead = numbers_new(V * C, 4, 1), *logits = numbers_new(HEAD_CHUNK * V, 5, 1);
    double *want_dx = numbers_zeros(rows * C), *want_dhead = copy(dhead, V * C), *p = numbers_zeros(V),
           *row_nats = numbers_zeros(rows), nats = 0, row_sum = 0;
    for (int64_t i = 0; i < B * stride; i++) targets[i] = (int32_t)numbers_between(6, (uint64_t)i, 0, V - 1);
    for (int64_t r = 0; r < rows; r++) {
        int32_t target = targets[r / N * stride + r % N];
        double sum = 0;
        for (int64_t i = 0; i < V; i++) {
            p[i] = exp(numbers_dot(x + r * C, head + i * C, C));
            sum += p[i];
        }
        nats += log(sum / p[target]);
        for (int64_t i = 0; i < V; i++) {
            double d = scale * (p[i] / sum - (i == target));
            for (int64_t c = 0; c < C; c++) {
                want_dx[r * C + c] += d * head[i * C + c];
                want_dhead[i * C + c] += d * x[r * C + c];
            }
        }
    }
    assert_true(
        fabs(cpu_cross_entropy(row_nats, NULL, NULL, logits, x, head, targets, stride, places, C, V, 0) -
             nats) < BOUND * nats);
    for (int64_t r = 0; r < rows; r++) row_sum += row_nats[r];
    assert_true(fabs(row_sum - nats) < BOUND * nats);
    assert_true(
        fabs(cpu_cross_entropy(row_nats, dx, dhead, logits, x, head, targets, stride, places, C, V, scale) -
             nats) < BOUND * nats);
    check("cross_entropy dx", dx, want_dx, rows * C);
    check("cross_entropy dhead", dhead, want_dhead, V * C);
    void *buffers[] = {targets, x, head, dx, dhead, logits, want_dx, want_dhead, p, row_nats};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_cross_entropy(void **state) {
    (void)state;
    check_cross_entropy(1, 1, 8, 3);
    check_cross_entropy(2, 131, 40, 97); // two chunks of rows, the border within the second sequence
    check_cross_entropy(3, HEAD_CHUNK, 16, 64);
}

// The loss of a row has the same bits in a slice of its sequence as in the whole; so has SwiGLU.
static void test_losses_do_not_depend_on_slices(void **state) {
    (void)state;
    const int64_t N = 771, C = 72, V = 264, F = 88;
    static const int64_t cuts[] = {0, 1, 130, 387, 640, 771};
    int32_t targets[771];
    float *x = numbers_new(N * C, 1, 1), *head = numbers_new(V * C, 2, 1), *act = numbers_new(N * F, 4, 1);
    float *logits = numbers_new(HEAD_CHUNK * V, 3, 1), *gate = numbers_new(N * F, 5, 1);
    float *own_act = numbers_new(N * F, 6, 1);
    double nats[771], own[771];
    for (int64_t n = 0; n < N; n++) targets[n] = (int32_t)numbers_between(7, (uint64_t)n, 0, V - 1);
    Places whole = {1, N, 0};
    cpu_cross_entropy(nats, NULL, NULL, logits, x, head, targets, N, whole, C, V, 0);
    cpu_swiglu_forward(act, gate, gate + 1, N * F - 1);
    for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++) {
        int64_t from = cuts[i], rows = cuts[i + 1] - from, values = rows * F - (cuts[i + 1] == N);
        Places slice = {1, rows, from};
        cpu_cross_entropy(own + from, NULL, NULL, logits, x + from * C, head, targets + from, N, slice, C, V,
                          0);
        cpu_swiglu_forward(own_act + from * F, gate + from * F, gate + from * F + 1, values);
    }
    assert_memory_equal(own, nats, sizeof nats);
    assert_memory_equal(own_act, act, (size_t)(N * F - 1) * sizeof *act);
    void *buffers[] = {x, head, act, logits, gate, own_act};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

// ---- attention

typedef struct {
    int64_t B, H, share, n_q, n_k, D;
    bool head_major;
} Attend;

static Rows rows_of(const Attend *a, float *x, int64_t n, int64_t share) {
    int64_t heads = a->H / share;
    if (!a->head_major) return rows_token_major(x, n, heads, a->D, share);
    return rows_make(x, heads * n * a->D, n * a->D, a->D, share);
}

// One query row: probabilities p (n_k), output (D); returns the log-sum-exp.
static double attend_row(const Attend *a, double *p, double *out, const float *query, Rows k, Rows v,
                         int64_t b, int64_t h, int64_t i) {
    int64_t visible = a->n_k - a->n_q + i + 1;
    double sum = 0;
    for (int64_t j = 0; j < a->n_k; j++) {
        p[j] = j < visible ? exp(numbers_dot(query, cpu_rows_at(k, b, h, j), a->D) / sqrt((double)a->D)) : 0;
        sum += p[j];
    }
    for (int64_t d = 0; d < a->D; d++) out[d] = 0;
    for (int64_t j = 0; j < visible; j++) {
        p[j] /= sum;
        for (int64_t d = 0; d < a->D; d++) out[d] += p[j] * cpu_rows_at(v, b, h, j)[d];
    }
    return log(sum);
}

typedef struct {
    double *out, *dq, *dk, *dv, *lse; // laid out as the kernel's
} Attended;

static double *same_place(double *want, Rows rows, const float *row) {
    return want + (row - rows.data);
}

// Everything from the formulas: ds = p (dp - sum p dp), dq = ds k, dk = ds q, dv = p dout.
static void attend(const Attend *a, Attended *want, Rows q, Rows k, Rows v, Rows dout) {
    double *p = numbers_zeros(a->n_k), *dp = numbers_zeros(a->n_k), scale = 1 / sqrt((double)a->D);
    for (int64_t row = 0; row < a->B * a->H * a->n_q; row++) {
        int64_t b = row / (a->H * a->n_q), h = row / a->n_q % a->H, i = row % a->n_q;
        const float *query = cpu_rows_at(q, b, h, i), *d_row = cpu_rows_at(dout, b, h, i);
        double out[128], sum = 0;
        want->lse[row] = attend_row(a, p, out, query, k, v, b, h, i);
        memcpy(same_place(want->out, q, query), out, (size_t)a->D * sizeof *out);
        for (int64_t j = 0; j < a->n_k; j++) {
            dp[j] = numbers_dot(d_row, cpu_rows_at(v, b, h, j), a->D);
            sum += p[j] * dp[j];
        }
        for (int64_t j = 0; j < a->n_k; j++) {
            double ds = p[j] * (dp[j] - sum) * scale;
            const float *key = cpu_rows_at(k, b, h, j);
            for (int64_t d = 0; d < a->D; d++) {
                same_place(want->dq, q, query)[d] += ds * key[d];
                same_place(want->dk, k, key)[d] += ds * query[d];
                same_place(want->dv, k, key)[d] += p[j] * d_row[d];
            }
        }
    }
    free(p);
    free(dp);
}

static void check_sdpa(const Attend *a) {
    int64_t n_queries = a->B * a->H * a->n_q, n_keys = a->B * a->H / a->share * a->n_k, D = a->D;
    float *tensors[9];
    for (int i = 0; i < 9; i++) { // q, out, dout, dq, then k, v, dk, dv; the last for the log-sum-exp
        tensors[i] = numbers_new(i < 4 ? n_queries * D : i < 8 ? n_keys * D : n_queries, (uint64_t)i, 1);
    }
    Rows q = rows_of(a, tensors[0], a->n_q, 1), out = rows_of(a, tensors[1], a->n_q, 1);
    Rows dout = rows_of(a, tensors[2], a->n_q, 1), dq = rows_of(a, tensors[3], a->n_q, 1);
    Rows k = rows_of(a, tensors[4], a->n_k, a->share), v = rows_of(a, tensors[5], a->n_k, a->share);
    Rows dk = rows_of(a, tensors[6], a->n_k, a->share), dv = rows_of(a, tensors[7], a->n_k, a->share);
    for (int64_t i = 0; i < n_queries * D; i++) q.data[i] *= 2; // peaked and flat rows
    Attended want = {numbers_zeros(n_queries * D), numbers_zeros(n_queries * D), numbers_zeros(n_keys * D),
                     numbers_zeros(n_keys * D), numbers_zeros(n_queries)};
    attend(a, &want, q, k, v, dout);

    cpu_sdpa_forward(out, tensors[8], q, k, v, a->B, a->H, a->n_q, a->n_k, D);
    check("sdpa out", out.data, want.out, n_queries * D);
    check("sdpa log-sum-exp", tensors[8], want.lse, n_queries);
    if (a->n_q == a->n_k) {
        float *workspace = numbers_new(sdpa_backward_workspace(a->B, a->H, a->share, a->n_q, D), 20, 1);
        cpu_sdpa_backward(dq, dk, dv, dout, out, tensors[8], q, k, v, workspace, a->B, a->H, a->n_q, D);
        if (a->n_q > 1) check("sdpa dq", dq.data, want.dq, n_queries * D);
        if (a->n_q > 1) check("sdpa dk", dk.data, want.dk, n_keys * D);
        check("sdpa dv", dv.data, want.dv, n_keys * D);
        free(workspace);
    }
    void *buffers[] = {want.out, want.dq, want.dk, want.dv, want.lse};
    for (int i = 0; i < 5; i++) free(buffers[i]);
    for (int i = 0; i < 9; i++) free(tensors[i]);
}

static void test_sdpa(void **state) {
    (void)state;
    const Attend cases[] = {
        {1, 1, 1, 1, 1, 64, false},     {2, 4, 2, 129, 129, 64, false}, {1, 2, 1, 128, 128, 128, true},
        {1, 3, 3, 300, 300, 128, true}, {2, 1, 1, 257, 257, 24, false}, {1, 6, 2, 1, 391, 64, false},
        {1, 2, 1, 130, 259, 64, false}, {1, 2, 2, 127, 128, 64, true},  {3, 2, 1, 2, 2, 64, false},
        {2, 4, 2, 131, 131, 96, true},  {1, 2, 1, 3, 300, 96, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_sdpa(&cases[i]);
}

// ---- scores

// A shape for scoring alone.
static LighthouseShape score_shape(Scorer scorer, int64_t dilation, int64_t N, int64_t B, int64_t H,
                                   int64_t share, int64_t D) {
    LighthouseShape shape;
    Error error;
    memset(&shape, 0, sizeof shape);
    LighthouseConfig config = {scorer, 2, 2, 128, dilation};
    if (!hierarchy_create(&config, N, &shape.hierarchy, &error)) error_exit(&error);
    shape.config = config;
    shape.B = B;
    shape.H = H;
    shape.D = D;
    shape.share = share;
    return shape;
}

// Norm of the attention of row t of q over the rows of its subsequence, with plain or gated linear weights.
static double score_row(const LighthouseShape *s, Rows q, Rows k, Rows v, const float *gate, int64_t b,
                        int64_t h, int64_t t) {
    int64_t D = s->D, N = s->hierarchy.n;
    double out[96] = {0}, sum = 0, gates = 0, squares = 0;
    for (int64_t u = t; u >= 0; u -= s->config.dilation) {
        double dot = numbers_dot(cpu_rows_at(q, b, h, t), cpu_rows_at(k, b, h, u), D) / sqrt((double)D);
        double weight = s->config.scorer == SCORER_DILATED ? exp(dot) : exp(gates) * dot;
        sum += weight;
        gates += gate[(b * N + u) * s->H + h]; // the gates behind u, up to t
        for (int64_t d = 0; d < D; d++) out[d] += weight * cpu_rows_at(v, b, h, u)[d];
    }
    for (int64_t d = 0; d < D; d++) squares += out[d] * out[d];
    return sqrt(squares) / (s->config.scorer == SCORER_DILATED ? sum : 1);
}

static void check_score(Scorer scorer, int64_t dilation, int64_t N, int64_t B, int64_t H, int64_t share,
                        int64_t D) {
    LighthouseShape s = score_shape(scorer, dilation, N, B, H, share, D);
    int64_t E = s.hierarchy.n_entries, size = B * N * H * s.D;
    float *x[3], *gate = numbers_new(B * N * H, 4, 1);
    double *want = numbers_zeros(2 * N);
    for (int i = 0; i < 3; i++) x[i] = numbers_new(size / (i ? share : 1), (uint64_t)i + 1, 1);
    for (int64_t i = 0; i < B * N * H; i++) gate[i] = -0.2f * gate[i] * gate[i];
    Rows q = rows_token_major(x[0], N, H, s.D, 1), k = rows_token_major(x[1], N, H / share, s.D, share);
    Rows v = rows_token_major(x[2], N, H / share, s.D, share);
    LighthouseScratch scratch;
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    lighthouse_plan_scratch(plan, &scratch, &s, false, NULL);
    void *arena = alloc_or_exit(plan->total, 1);
    plan_bind(plan, arena);
    lighthouse_score(&scratch, q, k, v, gate, &s);
    for (int64_t head = 0; head < B * H; head++) {
        for (int64_t t = 0; t < N; t++) {
            want[t] = score_row(&s, q, k, v, gate, head / H, head % H, t);
            want[N + t] = score_row(&s, k, q, v, gate, head / H, head % H, t);
        }
        check("query scores", scratch.score_q + head * E, want, N);
        check("key scores", scratch.score_k + head * E, want + N, N);
    }
    void *buffers[] = {x[0], x[1], x[2], gate, want, plan, arena};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_scores(void **state) {
    (void)state;
    check_score(SCORER_DILATED, 1, 258, 1, 2, 1, 24);
    check_score(SCORER_DILATED, 4, 268, 2, 2, 2, 96);
    check_score(SCORER_GLA, 1, 258, 1, 2, 2, 24);
    check_score(SCORER_GLA, 3, 264, 2, 3, 1, 96);
}

static void test_gla_gate(void **state) {
    (void)state;
    const int64_t rows = 130, C = 72, H = 3;
    float *x = numbers_new(rows * C, 1, 1), *weight = numbers_new(H * C, 2, 1), *bias = numbers_new(H, 3, 2);
    float *gate = numbers_new(rows * H, 4, 1);
    double *want = numbers_zeros(rows * H);
    for (int64_t i = 0; i < rows * H; i++) {
        double z = numbers_dot(x + i / H * C, weight + i % H * C, C) + bias[i % H];
        want[i] = log(1 / (1 + exp(-z))) / 16;
    }
    Places places = {1, rows, 0};
    gla_gate(gate, x, weight, bias, places, C, H);
    check("gla gate", gate, want, rows * H);
    void *buffers[] = {x, weight, bias, gate, want};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

// ---- AdamW

static void test_adamw(void **state) {
    (void)state;
    const int64_t count = 2 * 16384 + 77;
    const double lr = 0.02, beta1 = 0.9, beta2 = 0.95, eps = 1e-3, decay = 0.3, scale = 0.25;
    float *w = numbers_new(count, 1, 1), *g = numbers_new(count, 2, 1);
    float *m1 = numbers_new(count, 3, 0), *m2 = numbers_new(count, 4, 0);
    double *want = copy(w, count), *mean = numbers_zeros(count), *square = numbers_zeros(count);
    for (int step = 1; step <= 3; step++) {
        numbers_fill(g, count, 10 + (uint64_t)step, 1);
        assert_true(fabs(cpu_gradient_squares(g, count) / numbers_dot(g, g, count) - 1) < 1e-12);
        for (int64_t i = 0; i < count; i++) { // torch.optim.AdamW: decay, moments, corrected step
            double d = scale * g[i];
            want[i] -= lr * decay * want[i];
            mean[i] = beta1 * mean[i] + (1 - beta1) * d;
            square[i] = beta2 * square[i] + (1 - beta2) * d * d;
            want[i] -=
                lr * mean[i] / (1 - pow(beta1, step)) / (sqrt(square[i] / (1 - pow(beta2, step))) + eps);
        }
        cpu_adamw_update(w, g, m1, m2, count, scale, step, lr, beta1, beta2, eps, decay);
        assert_true(numbers_zero(g, count));
    }
    check("weights", w, want, count);
    check("first moments", m1, mean, count);
    check("second moments", m2, square, count);
    void *buffers[] = {w, g, m1, m2, want, mean, square};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_rows_do_not_depend_on_slices),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_fast_exp),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_losses_do_not_depend_on_slices),
        cmocka_unit_test(test_sdpa),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_gla_gate),
        cmocka_unit_test(test_adamw),
    };
    omp_set_num_threads(1); // small shapes; test_engine holds the numbers of threads against each other
    return cmocka_run_group_tests(tests, NULL, NULL);
}
