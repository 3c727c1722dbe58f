// Causal attention on the GPU against float64 on the CPU, and its timings. Needs a GPU.
//   gpu_sdpa                 everything
//   gpu_sdpa check           small problems: head dimensions, grouped heads, layouts, batches, odd row counts
//   gpu_sdpa deterministic   the same bits every run, head by head too
//   gpu_sdpa long            1,048,576 rows in tensors of more than 2^31 elements
//   gpu_sdpa time            milliseconds and workspace of large problems
// Exit status 1 when a check fails. Errors are ||x - reference|| / ||reference||; outputs are poisoned before
// each run.
#include "dev/test/support/sdpa_fixture.cuh"
#include "dev/test/support/sdpa_reference.h"

#include <algorithm>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOLERANCE_OUT      5e-3
#define TOLERANCE_GRADIENT 1e-2
#define TOLERANCE_STATS    1e-4

// ---------------------------------------------------------------------------------------------------------------
// Comparison with the reference.

typedef enum { OUT, STATS, DQ, DK, DV, QUANTITIES } Quantity;
static const char *const QUANTITY_NAMES[] = {"out", "stats", "dq", "dk", "dv"};
static const double TOLERANCES[] = {TOLERANCE_OUT, TOLERANCE_STATS, TOLERANCE_GRADIENT, TOLERANCE_GRADIENT,
                                    TOLERANCE_GRADIENT};

typedef struct {
    char name[96]; // of the case under way
    int checks, failures;
    double worst[QUANTITIES];
} Tally;

static void expect(Tally *tally, bool right, const char *what) {
    tally->checks++;
    if (right) return;
    tally->failures++;
    printf("FAIL %s: %s\n", tally->name, what);
}

static void expect_close(Tally *tally, Quantity quantity, double square_error, double square_norm,
                         const char *pass) {
    double error = sqrt(square_error / square_norm);
    char what[96];
    snprintf(what, sizeof what, "%s of the %s is off by %.2e", QUANTITY_NAMES[quantity], pass, error);
    expect(tally, error <= TOLERANCES[quantity], what); // not a number is never close
    if (!(error <= tally->worst[quantity])) tally->worst[quantity] = error;
}

static bf16 *poisoned(int64_t count) {
    bf16 *memory = (bf16 *)alloc_or_exit(count, sizeof(bf16));
    memset((void *)memory, 0xff, count * sizeof(bf16));
    return memory;
}

static bf16 *fetch(const bf16 *device, int64_t count) {
    bf16 *host = poisoned(count);
    CUDA_CHECK(cudaMemcpy(host, device, count * sizeof(bf16), cudaMemcpyDeviceToHost));
    return host;
}

static void scatter(bf16 *out, SdpaStrides strides, const double *in /* (B, heads, N, D) */, int64_t heads,
                    const SdpaReference *r) {
    for (int64_t i = 0; i < r->batch * heads * r->rows; i++) {
        int64_t b = i / (heads * r->rows), h = i / r->rows % heads, row = i % r->rows;
        bf16 *to = out + b * strides.batch + h * strides.head + row * strides.row;
        for (int64_t d = 0; d < r->dim; d++) to[d] = __float2bfloat16((float)in[i * r->dim + d]);
    }
}

// Compares a tensor and poisons what it read, so that at the end a buffer must be poison all over.
static void compare(Tally *tally, Quantity quantity, const char *pass, bf16 *got, SdpaStrides strides,
                    const double *want /* (B, heads, N, D) */, int64_t heads, const SdpaReference *r) {
    double error = 0, norm = 0;
    for (int64_t i = 0; i < r->batch * heads * r->rows; i++) {
        int64_t b = i / (heads * r->rows), h = i / r->rows % heads, row = i % r->rows;
        bf16 *from = got + b * strides.batch + h * strides.head + row * strides.row;
        for (int64_t d = 0; d < r->dim; d++) {
            double x = want[i * r->dim + d], difference = __bfloat162float(from[d]) - x;
            error += difference * difference, norm += x * x;
        }
        memset((void *)from, 0xff, r->dim * sizeof *from);
    }
    expect_close(tally, quantity, error, norm, pass);
}

static void expect_poison(Tally *tally, const bf16 *rest, int64_t count, const char *what) {
    bool intact = true;
    for (int64_t i = 0; i < count; i++) intact &= ((const uint16_t *)rest)[i] == 0xffff;
    expect(tally, intact, what);
}

