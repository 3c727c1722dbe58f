// What `bench` times on the CPU engine: an attention layer and its parts, a copy, a product; see
// core/engine/bench_api.h. Its twin is cuda/engine/bench.cu.
#include "core/engine/bench_api.h"
#include "core/base/clock.h"
#include "core/base/host_memory.h"
#include "cpu/cpu.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#define COPY_BYTES   ((size_t)128 << 20)
#define PRODUCT_EDGE 1024

typedef struct {
    Bench base;
    BenchLayer layer;
    void *arena;
    real *qkv, *dqkv;             // (B, N, H, D), then (B, N, KV, D) twice
    real *out, *dout;             // (B, N, H, D)
    real *lse;                    // (B, H, N), dense only
    real *gate;                   // (B, N, H), gla only
    real *sdpa;                   // workspace of dense attention
    real *from, *to;              // COPY_BYTES each
    real *left, *right, *product; // (PRODUCT_EDGE, PRODUCT_EDGE)
    Rows q, k, v, dq, dk, dv, out_rows, dout_rows;
    LighthouseRows rows;
    LighthouseScratch scratch;
} CpuBench;

static size_t cpu_bench_cache_bytes(void) {
    return 0; // arithmetic bounds nearly all of it
}

// ---- making and freeing

static void plan_rates(CpuBench *b, MemoryPlan *plan) {
    int64_t count = (int64_t)(COPY_BYTES / sizeof(real)), square = (int64_t)PRODUCT_EDGE * PRODUCT_EDGE;
    plan_add(plan, (void **)&b->from, "bench", "source", count, sizeof(real));
    plan_add(plan, (void **)&b->to, "bench", "target", count, sizeof(real));
    plan_add(plan, (void **)&b->left, "bench", "left", square, sizeof(real));
    plan_add(plan, (void **)&b->right, "bench", "right", square, sizeof(real));
    plan_add(plan, (void **)&b->product, "bench", "product", square, sizeof(real));
}

static void plan_layer(CpuBench *b, MemoryPlan *plan) {
    const LighthouseShape *s = &b->layer.shape;
    int64_t N = s->hierarchy.n, tokens = s->B * N * s->H * s->D, packed = tokens + 2 * tokens / s->share;
    bool gates = b->layer.lighthouse && lighthouse_scorer(&s->config)->gates;
    int64_t sdpa = b->layer.dense ? sdpa_backward_workspace(s->B, s->H, s->share, N, s->D) : 0;
    plan_add(plan, (void **)&b->qkv, "bench", "q, k, v", packed, sizeof(real));
    plan_add(plan, (void **)&b->dqkv, "bench", "dq, dk, dv", packed, sizeof(real));
    plan_add(plan, (void **)&b->out, "bench", "out", tokens, sizeof(real));
    plan_add(plan, (void **)&b->dout, "bench", "dout", tokens, sizeof(real));
    plan_add(plan, (void **)&b->lse, "bench", "log-sum-exp", b->layer.dense ? s->B * s->H * N : 0,
             sizeof(real));
    plan_add(plan, (void **)&b->gate, "bench", "gate", gates ? s->B * N * s->H : 0, sizeof(real));
    plan_add(plan, (void **)&b->sdpa, "bench", "dq partial", sdpa, sizeof(real));
    if (b->layer.lighthouse) {
        lighthouse_plan_rows(plan, &b->rows, s, 1);
        lighthouse_plan_scratch(plan, &b->scratch, s, true, NULL);
    }
}

// Uniform numbers of variance 1.
static void fill(real *x, int64_t count, uint64_t seed) {
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = ((uint64_t)i + seed) * 0x9e3779b97f4a7c15u;
        bits = (bits ^ bits >> 31) * 0xbf58476d1ce4e5b9u;
        x[i] = (real)((double)(bits >> 40) / (1 << 23) - 1) * (real)1.7320508;
    }
}

static Rows token_rows(real *data, const LighthouseShape *s, int64_t share) {
    return rows_token_major(data, s->hierarchy.n, s->H / share, s->D, share);
}

static void fill_layer(CpuBench *b) {
    const LighthouseShape *s = &b->layer.shape;
    int64_t tokens = s->B * s->hierarchy.n * s->H * s->D, kv = tokens / s->share;
    fill(b->qkv, tokens + 2 * kv, 1);
    fill(b->dout, tokens, 2);
    for (int64_t i = 0; b->gate && i < s->B * s->hierarchy.n * s->H; i++) b->gate[i] = (real)-0.05;
    b->q = token_rows(b->qkv, s, 1);
    b->k = token_rows(b->qkv + tokens, s, s->share);
    b->v = token_rows(b->qkv + tokens + kv, s, s->share);
    b->dq = token_rows(b->dqkv, s, 1);
    b->dk = token_rows(b->dqkv + tokens, s, s->share);
    b->dv = token_rows(b->dqkv + tokens + kv, s, s->share);
    b->out_rows = token_rows(b->out, s, 1);
    b->dout_rows = token_rows(b->dout, s, 1);
}

static void cpu_bench_destroy(Bench *bench) {
    CpuBench *b = (CpuBench *)bench;
    free(b->arena);
    free(b);
}

static void call(CpuBench *b, BenchCall which);

