// The Lighthouse layer on random shapes, held against its definition: sizes, selection, order, coverage, what
// may depend on what, and each backward as the transpose of its forward.
#include "cpu/cpu.h"
#include "dev/test/support/layer_case.h"
#include "dev/test/support/numbers.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

// NOLINTBEGIN(bugprone-macro-parentheses) c is the name of a variable that the loop declares
#define LOOP_CASES(c, state) \
    for (LayerCase *c = (LayerCase *)*(state); c < (LayerCase *)*(state) + LAYER_CASES; c++)
// NOLINTEND(bugprone-macro-parentheses)
#define CHECK(c, condition)                                                    \
    do {                                                                       \
        if (!(condition)) fail_msg("%s: not true: %s", (c)->name, #condition); \
    } while (0)

// ---- the definition, written down once more

static int64_t power(int64_t base, int64_t exponent) {
    return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

// Absolute index of entry (l, i): the levels one after the other, the base first.
static int64_t entry_index(const LayerCase *c, int64_t l, int64_t i) {
    int64_t index = i;
    for (int64_t below = 0; below < l; below++) index += c->N / power(c->shape.config.pool, below);
    return index;
}

static void entry_split(const LayerCase *c, int64_t entry, int64_t *l, int64_t *i) {
    *l = 0;
    while (entry >= entry_index(c, *l + 1, 0)) ++*l;
    *i = entry - entry_index(c, *l, 0);
}

// Marks the 64 candidates that score highest among those not marked yet, ties to the lower index: a candidate
// is among them when fewer than 64 others come before it.
static void mark_highest(bool *marked, const int64_t *candidates, int64_t n, const float *score) {
    bool *before = (bool *)alloc_or_exit((size_t)n, sizeof *before);
    for (int64_t a = 0; a < n; a++) before[a] = marked[candidates[a]];
    for (int64_t a = 0; a < n; a++) {
        int64_t ahead = 0;
        for (int64_t b = 0; b < n && !before[a]; b++) {
            float mine = score[candidates[a]], theirs = score[candidates[b]];
            ahead += !before[b] && (theirs > mine || (theirs == mine && candidates[b] < candidates[a]));
        }
        if (!before[a] && ahead < 64) marked[candidates[a]] = true;
    }
    free(before);
}

// marked (E): the entries that one head expands, found by counting.
static void expected_expanded(const LayerCase *c, int64_t head, bool *marked) {
    int64_t p = c->shape.config.pool, L = c->shape.config.levels, chunks = c->shape.config.topk / 128;
    int64_t coarse = c->N / power(p, L - 1);
    const float *score_q = c->scratch.score_q + head * c->E, *score_k = c->scratch.score_k + head * c->E;
    int64_t *candidates = (int64_t *)alloc_or_exit((size_t)(coarse + 128 * p), sizeof *candidates);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t n = 0;
        for (int64_t i = 0; i < coarse; i++) { // chunk j begins at floor(j Nc / T)
            if (i >= chunk * coarse / chunks && i < (chunk + 1) * coarse / chunks) {
                candidates[n++] = entry_index(c, L - 1, i);
            }
        }
        for (int64_t l = L - 1; l >= 1; l--) {
            int64_t expanded = 0, children = 0;
            int64_t *next = (int64_t *)alloc_or_exit((size_t)(128 * p), sizeof *next);
            mark_highest(marked, candidates, n, score_q);
            mark_highest(marked, candidates, n, score_k);
            for (int64_t a = 0; a < n; a++) {
                if (!marked[candidates[a]]) continue;
                expanded++;
                for (int64_t child = 0; child < p; child++) {
                    next[children++] =
                        entry_index(c, l - 1, (candidates[a] - entry_index(c, l, 0)) * p + child);
                }
            }
            assert_int_equal(expanded, 128);
            n = children;
            memcpy(candidates, next, (size_t)n * sizeof *next);
            free(next);
        }
    }
    free(candidates);
}

// Row of entry (l, i) in the sub-sequence of a head, -1 where it is not selected; from the entries alone.
static int32_t *rows_of_entries(const LayerCase *c, int64_t head) {
    int32_t *rows = (int32_t *)alloc_or_exit((size_t)c->E, sizeof *rows);
    for (int64_t e = 0; e < c->E; e++) rows[e] = -1;
    for (int64_t s = 0; s < c->S; s++) rows[c->entries[head * c->S + s]] = (int32_t)s;
    return rows;
}

// ---- sizes, scores, selection, order

static void test_sizes(void **state) {
    LOOP_CASES(c, state) {
        const LighthouseConfig *config = &c->shape.config;
        int64_t L = config->levels, p = config->pool, k = config->topk;
        CHECK(c, c->S == c->N / power(p, L - 1) + (L - 1) * p * k);
        CHECK(c, c->E == entry_index(c, L, 0));
        CHECK(c, (c->N & (c->N - 1)) != 0);
    }
}

static void test_scores(void **state) {
    LOOP_CASES(c, state) {
        int64_t p = c->shape.config.pool, D = c->shape.D;
        for (int64_t head = 0; head < c->heads; head++) {
            const float *score = c->scratch.score_k + head * c->E;
            for (int64_t entry = c->N; entry < c->E; entry++) {
                int64_t l, i;
                entry_split(c, entry, &l, &i);
                float highest = -1;
                for (int64_t t = i * power(p, l); t < (i + 1) * power(p, l); t++) {
                    highest = score[t] > highest ? score[t] : highest;
                }
                CHECK(c, score[entry] == highest);
            }
            for (int64_t t = 0; t < c->N && c->shape.config.scorer == SCORER_NORM; t += 7) {
                const float *row =
                    cpu_rows_at(layer_case_keys(c, c->k), head / c->shape.H, head % c->shape.H, t);
                double norm = sqrt(numbers_dot(row, row, D));
                CHECK(c, c->ties ? score[t] == floorf((float)norm) : fabs(score[t] - norm) < 1e-6 * norm);
            }
        }
    }
}

static void test_selection(void **state) {
    LOOP_CASES(c, state) {
        for (int64_t head = 0; head < c->heads; head++) {
            bool *marked = (bool *)alloc_or_exit((size_t)c->E, sizeof *marked);
            int64_t wrong = 0;
            expected_expanded(c, head, marked);
            for (int64_t e = 0; e < c->E; e++) wrong += c->scratch.expanded[head * c->E + e] != marked[e];
            if (wrong) fail_msg("%s: head %d: %d entries differ", c->name, (int)head, (int)wrong);
            free(marked);
        }
    }
}

// Every coarse entry and every child of an expanded one, once; nothing else.
static void test_entries(void **state) {
    LOOP_CASES(c, state) {
        int64_t p = c->shape.config.pool, L = c->shape.config.levels;
        for (int64_t head = 0; head < c->heads; head++) {
            int *times = (int *)alloc_or_exit((size_t)c->E, sizeof *times);
            for (int64_t s = 0; s < c->S; s++) {
                int64_t entry = c->entries[head * c->S + s];
                CHECK(c, entry >= 0 && entry < c->E);
                times[entry]++;
            }
            for (int64_t entry = 0; entry < c->E; entry++) {
                int64_t l, i;
                entry_split(c, entry, &l, &i);
                bool present = l == L - 1 || c->scratch.expanded[head * c->E + entry_index(c, l + 1, i / p)];
                CHECK(c, times[entry] == (present ? 1 : 0));
            }
            free(times);
        }
    }
}

// Post-order: by the last position an entry covers, and the finer entry first where two end together.
static void test_order(void **state) {
    LOOP_CASES(c, state) {
        for (int64_t head = 0; head < c->heads; head++) {
            int64_t last_end = -1, last_level = -1;
            int32_t *rows = rows_of_entries(c, head);
            for (int64_t s = 0; s < c->S; s++) {
                int64_t l, i;
                entry_split(c, c->entries[head * c->S + s], &l, &i);
                int64_t end = (i + 1) * power(c->shape.config.pool, l);
                CHECK(c, end > last_end || (end == last_end && l > last_level));
                last_end = end;
                last_level = l;
            }
            assert_memory_equal(rows, c->rows.positions + head * c->E, (size_t)c->E * sizeof *rows);
            free(rows);
        }
    }
}

// ---- gather and scatter

static void test_gather(void **state) {
    LOOP_CASES(c, state) {
        int64_t D = c->shape.D, H = c->shape.H;
        Rows k = layer_case_keys(c, c->k);
        for (int64_t row = 0; row < c->heads * c->S; row += 5) {
            int64_t head = row / c->S, l, i;
            entry_split(c, c->entries[row], &l, &i);
            int64_t span = power(c->shape.config.pool, l);
            for (int64_t d = 0; d < D; d++) {
                double mean = 0, size = 0;
                for (int64_t t = i * span; t < (i + 1) * span; t++) {
                    double x = cpu_rows_at(k, head / H, head % H, t)[d];
                    mean += x / (double)span;
                    size += fabs(x) / (double)span;
                }
                CHECK(c, fabs(c->rows.k[row * D + d] - mean) <= 1e-6 * size);
            }
        }
    }
}

// Every output against the sum over the levels, and zero where no entry reaches.
static void test_scatter(void **state) {
    LOOP_CASES(c, state) {
        int64_t D = c->shape.D, p = c->shape.config.pool, L = c->shape.config.levels;
        for (int64_t head = 0; head < c->heads; head++) {
            int32_t *rows = rows_of_entries(c, head);
            for (int64_t t = 0; t < c->N; t++) {
                const float *got = c->out + layer_case_row(c, head, t) * D;
                int64_t terms = 0;
                double sum[128] = {0};
                for (int64_t l = 0; l < L; l++) {
                    int64_t shifted = t - (power(p, l) - 1);
                    int32_t s = shifted < 0 ? -1 : rows[entry_index(c, l, shifted / power(p, l))];
                    if (s < 0) continue;
                    terms++;
                    for (int64_t d = 0; d < D; d++) sum[d] += c->rows.out[(head * c->S + s) * D + d];
                }
                CHECK(c, terms > 0 || t < power(p, L - 1) - 1);
                CHECK(c, numbers_zero(got, D) == (terms == 0));
                CHECK(c, numbers_error(got, sum, D) < 2e-6);
            }
            free(rows);
        }
    }
}

static void test_scatter_is_adjoint(void **state) {
    LOOP_CASES(c, state) {
        int64_t D = c->shape.D, rows = c->heads * c->S * D, size = c->heads * c->N * D;
        float *x = numbers_new(rows, 1, 1), *dx = numbers_new(rows, 2, 1), *out = numbers_new(size, 3, 1);
        lighthouse_scatter(layer_case_queries(c, out), x, c->rows.positions, NULL, &c->shape);
        lighthouse_scatter_backward(dx, layer_case_queries(c, c->dout), c->entries, &c->shape);
        double forward = numbers_dot(out, c->dout, size), backward = numbers_dot(x, dx, rows);
        CHECK(c, fabs(forward - backward) <
                     1e-6 * sqrt(numbers_dot(out, out, size) * numbers_dot(c->dout, c->dout, size)));
        free(x);
        free(dx);
        free(out);
    }
}

// Gathering k for all query heads that share it, and the sum over them on the way back.
static void test_gather_is_adjoint(void **state) {
    LOOP_CASES(c, state) {
        int64_t D = c->shape.D, rows = c->heads * c->S * D, size = c->kv_heads * c->N * D;
        float *y = numbers_new(rows, 1, 1), *out = numbers_new(rows, 2, 1), *dx = numbers_new(size, 3, 1);
        lighthouse_gather(out, layer_case_keys(c, c->k), c->entries, &c->shape);
        lighthouse_gather_backward(layer_case_keys(c, dx), y, c->rows.positions, &c->shape);
        double forward = numbers_dot(out, y, rows), backward = numbers_dot(c->k, dx, size);
        CHECK(c,
              fabs(forward - backward) < 1e-6 * sqrt(numbers_dot(out, out, rows) * numbers_dot(y, y, rows)));
        free(y);
        free(out);
        free(dx);
    }
}

// ---- scores that no norm has

// Copies scores, every third of them replaced: by `odd` ones in turn, or by zero where these are none.
static float *copy_scores(const float *scores, int64_t count, const float *odd) {
    float *copy = (float *)alloc_or_exit((size_t)count, sizeof *copy);
    for (int64_t i = 0; i < count; i++) copy[i] = i % 3 ? scores[i] : odd ? odd[i / 3 % 6] : 0;
    return copy;
}

// Whatever is not above zero counts as zero, wherever it stands, on both engines; infinity is the highest.
static void test_odd_scores(void **state) {
    static const float odd[] = {NAN, -1, -0.0F, -INFINITY, -NAN, -1e-40F};
    LOOP_CASES(c, state) {
        int64_t count = c->heads * c->E, infinite = c->E / 2 / 3 * 3;
        LighthouseScratch plain = c->scratch, strange = c->scratch;
        plain.score_q = copy_scores(c->scratch.score_q, count, NULL);
        plain.score_k = copy_scores(c->scratch.score_k, count, NULL);
        strange.score_q = copy_scores(c->scratch.score_q, count, odd);
        strange.score_k = copy_scores(c->scratch.score_k, count, odd);
        plain.expanded = (uint8_t *)alloc_or_exit((size_t)count, 1);
        strange.expanded = (uint8_t *)alloc_or_exit((size_t)count, 1);
        plain.score_q[infinite] = strange.score_q[infinite] = INFINITY;
        lighthouse_select(&plain, &c->shape);
        lighthouse_select(&strange, &c->shape);
        CHECK(c, memcmp(plain.expanded, strange.expanded, (size_t)count) == 0);
        free(plain.score_q);
        free(plain.score_k);
        free(strange.score_q);
        free(strange.score_k);
        free(plain.expanded);
        free(strange.expanded);
    }
}

// ---- what may depend on what

// Exchanges the q, k and v rows of token t of every sequence with those kept in `rows`.
static void exchange_token(LayerCase *c, int64_t t, float *rows) {
    float *tensors[] = {c->q, c->k, c->v};
    for (int x = 0; x < 3; x++) {
        int64_t width = c->shape.H / (x ? c->shape.share : 1) * c->shape.D;
        for (int64_t i = 0; i < c->shape.B * width; i++) {
            float *value = tensors[x] + (i / width * c->N + t) * width + i % width, other = *rows;
            *rows++ = *value;
            *value = other;
        }
    }
}

// What the layer gives with other rows of this size at token t.
static void forward_with_token(LayerCase *c, int64_t t, double size, float *out, bool forced) {
    float *rows = numbers_new(3 * c->heads * c->shape.D, 5, size);
    exchange_token(c, t, rows);
    layer_case_forward(c, out, forced);
    exchange_token(c, t, rows);
    free(rows);
}

// First token at or behind which the outputs differ; N when they are the same bits.
static int64_t first_difference(const LayerCase *c, const float *changed) {
    int64_t width = c->shape.H * c->shape.D, first = c->N;
    for (int64_t b = 0; b < c->shape.B; b++) {
        for (int64_t t = 0; t < first; t++) {
            int64_t start = (b * c->N + t) * width;
            if (memcmp(c->out + start, changed + start, (size_t)width * sizeof *changed) != 0) first = t;
        }
    }
    return first;
}

// Tokens on both sides of a border of chunks, one in the middle, one anywhere.
static int64_t token_to_change(const LayerCase *c, int number) {
    const Hierarchy *h = &c->shape.hierarchy;
    int64_t border = hierarchy_chunk_begin(h, h->n_chunks / 2) * h->level_span[h->levels - 1];
    const int64_t tokens[] = {border, border > 0 ? border - 1 : c->N - 1, c->N / 2 + 1,
                              numbers_between(9, (uint64_t)c->N, 0, c->N - 1)};
    return tokens[number];
}

static void test_fixed_selection_is_causal(void **state) {
    LOOP_CASES(c, state) {
        int64_t size = c->heads * c->N * c->shape.D;
        for (int number = (int)(c - (LayerCase *)*state) % 2; number < 4; number += 2) {
            int64_t t = token_to_change(c, number);
            float *changed = numbers_new(size, 1, 1);
            forward_with_token(c, t, 1, changed, true);
            int64_t first = first_difference(c, changed);
            if (first < t || first == c->N) {
                fail_msg("%s: token %lld changed, the first output to change is %lld", c->name, (long long)t,
                         (long long)first);
            }
            free(changed);
        }
    }
}

static void test_free_selection_looks_ahead_in_its_chunk_only(void **state) {
    int64_t ahead = 0;
    LOOP_CASES(c, state) {
        const Hierarchy *h = &c->shape.hierarchy;
        if (c->ties) continue; // rounded scores are not what the layer itself selects by
        int64_t size = c->heads * c->N * c->shape.D, span = h->level_span[h->levels - 1];
        float *changed = numbers_new(size, 1, 1);
        for (int number = (int)(c - (LayerCase *)*state) % 2; number < 4; number += 2) {
            int64_t t = token_to_change(c, number), chunk = 0;
            while ((chunk + 1) * h->n_coarse / h->n_chunks <= t / span) chunk++;
            int64_t begin = chunk * h->n_coarse / h->n_chunks * span;
            forward_with_token(c, t, 10, changed, false);
            int64_t first = first_difference(c, changed);
            if (first < begin) {
                fail_msg("%s: token %lld of the chunk from %lld on changed output %lld", c->name,
                         (long long)t, (long long)begin, (long long)first);
            }
            ahead += first < t;
        }
        free(changed);
    }
    assert_true(ahead > 0); // the selection did change, or nothing was tested
}

// Gradients of the outputs before t, with respect to t and what comes later: exactly zero.
static void test_backward_is_causal(void **state) {
    LOOP_CASES(c, state) {
        int64_t D = c->shape.D, H = c->shape.H, KV = H / c->shape.share, t = token_to_change(c, 2);
        float *dq = numbers_new(c->heads * c->N * D, 1, 1), *dout = numbers_new(c->heads * c->N * D, 2, 1);
        float *dk = numbers_new(c->kv_heads * c->N * D, 3, 1),
              *dv = numbers_new(c->kv_heads * c->N * D, 4, 1);
        for (int64_t b = 0; b < c->shape.B; b++) {
            memset(dout + (b * c->N + t) * H * D, 0, (size_t)((c->N - t) * H * D) * sizeof *dout);
        }
        layer_case_forward(c, c->out, true);
        lighthouse_backward(layer_case_queries(c, dq), layer_case_keys(c, dk), layer_case_keys(c, dv),
                            layer_case_queries(c, dout), &c->rows, &c->scratch, &c->shape);
        for (int64_t b = 0; b < c->shape.B; b++) {
            CHECK(c, numbers_zero(dq + (b * c->N + t) * H * D, (c->N - t) * H * D));
            CHECK(c, numbers_zero(dk + (b * c->N + t) * KV * D, (c->N - t) * KV * D));
            CHECK(c, numbers_zero(dv + (b * c->N + t) * KV * D, (c->N - t) * KV * D));
            CHECK(c, !numbers_zero(dq + b * c->N * H * D, t * H * D));
            CHECK(c, !numbers_zero(dk + b * c->N * KV * D, t * KV * D));
            CHECK(c, !numbers_zero(dv + b * c->N * KV * D, t * KV * D));
        }
        free(dq);
        free(dk);
        free(dv);
        free(dout);
    }
}

static int create_cases(void **state) {
    LayerCase *cases = (LayerCase *)alloc_or_exit(LAYER_CASES, sizeof *cases);
    for (int i = 0; i < LAYER_CASES; i++) layer_case_create(&cases[i], i);
    *state = cases;
    return 0;
}

static int free_cases(void **state) {
    LOOP_CASES(c, state) layer_case_free(c);
    free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_odd_scores),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_scatter),
        cmocka_unit_test(test_scatter_is_adjoint),
        cmocka_unit_test(test_gather_is_adjoint),
        cmocka_unit_test(test_fixed_selection_is_causal),
        cmocka_unit_test(test_free_selection_looks_ahead_in_its_chunk_only),
        cmocka_unit_test(test_backward_is_causal),
    };
    omp_set_num_threads(1); // test_engine holds the numbers of threads against each other
    return cmocka_run_group_tests(tests, create_cases, free_cases);
}
