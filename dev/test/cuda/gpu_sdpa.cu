// Causal attention on the GPU against float64 on the CPU, and its timings. Needs a GPU.
//   gpu_sdpa                 everything
//   gpu_sdpa check           small problems: head dimensions, grouped heads, layouts, batches, odd row counts
//   gpu_sdpa deterministic   the same bits every run, head by head too
//   gpu_sdpa long            1,048,576 rows
//   gpu_sdpa wide            outputs of more than 2^31 elements
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
#define FORETOLD_SLACK     ((size_t)2 << 20) // bytes of workspace: kernels round the rows of small problems up

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

// A plan made without a GPU must not promise less than is taken.
static void expect_foretold(Tally *tally, const Runner *r, const SdpaProblem *problem) {
    expect(tally, r->used <= (size_t)sdpa_backward_bytes(problem, r->deterministic) + FORETOLD_SLACK,
           "the backward takes more workspace than sdpa_backward_bytes foretells");
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
    expect_foretold(tally, r, p);
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

// `low`: all scores near -150 or below, where exp(-log-sum-exp) overflows and a kernel that lets padding in
// makes NaN.
static void check_problem(Tally *tally, int64_t rows, int64_t dim, int64_t kv_heads, bool low, Runner *fast,
                          Runner *deterministic) {
    const int64_t batch = 2, heads = 4, count = batch * heads * rows * dim,
                  kv_count = batch * kv_heads * rows * dim;
    SdpaReference r = sdpa_reference_create(batch, heads, kv_heads, rows, dim);
    draw(r.q, count, 1), draw(r.dout, count, 2), draw(r.k, kv_count, 3), draw(r.v, kv_count, 4);
    for (int64_t i = 0; low && i < count; i += dim) r.q[i] = 212;
    for (int64_t i = 0; low && i < kv_count; i += dim) r.k[i] = -8;
    sdpa_reference_compute(&r);
    for (int layout = 0; layout < LAYOUTS; layout++)
        check_layout(tally, (Layout)layout, &r, fast, deterministic);
    sdpa_reference_free(&r);
}

static void check(Tally *tally) {
    static const int64_t rows[] = {128, 192, 333, 1152}, dims[] = {64, 96, 128}, kv_heads[] = {4, 2, 1};
    Runner fast = runner_create(false), deterministic = runner_create(true);
    for (int64_t n : rows)
        for (int64_t dim : dims) {
            for (int64_t kv : kv_heads) check_problem(tally, n, dim, kv, false, &fast, &deterministic);
            check_problem(tally, n, dim, 2, true, &fast, &deterministic);
        }
    runner_free(&fast), runner_free(&deterministic);
    printf("largest errors:");
    for (int i = 0; i < QUANTITIES; i++) printf("  %s %.2e", QUANTITY_NAMES[i], tally->worst[i]);
    printf("\n");
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa deterministic: problems large enough to go through the kernel one key/value head at a time.

static void check_deterministic(Tally *tally) {
    static const int64_t kv_heads[] = {4, 2, 1}, rows[] = {20480, 20200, 20480};
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
        expect_foretold(tally, &fast, &place.problem);
        bf16 *want = fetch(b.dqkv, place.qkv_count);
        expect(tally, repeats(&deterministic, &place, &b, 5),
               "the deterministic backward's bits change between runs");
        expect(tally, runner_guard_intact(&deterministic), "the backward wrote behind its workspace");
        expect_foretold(tally, &deterministic, &place.problem);
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
// gpu_sdpa long: 1,048,576 rows, of which a few are compared with the CPU.

#define LONG_ROWS ((int64_t)1 << 20)
#define LONG_DIM  ((int64_t)128)
#define LONG_TAIL 4 // last rows, whose keys only they attend to

// Rows [first, first + count) of one head as (count, D). tensor: (N, D) with this distance between rows
static double *fetch_rows(const bf16 *tensor, int64_t stride, int64_t first, int64_t count) {
    size_t width = LONG_DIM * sizeof(bf16);
    bf16 *rows = poisoned(count * LONG_DIM);
    CUDA_CHECK(cudaMemcpy2D(rows, width, tensor + first * stride, stride * sizeof(bf16), width, count,
                            cudaMemcpyDeviceToHost));
    double *out = (double *)alloc_or_exit(count * LONG_DIM, sizeof(double));
    for (int64_t i = 0; i < count * LONG_DIM; i++) out[i] = __bfloat162float(rows[i]);
    free(rows);
    return out;
}

static void expect_rows(Tally *tally, Quantity quantity, const char *pass,
                        const double *want /* (count, D) */, const bf16 *tensor, int64_t stride,
                        int64_t first, int64_t count) {
    double *got = fetch_rows(tensor, stride, first, count), error = 0, norm = 0;
    for (int64_t i = 0; i < count * LONG_DIM; i++) {
        error += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    expect_close(tally, quantity, error, norm, pass);
    free(got);
}

// Row by row against the CPU, for the last key/value head and the query heads that read it.
static void compare_long(Tally *tally, const Placement *place, const Buffers *b) {
    const SdpaProblem *p = &place->problem;
    const int64_t n = LONG_ROWS, dim = LONG_DIM, tail = n - LONG_TAIL;
    const int64_t rows[] = {1, n / 2 + 17, tail, tail + 1, tail + 2, tail + 3};
    int64_t k_at = place->k + (p->n_kv_heads - 1) * p->k.head,
            v_at = place->v + (p->n_kv_heads - 1) * p->v.head;
    double *k = fetch_rows(b->qkv + k_at, p->k.row, 0, n), *v = fetch_rows(b->qkv + v_at, p->v.row, 0, n);
    double *probability = (double *)alloc_or_exit(n, sizeof(double)), out[LONG_DIM], dq[LONG_DIM];
    double dk[LONG_TAIL * LONG_DIM] = {0}, dv[LONG_TAIL * LONG_DIM] = {0};
    for (int64_t head = p->n_heads - p->n_heads / p->n_kv_heads; head < p->n_heads; head++) {
        int64_t q_at = place->q + head * p->q.head, out_at = head * p->out.head;
        for (int64_t row : rows) {
            double *q = fetch_rows(b->qkv + q_at, p->q.row, row, 1);
            double *dout = fetch_rows(b->dout + out_at, p->out.row, row, 1);
            sdpa_reference_row(q, k, v, row, dim, probability, out);
            sdpa_reference_row_backward(q, k, v, probability, out, dout, tail, row, dim, dq, dk, dv);
            expect_rows(tally, OUT, "forward", out, b->out + out_at, p->out.row, row, 1);
            expect_rows(tally, DQ, "backward", dq, b->dqkv + q_at, p->q.row, row, 1);
            free(q), free(dout);
        }
    }
    expect_rows(tally, DK, "backward", dk, b->dqkv + k_at, p->k.row, tail, LONG_TAIL);
    expect_rows(tally, DV, "backward", dv, b->dqkv + v_at, p->v.row, tail, LONG_TAIL);
    free(k), free(v), free(probability);
}

static void forward_backward(Runner *r, const Placement *place, const Buffers *b) {
    runner_prepare(r, &place->problem, SDPA_FORWARD_STATS);
    forward(r, place, b, b->stats);
    CUDA_CHECK(cudaStreamSynchronize(r->stream));
    run_backward(r, place, b);
}

static void check_long_heads(Tally *tally, int64_t heads) {
    Placement place = placement_create(LAYOUT_PACKED, 1, heads, 2, LONG_ROWS, LONG_DIM);
    snprintf(tally->name, sizeof tally->name, "%lld rows, heads %lld/2", (long long)LONG_ROWS,
             (long long)heads);
    Buffers b = buffers_create(&place);
    buffers_fill(&b, &place, 5);
    Runner r = runner_create(false);
    forward_backward(&r, &place, &b);
    expect(tally, runner_guard_intact(&r), "the backward wrote behind its workspace");
    expect_foretold(tally, &r, &place.problem);
    compare_long(tally, &place, &b);
    printf("%s: backward workspace %.1f MiB\n", tally->name, r.used / 1048576.0);
    buffers_free(&b);
    runner_free(&r);
}

// All heads at once, and one key/value head after the other.
static void check_long(Tally *tally) {
    check_long_heads(tally, 2);
    check_long_heads(tally, 8);
}

// ---------------------------------------------------------------------------------------------------------------
// gpu_sdpa wide: outputs of more than 2^31 elements, whose heads lie within that reach one by one.

static void copy_heads(bf16 *to, int64_t to_stride, const bf16 *from, int64_t from_stride, int64_t size,
                       int64_t heads) {
    for (int64_t h = 0; h < heads; h++)
        CUDA_CHECK(cudaMemcpy(to + h * to_stride, from + h * from_stride, size * sizeof(bf16),
                              cudaMemcpyDeviceToDevice));
}

// Gradients of one kind from both placements.
static void expect_same(Tally *tally, Quantity quantity, const bf16 *want, int64_t want_stride,
                        const bf16 *got, int64_t got_stride, int64_t size, int64_t heads) {
    bf16 *dense;
    CUDA_CHECK(cudaMalloc(&dense, 2 * heads * size * sizeof(bf16)));
    copy_heads(dense, size, want, want_stride, size, heads);
    copy_heads(dense + heads * size, size, got, got_stride, size, heads);
    bf16 *host = fetch(dense, 2 * heads * size);
    double error = 0, norm = 0;
    for (int64_t i = 0; i < heads * size; i++) {
        double x = __bfloat162float(host[i]), y = __bfloat162float(host[heads * size + i]);
        error += (x - y) * (x - y), norm += x * x;
    }
    expect_close(tally, quantity, error, norm, "backward of wide tensors");
    free(host);
    CUDA_CHECK(cudaFree(dense));
}

static void expect_refused(Tally *tally, Runner *r, const SdpaProblem *problem, const char *what) {
    size_t bytes;
    Error error = {0, ""};
    expect(tally,
           !sdpa_workspace_bytes(r->sdpa, problem, SDPA_BACKWARD, &bytes, &error) &&
               error.status == STATUS_USAGE && strstr(error.message, "further apart"),
           what);
}

static void check_wide(Tally *tally) {
    const int64_t rows = 4096, dim = 128, size = rows * dim, apart = (int64_t)1 << 30, heads = 4,
                  kv_heads = 2;
    snprintf(tally->name, sizeof tally->name, "heads of out %lld elements apart", (long long)apart);
    Placement compact = placement_create(LAYOUT_HEADS, 1, heads, kv_heads, rows, dim), wide = compact;
    wide.problem.out.head = apart;
    wide.out_count = heads * apart;
    Buffers a = buffers_create(&compact), b = buffers_create(&wide);
    buffers_fill(&a, &compact, 7);
    CUDA_CHECK(cudaMemcpy(b.qkv, a.qkv, compact.qkv_count * sizeof(bf16), cudaMemcpyDeviceToDevice));
    copy_heads(b.dout, apart, a.dout, size, size, heads);
    CUDA_CHECK(cudaDeviceSynchronize());
    Runner fast = runner_create(false), deterministic = runner_create(true);
    forward_backward(&fast, &compact, &a);
    for (Runner *r : {&fast, &deterministic}) {
        forward_backward(r, &wide, &b);
        expect_same(tally, OUT, a.out, size, b.out, apart, size, heads);
        expect_same(tally, DQ, a.dqkv, size, b.dqkv, size, size, heads);
        expect_same(tally, DK, a.dqkv + compact.k, size, b.dqkv + compact.k, size, size, kv_heads);
        expect_same(tally, DV, a.dqkv + compact.v, size, b.dqkv + compact.v, size, size, kv_heads);
    }
    SdpaProblem out_apart = compact.problem, k_apart = compact.problem;
    out_apart.out.row = k_apart.k.row = ((int64_t)1 << 32) / rows;
    expect_refused(tally, &fast, &out_apart, "rows of out too far apart were not refused");
    expect_refused(tally, &deterministic, &k_apart, "rows of k too far apart were not refused");
    buffers_free(&a), buffers_free(&b);
    runner_free(&fast), runner_free(&deterministic);
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

static void time_all(Tally *) {
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
    static const struct {
        const char *name;
        void (*run)(Tally *);
    } parts[] = {{"check", check},
                 {"deterministic", check_deterministic},
                 {"long", check_long},
                 {"wide", check_wide},
                 {"time", time_all}};
    Tally tally;
    memset(&tally, 0, sizeof tally);
    cudaDeviceProp device;
    CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
    size_t version = sdpa_cudnn_version();
    printf("%s, cuDNN %zu.%zu.%zu\n", device.name, version / 10000, version / 100 % 100, version % 100);
    bool known = argc < 2;
    for (const auto &part : parts) {
        if (argc > 1 && strcmp(argv[1], part.name)) continue;
        part.run(&tally);
        known = true;
    }
    if (!known) {
        fprintf(stderr, "gpu_sdpa: no part is called %s: check, deterministic, long, wide or time\n",
                argv[1]);
        return STATUS_USAGE;
    }
    printf("%d checks, %d failed\n", tally.checks, tally.failures);
    return tally.failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