static Bench *cpu_bench_create(const BenchLayer *layer, Error *error) {
    CpuBench *b = (CpuBench *)alloc_or_exit(1, sizeof *b);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    b->base.api = &cpu_bench;
    b->base.copies = 1;
    if (layer) {
        b->layer = *layer;
        plan_layer(b, plan);
    } else {
        plan_rates(b, plan);
    }
    size_t total = plan->total;
    b->arena = total < host_memory_available() ? calloc(total, 1) : NULL;
    if (b->arena) plan_bind(plan, b->arena);
    free(plan);
    if (!b->arena) {
        error_set(error, STATUS_MEMORY, "%.2f GB of memory are needed: use a smaller --batch or --seq-len",
                  (double)total / 1e9);
        cpu_bench_destroy(&b->base);
        return NULL;
    }
    if (layer) {
        fill_layer(b);
        if (layer->lighthouse) call(b, BENCH_LIGHTHOUSE_BOTH); // parts find what those before them leave
    } else {
        fill(b->from, (int64_t)(COPY_BYTES / sizeof(real)), 1);
        fill(b->left, (int64_t)PRODUCT_EDGE * PRODUCT_EDGE, 2);
        fill(b->right, (int64_t)PRODUCT_EDGE * PRODUCT_EDGE, 3);
    }
    return &b->base;
}

// ---- calls

static void copy(CpuBench *b) {
    const size_t piece = (size_t)1 << 20;
#pragma omp parallel for
    for (size_t start = 0; start < COPY_BYTES; start += piece) {
        memcpy((char *)b->to + start, (char *)b->from + start, piece);
    }
}

// At the library's own rate, which spreads the product over the cores itself.
static void product(CpuBench *b) {
    openblas_set_num_threads(omp_get_max_threads());
    real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, PRODUCT_EDGE, PRODUCT_EDGE, PRODUCT_EDGE, 1, b->left,
              PRODUCT_EDGE, b->right, PRODUCT_EDGE, 0, b->product, PRODUCT_EDGE);
    openblas_set_num_threads(1);
}

static void dense(CpuBench *b, bool backward) {
    const LighthouseShape *s = &b->layer.shape;
    int64_t N = s->hierarchy.n;
    cpu_sdpa_forward(b->out_rows, b->lse, b->q, b->k, b->v, s->B, s->H, N, N, s->D);
    if (!backward) return;
    cpu_sdpa_backward(b->dq, b->dk, b->dv, b->dout_rows, b->out_rows, b->lse, b->q, b->k, b->v, b->sdpa, s->B,
                      s->H, N, s->D);
}

static void attend(CpuBench *b, bool backward) {
    const LighthouseShape *s = &b->layer.shape;
    int64_t S = s->hierarchy.n_selected;
    Rows q = rows_head_major(b->rows.q, s->H, S, s->D), k = rows_head_major(b->rows.k, s->H, S, s->D);
    Rows v = rows_head_major(b->rows.v, s->H, S, s->D), out = rows_head_major(b->rows.out, s->H, S, s->D);
    if (!backward) {
        cpu_sdpa_forward(out, b->rows.lse, q, k, v, s->B, s->H, S, S, s->D);
        return;
    }
    cpu_sdpa_backward(
        rows_head_major(b->scratch.dq, s->H, S, s->D), rows_head_major(b->scratch.dk, s->H, S, s->D),
        rows_head_major(b->scratch.dv, s->H, S, s->D), rows_head_major(b->scratch.dout, s->H, S, s->D), out,
        b->rows.lse, q, k, v, b->scratch.sdpa, s->B, s->H, S, s->D);
}

static void call(CpuBench *b, BenchCall which) {
    const LighthouseShape *s = &b->layer.shape;
    switch (which) {
    case BENCH_SCORE: lighthouse_score(&b->scratch, b->q, b->k, b->v, b->gate, s); break;
    case BENCH_SELECT:
        lighthouse_select(&b->scratch, s);
        lighthouse_order(&b->rows, &b->scratch, s);
        break;
    case BENCH_GATHER:
        lighthouse_gather(b->rows.q, b->q, b->rows.entries, s);
        lighthouse_gather(b->rows.k, b->k, b->rows.entries, s);
        lighthouse_gather(b->rows.v, b->v, b->rows.entries, s);
        break;
    case BENCH_ATTEND: attend(b, false); break;
    case BENCH_SCATTER: lighthouse_scatter(b->out_rows, b->rows.out, b->rows.positions, NULL, s); break;
    case BENCH_SCATTER_BACKWARD:
        lighthouse_scatter_backward(b->scratch.dout, b->dout_rows, b->rows.entries, s);
        break;
    case BENCH_ATTEND_BACKWARD: attend(b, true); break;
    case BENCH_GATHER_BACKWARD:
        lighthouse_gather_backward(b->dq, b->scratch.dq, b->rows.positions, s);
        lighthouse_gather_backward(b->dk, b->scratch.dk, b->rows.positions, s);
        lighthouse_gather_backward(b->dv, b->scratch.dv, b->rows.positions, s);
        break;
    case BENCH_LIGHTHOUSE_FORWARD:
    case BENCH_LIGHTHOUSE_BOTH:
        lighthouse_forward(b->out_rows, &b->rows, &b->scratch, b->q, b->k, b->v, b->gate, NULL, s);
        if (which == BENCH_LIGHTHOUSE_FORWARD) break;
        lighthouse_backward(b->dq, b->dk, b->dv, b->dout_rows, &b->rows, &b->scratch, s);
        break;
    case BENCH_DENSE_FORWARD: dense(b, false); break;
    case BENCH_DENSE_BOTH: dense(b, true); break;
    case BENCH_COPY: copy(b); break;
    case BENCH_PRODUCT: product(b); break;
    }
}

static bool cpu_bench_time(Bench *bench, BenchCall which, int64_t warmup, int64_t repeats, double *seconds,
                           Error *error) {
    (void)error;
    for (int64_t i = 0; i < warmup + repeats; i++) {
        double start = now();
        call((CpuBench *)bench, which);
        if (i >= warmup) seconds[i - warmup] = now() - start;
    }
    return true;
}

const BenchApi cpu_bench = BENCH_API(cpu, real, COPY_BYTES, PRODUCT_EDGE);
