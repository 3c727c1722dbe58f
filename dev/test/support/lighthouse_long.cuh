// Lighthouse at a million tokens and more than 2^31 elements a tensor, without attention: the selection of
// the first and the last head against the CPU engine, and samples of all else against the formulas. What
// overflows 32 bits shows here.
#ifndef TEST_LIGHTHOUSE_LONG_CUH
#define TEST_LIGHTHOUSE_LONG_CUH

#include "dev/test/support/lighthouse_case.cuh"

#define LONG_SAMPLES 4000

typedef struct {
    LighthouseCase *c;
    int32_t *entries, *positions;
    bf16 *rows; // (H, S, D) what the scatters and their backwards read
    int64_t width;
} Long;

// Element d of head `head` (of all H + 2 KV) at position t of the input.
static inline double long_input(const Long *l, int64_t t, int64_t head, int64_t d) {
    return case_bf16(case_scaled(1, t * l->width + head * l->c->shape.D + d, l->c->shape.D));
}

static inline double long_row(const Long *l, int64_t head, int64_t s, int64_t d) {
    int64_t S = l->c->shape.hierarchy.n_selected, D = l->c->shape.D;
    return __bfloat162float(l->rows[(head * S + s) * D + d]);
}

// One head's CPU selection from the GPU's scores.
static inline int64_t long_selection_misses(const Long *l, int64_t head) {
    LighthouseShape shape = l->c->shape;
    int64_t E = shape.hierarchy.n_entries, S = shape.hierarchy.n_selected;
    LighthouseScratch scratch = {};
    LighthouseRows rows = {};
    shape.B = shape.H = 1;
    scratch.score_q = (real *)alloc_or_exit((size_t)E, sizeof(real));
    scratch.score_k = (real *)alloc_or_exit((size_t)E, sizeof(real));
    scratch.expanded = (uint8_t *)alloc_or_exit((size_t)E, 1);
    rows.entries = (int32_t *)alloc_or_exit((size_t)S, sizeof(int32_t));
    rows.positions = (int32_t *)alloc_or_exit((size_t)E, sizeof(int32_t));
    case_download(scratch.score_q, l->c->scratch.scores.q + head * E, E);
    case_download(scratch.score_k, l->c->scratch.scores.k + head * E, E);
    lighthouse_select(&scratch, &shape);
    lighthouse_order(&rows, &scratch, &shape);
    double misses = gpu_differences(l->entries + head * S, rows.entries, S) +
                    gpu_differences(l->positions + head * E, rows.positions, E);
    free(scratch.score_q), free(scratch.score_k), free(scratch.expanded), free(rows.entries),
        free(rows.positions);
    return (int64_t)misses;
}

// Sum over the levels of element d of the rows that cover t, as the scatter (`shifted`) or the gather's
// backward has it.
static inline double long_cover(const Long *l, int64_t head, int64_t t, int64_t d, bool shifted) {
    const Hierarchy *h = &l->c->shape.hierarchy;
    double sum = 0;
    for (int level = 0; level < h->levels; level++) {
        int64_t reach = shifted ? t - h->level_span[level] + 1 : t;
        if (reach < 0) continue;
        int32_t s = l->positions[head * h->n_entries + h->level_offset[level] + reach / h->level_span[level]];
        if (s >= 0) sum += long_row(l, head, s, d) / (shifted ? 1 : h->level_span[level]);
    }
    return sum;
}

typedef struct {
    double difference, norm;
} LongError;

static inline void long_compare(LongError *error, double x, double expected) {
    error->difference += (x - expected) * (x - expected);
    error->norm += expected * expected;
}

static inline double long_error(LongError error) {
    return sqrt(error.difference / error.norm);
}

// Rows sampled evenly with the first and the last among them.
static inline int64_t long_sample(int64_t i, int64_t count) {
    return i * (count - 1) / (LONG_SAMPLES - 1);
}

static inline void long_check_spans(GpuChecks *checks, Long *l) {
    LighthouseCase *c = l->c;
    const Hierarchy *h = &c->shape.hierarchy;
    int64_t H = c->shape.H, D = c->shape.D, S = h->n_selected;
    bf16 *gathered[3] = {c->rows.q, c->rows.k, c->rows.v};
    LongError errors[3] = {}, back = {};
    cuda_lighthouse_gather(&c->context, &c->rows, &c->scratch, c->q, c->k, c->v, &c->shape);
    gpu_poison(c->scratch.dout, (size_t)c->row_count * sizeof(bf16));
    cuda_lighthouse_scatter_backward(&c->context, c->dout, &c->rows, &c->scratch, &c->shape);
    bf16 *rows[4] = {gpu_download(gathered[0], c->row_count), gpu_download(gathered[1], c->row_count),
                     gpu_download(gathered[2], c->row_count), gpu_download(c->scratch.dout, c->row_count)};
    for (int64_t i = 0; i < LONG_SAMPLES; i++) {
        int64_t row = long_sample(i, H * S), head = row / S;
        int level = hierarchy_level(h, l->entries[row]);
        int64_t span = h->level_span[level], first = (l->entries[row] - h->level_offset[level]) * span;
        for (int64_t d = 0; d < D; d++) {
            double means[3] = {0, 0, 0}, sum = 0;
            for (int64_t t = first; t < first + span; t++) {
                for (int x = 0; x < 3; x++) {
                    int64_t lies = x == 0 ? head : H + (x - 1) * c->KV + head / c->shape.share;
                    means[x] += long_input(l, t, lies, d) / span;
                }
                if (t + span - 1 < h->n)
                    sum += case_bf16(case_normal(2, ((t + span - 1) * H + head) * D + d));
            }
            for (int x = 0; x < 3; x++)
                long_compare(&errors[x], __bfloat162float(rows[x][row * D + d]), means[x]);
            long_compare(&back, __bfloat162float(rows[3][row * D + d]), sum);
        }
    }
    const char *names[3] = {"q", "k", "v"};
    for (int x = 0; x < 3; x++)
        gpu_check(checks, long_error(errors[x]), 2.5e-3, "%s: gather %s", c->name, names[x]);
    gpu_check(checks, long_error(back), 2.5e-3, "%s: scatter backward", c->name);
    for (int i = 0; i < 4; i++) free(rows[i]);
}