static void check_forward(Tally *tally, Runner *r, const Placement *place, const Buffers *b, bool stats,
                          const SdpaReference *reference) {
    const char *pass = stats ? "forward with stats" : "forward";
    runner_prepare(r, &place->problem, stats ? SDPA_FORWARD_STATS : SDPA_FORWARD);
    CUDA_CHECK(cudaMemset(b->out, 0xff, place->out_count * sizeof(bf16)));
    CUDA_CHECK(cudaDeviceSynchronize());
    forward(r, place, b, stats ? b->stats : NULL);
    CUDA_CHECK(cudaStreamSynchronize(r->stream));
    bf16 *out = fetch(b->out, place->out_count);
    compare(tally, OUT, pass, out, place->problem.out, reference->out, reference->n_heads, reference);
    expect_poison(tally, out, place->out_count, "the forward wrote outside out");
    expect(tally, runner_guard_intact(r), "the forward wrote behind its workspace");
    free(out);
    if (!stats) return;
    float *got = (float *)alloc_or_exit(b->stats_count, sizeof(float));
    CUDA_CHECK(cudaMemcpy(got, b->stats, b->stats_count * sizeof(float), cudaMemcpyDeviceToHost));
    double error = 0, norm = 0;
    for (int64_t i = 0; i < b->stats_count; i++) {
        error += (got[i] - reference->stats[i]) * (got[i] - reference->stats[i]);
        norm += reference->stats[i] * reference->stats[i];
    }
    expect_close(tally, STATS, error, norm, pass);
    free(got);
}

static void run_backward(Runner *r, const Placement *place, const Buffers *b) {
    runner_prepare(r, &place->problem, SDPA_BACKWARD);
    CUDA_CHECK(cudaMemset(b->dqkv, 0xff, place->qkv_count * sizeof(bf16)));
    CUDA_CHECK(cudaDeviceSynchronize());
    backward(r, place, b);
    CUDA_CHECK(cudaStreamSynchronize(r->stream));
}

static void check_backward(Tally *tally, Runner *r, const Placement *place, const Buffers *b,
                           const char *pass, const SdpaReference *reference) {
    const SdpaProblem *p = &place->problem;
    run_backward(r, place, b);
    bf16 *got = fetch(b->dqkv, place->qkv_count);
    compare(tally, DQ, pass, got + place->q, p->q, reference->dq, p->n_heads, reference);
    compare(tally, DK, pass, got + place->k, p->k, reference->dk, p->n_kv_heads, reference);
    compare(tally, DV, pass, got + place->v, p->v, reference->dv, p->n_kv_heads, reference);
    expect_poison(tally, got, place->qkv_count, "the backward wrote outside dq, dk and dv");
    expect(tally, runner_guard_intact(r), "the backward wrote behind its workspace");
    free(got);
}

// The same bits from every run?
static bool repeats(Runner *r, const Placement *place, const Buffers *b, int runs) {
    run_backward(r, place, b);
    bf16 *first = fetch(b->dqkv, place->qkv_count);
    bool same = true;
    for (int run = 1; run < runs; run++) {
        run_backward(r, place, b);
        bf16 *again = fetch(b->dqkv, place->qkv_count);
        same &= !memcmp(first, again, place->qkv_count * sizeof(bf16));
        free(again);
    }
    free(first);
    return same;
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa check

static void draw(double *out, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; i++) out[i] = __bfloat162float(__float2bfloat16(normal(seed, i)));
}

static void check_layout(Tally *tally, Layout layout, const SdpaReference *r, Runner *fast,
                         Runner *deterministic) {
    Placement place = placement_create(layout, r->batch, r->n_heads, r->n_kv_heads, r->rows, r->dim);
    const SdpaProblem *p = &place.problem;
    snprintf(tally->name, sizeof tally->name, "%lld rows, heads %lld/%lld x %lld, %s", (long long)r->rows,
             (long long)r->n_heads, (long long)r->n_kv_heads, (long long)r->dim, LAYOUT_NAMES[layout]);
    Buffers b = buffers_create(&place);
    bf16 *qkv = poisoned(place.qkv_count), *dout = poisoned(place.out_count);
    scatter(qkv + place.q, p->q, r->q, r->n_heads, r);
    scatter(qkv + place.k, p->k, r->k, r->n_kv_heads, r);
    scatter(qkv + place.v, p->v, r->v, r->n_kv_heads, r);
    scatter(dout, p->out, r->dout, r->n_heads, r);
    CUDA_CHECK(cudaMemcpy(b.qkv, qkv, place.qkv_count * sizeof(bf16), cudaMemcpyHostToDevice));
    CUDA_CHECK(cudaMemcpy(b.dout, dout, place.out_count * sizeof(bf16), cudaMemcpyHostToDevice));

    check_forward(tally, fast, &place, &b, false, r);
    check_forward(tally, fast, &place, &b, true, r);
    check_backward(tally, fast, &place, &b, "backward", r);
    check_backward(tally, deterministic, &place, &b, "deterministic backward", r);
    expect(tally, repeats(deterministic, &place, &b, 3),
           "the deterministic backward's bits change between runs");
    free(qkv), free(dout);
    buffers_free(&b);
}

static void check(Tally *tally) {
    static const int64_t rows[] = {128, 200, 333, 1152}, dims[] = {64, 128}, kv_heads[] = {4, 2, 1};
    Runner fast = runner_create(false), deterministic = runner_create(true);
    for (int64_t n : rows)
        for (int64_t dim : dims)
            for (int64_t kv : kv_heads) {
                SdpaReference r = sdpa_reference_create(2, 4, kv, n, dim);
                draw(r.q, 2 * 4 * n * dim, 1), draw(r.dout, 2 * 4 * n * dim, 2);
                draw(r.k, 2 * kv * n * dim, 3), draw(r.v, 2 * kv * n * dim, 4);
                sdpa_reference_compute(&r);
                for (int layout = 0; layout < LAYOUTS; layout++)
                    check_layout(tally, (Layout)layout, &r, &fast, &deterministic);
                sdpa_reference_free(&r);
            }
    runner_free(&fast), runner_free(&deterministic);
    printf("largest errors:");
    for (int i = 0; i < QUANTITIES; i++) printf("  %s %.2e", QUANTITY_NAMES[i], tally->worst[i]);
    printf("\n");
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa deterministic: problems large enough to go through the kernel one key/value head at a time.

static void check_deterministic(Tally *tally) {
    static const int64_t kv_heads[] = {4, 2, 1}, rows[] = {6144, 5000, 6144};
    Runner fast = runner_create(false), deterministic = runner_create(true);
    for (int i = 0; i < LAYOUTS; i++) {
        Placement place = placement_create((Layout)i, 2, 4, kv_heads[i], rows[i], 128);
        snprintf(tally->name, sizeof tally->name, "%lld rows, heads 4/%lld", (long long)rows[i],
                 (long long)kv_heads[i]);
        Buffers b = buffers_create(&place);
        buffers_fill(&b, &place, 10 + i);
        runner_prepare(&fast, &place.problem, SDPA_FORWARD_STATS);
        forward(&fast, &place, &b, b.stats);
        CUDA_CHECK(cudaStreamSynchronize(fast.stream));
        run_backward(&fast, &place, &b);
        bf16 *want = fetch(b.dqkv, place.qkv_count);
        expect(tally, repeats(&deterministic, &place, &b, 5),
               "the deterministic backward's bits change between runs");
        expect(tally, runner_guard_intact(&deterministic), "the backward wrote behind its workspace");
        bf16 *got = fetch(b.dqkv, place.qkv_count);
        double error = 0, norm = 0;
        for (int64_t j = 0; j < place.qkv_count; j++) {
            bool gap =
                ((uint16_t *)want)[j] == 0xffff && ((uint16_t *)got)[j] == 0xffff; // neither wrote here
            double x = gap ? 0 : __bfloat162float(want[j]), y = gap ? 0 : __bfloat162float(got[j]);
            error += (x - y) * (x - y), norm += x * x;
        }
        expect_close(tally, DQ, error, norm, "deterministic backward against the fast one");
        printf("%s, %s: workspace %.1f MiB, fast %.1f MiB\n", tally->name, LAYOUT_NAMES[i],
               deterministic.used / 1048576.0, fast.used / 1048576.0);
        free(want), free(got);
        buffers_free(&b);
    }
    runner_free(&fast), runner_free(&deterministic);
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa long: two heads inside tensors of 24, so that offsets pass 2^31 elements; a few rows against the
// CPU.

#define LONG_ROWS  ((int64_t)1 << 20)
#define LONG_HEADS 24
#define LONG_DIM   ((int64_t)128)
#define LONG_TAIL  4 // last rows, whose keys only they attend to

// Rows [first, first + count) of the head that begins at element `at`. Returns (count, D).
static double *fetch_rows(const bf16 *tensor, int64_t at, int64_t first, int64_t count) {
    size_t width = LONG_DIM * sizeof(bf16);
    bf16 *rows = poisoned(count * LONG_DIM);
    CUDA_CHECK(cudaMemcpy2D(rows, width, tensor + at + first * LONG_HEADS * LONG_DIM, LONG_HEADS * width,
                            width, count, cudaMemcpyDeviceToHost));
    double *out = (double *)alloc_or_exit(count * LONG_DIM, sizeof(double));
    for (int64_t i = 0; i < count * LONG_DIM; i++) out[i] = __bfloat162float(rows[i]);
    free(rows);
    return out;
}

static void expect_row(Tally *tally, Quantity quantity, const char *pass, const double *want /* (D) */,
                       const bf16 *tensor, int64_t at, int64_t row) {
    double *got = fetch_rows(tensor, at, row, 1), error = 0, norm = 0;
    for (int64_t d = 0; d < LONG_DIM; d++) {
        error += (got[d] - want[d]) * (got[d] - want[d]);
        norm += want[d] * want[d];
    }
    expect_close(tally, quantity, error, norm, pass);
    free(got);
}

// Row by row against the CPU, for the second of the two heads.
static void compare_long(Tally *tally, const Placement *place, const Buffers *b) {
    const int64_t n = LONG_ROWS, dim = LONG_DIM;
    const int64_t rows[] = {0, n / 2 + 17, n - 4, n - 3, n - 2, n - 1};
    double *k = fetch_rows(b->qkv, place->k + dim, 0, n), *v = fetch_rows(b->qkv, place->v + dim, 0, n);
    double *p = (double *)alloc_or_exit(n, sizeof(double)), out[LONG_DIM], dq[LONG_DIM];
    double dk[LONG_TAIL * LONG_DIM] = {0}, dv[LONG_TAIL * LONG_DIM] = {0};
    for (int64_t row : rows) {
        double *q = fetch_rows(b->qkv, place->q + dim, row, 1);
        double *dout = fetch_rows(b->dout, place->q + dim, row, 1);
        sdpa_reference_row(q, k, v, row, dim, p, out);
        sdpa_reference_row_backward(q, k, v, p, out, dout, n - LONG_TAIL, row, dim, dq, dk, dv);
        expect_row(tally, OUT, "forward", out, b->out, place->q + dim, row);
        expect_row(tally, DQ, "backward", dq, b->dqkv, place->q + dim, row);
        free(q), free(dout);
    }
    for (int64_t i = 0; i < LONG_TAIL; i++) {
        expect_row(tally, DK, "backward", dk + i * dim, b->dqkv, place->k + dim, n - LONG_TAIL + i);
        expect_row(tally, DV, "backward", dv + i * dim, b->dqkv, place->v + dim, n - LONG_TAIL + i);
    }
    free(k), free(v), free(p);
}

static void check_long(Tally *tally) {
    // Batch 1 of 2 heads; queries and outputs lie in slots 18 and 19, keys in 20 and 21, values in 22 and 23.
    Placement place;
    memset(&place, 0, sizeof place);
    SdpaProblem *p = &place.problem;
    p->batch = 1, p->n_heads = 2, p->n_kv_heads = 2, p->rows = LONG_ROWS, p->head_dim = LONG_DIM;
    p->q = p->k = p->v = p->out = sdpa_rows_first(LONG_HEADS, LONG_ROWS, LONG_DIM);
    place.q = 18 * LONG_DIM, place.k = 20 * LONG_DIM, place.v = 22 * LONG_DIM;
    place.qkv_count = place.out_count = LONG_ROWS * LONG_HEADS * LONG_DIM;
    snprintf(tally->name, sizeof tally->name, "%lld rows", (long long)LONG_ROWS);
    Buffers b = buffers_create(&place);
    buffers_fill(&b, &place, 5);
    Buffers shifted = b; // outputs begin at slot 18, too
    shifted.out += place.q, shifted.dout += place.q;
    Runner r = runner_create(false);
    runner_prepare(&r, p, SDPA_FORWARD_STATS);
    forward(&r, &place, &shifted, b.stats);
    CUDA_CHECK(cudaStreamSynchronize(r.stream));
    runner_prepare(&r, p, SDPA_BACKWARD);
    backward(&r, &place, &shifted);
    CUDA_CHECK(cudaStreamSynchronize(r.stream));
    expect(tally, runner_guard_intact(&r), "the backward wrote behind its workspace");
    printf("%s in tensors of %lld elements: backward workspace %.1f MiB\n", tally->name,
           (long long)place.qkv_count, r.used / 1048576.0);
    compare_long(tally, &place, &b);
    buffers_free(&b);
    runner_free(&r);
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa time

#define TIME_SETS    3 // inputs take turns, so that none is left in the cache from the call before
#define TIME_MAX_RUN 21

// Median milliseconds of one pass.
static double time_pass(Runner *r, const Placement *place, const Buffers *sets, SdpaPass pass, int runs) {
    cudaEvent_t start[TIME_MAX_RUN], stop[TIME_MAX_RUN];
    float ms[TIME_MAX_RUN];
    runner_prepare(r, &place->problem, pass);
    for (int i = -TIME_SETS; i < runs; i++) { // the first are warm-up
        const Buffers *b = &sets[(i + TIME_SETS) % TIME_SETS];
        if (i >= 0) {
            CUDA_CHECK(cudaEventCreate(&start[i]));
            CUDA_CHECK(cudaEventCreate(&stop[i]));
            CUDA_CHECK(cudaEventRecord(start[i], r->stream));
        }
        if (pass == SDPA_BACKWARD)
            backward(r, place, b);
        else
            forward(r, place, b, pass == SDPA_FORWARD_STATS ? b->stats : NULL);
        if (i >= 0) CUDA_CHECK(cudaEventRecord(stop[i], r->stream));
    }
    CUDA_CHECK(cudaStreamSynchronize(r->stream));
    for (int i = 0; i < runs; i++) {
        CUDA_CHECK(cudaEventElapsedTime(&ms[i], start[i], stop[i]));
        CUDA_CHECK(cudaEventDestroy(start[i]));
        CUDA_CHECK(cudaEventDestroy(stop[i]));
    }
    std::sort(ms, ms + runs);
    return ms[runs / 2];
}

static void time_row(Runner *r, const Placement *place, const Buffers *sets, Layout layout, SdpaPass pass,
                     const char *name, int runs) {
    const SdpaProblem *p = &place->problem;
    double ms = time_pass(r, place, sets, pass, runs);
    double products = pass == SDPA_BACKWARD ? 5 : 2; // matrix products of N (N + 1) / 2 x D each
    double flops = products * p->batch * p->n_heads * p->head_dim * p->rows * (p->rows + 1.0);
    printf("%9lld  %-8s %-24s %9.3f ms %7.1f TFLOP/s %9.1f MiB\n", (long long)p->rows, LAYOUT_NAMES[layout],
           name, ms, flops / ms * 1e-9, r->used / 1048576.0);
}

static void time_all(void) {
    static const int64_t rows[] = {18432, 98304};
    static const int runs[] = {21, 7};
    Runner fast = runner_create(false), deterministic = runner_create(true);
    printf("heads 8/8, head dimension 128, batch 1\n     rows  layout   pass                        median   "
           "     "
           "         rate     workspace\n");
    for (int size = 0; size < 2; size++)
        for (int i = 0; i < LAYOUTS; i++) {
            Layout layout = (Layout)i;
            Placement place = placement_create(layout, 1, 8, 8, rows[size], 128);
            Buffers sets[TIME_SETS];
            for (int set = 0; set < TIME_SETS; set++) {
                sets[set] = buffers_create(&place);
                buffers_fill(&sets[set], &place, 100 + 2 * set);
            }
            time_row(&fast, &place, sets, layout, SDPA_FORWARD, "forward", runs[size]);
            time_row(&fast, &place, sets, layout, SDPA_FORWARD_STATS, "forward with stats", runs[size]);
            time_row(&fast, &place, sets, layout, SDPA_BACKWARD, "backward", runs[size]);
            time_row(&deterministic, &place, sets, layout, SDPA_BACKWARD, "deterministic backward",
                     runs[size]);
            for (int set = 0; set < TIME_SETS; set++) buffers_free(&sets[set]);
        }
    runner_free(&fast), runner_free(&deterministic);
}

int main(int argc, char **argv) {
    Tally tally;
    memset(&tally, 0, sizeof tally);
    const char *what = argc > 1 ? argv[1] : "all";
    bool all = !strcmp(what, "all");
    cudaDeviceProp device;
    CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
    size_t version = sdpa_cudnn_version();
    printf("%s, cuDNN %zu.%zu.%zu\n", device.name, version / 10000, version / 100 % 100, version % 100);
    if (all || !strcmp(what, "check")) check(&tally);
    if (all || !strcmp(what, "deterministic")) check_deterministic(&tally);
    if (all || !strcmp(what, "long")) check_long(&tally);
    if (all || !strcmp(what, "time")) time_all();
    printf("%d checks, %d failed\n", tally.checks, tally.failures);
    return tally.failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