static inline void long_check_covers(GpuChecks *checks, Long *l) {
    LighthouseCase *c = l->c;
    int64_t H = c->shape.H, D = c->shape.D, N = c->shape.hierarchy.n, share = c->shape.share;
    bf16 *sources[4] = {c->rows.out, c->scratch.dq, c->scratch.dk, c->scratch.dv};
    for (int i = 0; i < 4; i++) case_fill(sources[i], c->row_count, 3, 0);
    l->rows = gpu_download(c->rows.out, c->row_count);
    cuda_lighthouse_scatter(&c->context, c->out, &c->rows, &c->scratch, &c->shape);
    cuda_lighthouse_gather_backward(&c->context, c->dq, c->dk, c->dv, &c->rows, &c->scratch, &c->shape);
    bf16 *out = gpu_download(c->out.data, c->token_count),
         *packed = gpu_download(c->dq.data, c->packed_count);
    LongError scatter = {}, back = {};
    for (int64_t i = 0; i < LONG_SAMPLES; i++) {
        int64_t t = i < 100 ? i : long_sample(i, N), head = i % (l->width / D);
        for (int64_t d = 0; d < D; d++) {
            double expected = 0;
            if (head < H) {
                double x = __bfloat162float(out[(t * H + head) * D + d]);
                long_compare(&scatter, x, long_cover(l, head, t, d, true));
                expected = long_cover(l, head, t, d, false);
            } else {
                int64_t first = (head - H) % c->KV * share;
                for (int64_t h = first; h < first + share; h++) expected += long_cover(l, h, t, d, false);
            }
            long_compare(&back, __bfloat162float(packed[t * l->width + head * D + d]), expected);
        }
    }
    gpu_check(checks, long_error(scatter), 2.5e-3, "%s: scatter", c->name);
    gpu_check(checks, long_error(back), 2.5e-3, "%s: gather backward", c->name);
    free(out), free(packed), free(l->rows);
}

// Scores of samples, to the bit.
static inline void long_check_scores(GpuChecks *checks, Long *l) {
    LighthouseCase *c = l->c;
    int64_t H = c->shape.H, D = c->shape.D, N = c->shape.hierarchy.n, E = c->shape.hierarchy.n_entries,
            misses = 0;
    float *score[2] = {gpu_download(c->scratch.scores.q, H * E), gpu_download(c->scratch.scores.k, H * E)};
    for (int64_t i = 0; i < LONG_SAMPLES; i++) {
        int64_t t = long_sample(i, N), head = i % H;
        double squares[2] = {0, 0};
        for (int64_t d = 0; d < D; d++) {
            double q = long_input(l, t, head, d), k = long_input(l, t, H + head / c->shape.share, d);
            squares[0] += q * q;
            squares[1] += k * k;
        }
        for (int side = 0; side < 2; side++)
            misses += !(score[side][head * E + t] == (float)sqrt(squares[side]));
    }
    gpu_check(checks, (double)misses, 0, "%s: scores", c->name);
    free(score[0]), free(score[1]);
}

static inline void lighthouse_check_long(GpuChecks *checks, CudaContext *context) {
    LighthouseSetting setting = {"1,050,624 tokens", {SCORER_NORM, 4, 4, 2048, 4}, 1, 16, 8, 64, 1050624};
    LighthouseCase *c = case_create_gpu(&setting, context, NULL);
    Long l = {c, NULL, NULL, NULL, (c->shape.H + 2 * c->KV) * c->shape.D};
    const Hierarchy *h = &c->shape.hierarchy;
    Error error;
    if (!cuda_lighthouse_score(&c->context, NULL, &c->scratch, c->q, c->k, c->v, NULL, false, &c->shape,
                               &error))
        error_exit(&error);
    long_check_scores(checks, &l);
    select_entries(&c->context, c->rows.entries, c->rows.positions, c->scratch.scores, &c->shape);
    l.entries = gpu_download(c->rows.entries, c->shape.H * h->n_selected);
    l.positions = gpu_download(c->rows.positions, c->shape.H * h->n_entries);
    gpu_check(checks, (double)long_selection_misses(&l, 0), 0, "%s: selection of the first head", c->name);
    gpu_check(checks, (double)long_selection_misses(&l, c->shape.H - 1), 0, "%s: selection of the last head",
              c->name);
    long_check_spans(checks, &l);
    long_check_covers(checks, &l);
    free(l.entries), free(l.positions);
    case_free(c);
}

#endif
