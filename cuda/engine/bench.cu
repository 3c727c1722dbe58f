// What `bench` times on the GPU: an attention layer and its parts, a copy, a product; see
// core/engine/bench_api.h. Its twin is cpu/bench.c.
//
// Events stand on the stream before and behind every call, and the host waits only for the last of them. A
// kernel that holds the stream first gives the host a lead, so that no time is measured in which the GPU
// waits for a launch.
#include "core/engine/bench_api.h"
#include "cuda/engine/block.cuh"
#include "cuda/kernels/select.cuh"

#include <string.h>

#define COPY_BYTES   ((size_t)1 << 30)
#define PRODUCT_EDGE 8192
#define LEAD_US      3000 // of the host, before the first call of a series

// The tensors of one layer.
typedef struct {
    bf16 *qkv, *dqkv; // (B, N, H + 2 KV, D)
    bf16 *out, *dout; // (B, N, H, D)
    float *lse;       // (B, H, N), dense only
    float *gate;      // (B, N, H), gla only
    CudaLighthouseRows rows;
    CudaLighthouseScratch scratch;
} LayerTensors;

typedef struct {
    Bench base;
    BenchLayer layer;
    CudaContext context;
    Sdpa *sdpa;
    Matmul *matmul;
    void *arena;
    LayerTensors *tensors; // (copies)
    void *sdpa_workspace;
    size_t sdpa_bytes;
    void *from, *to;              // COPY_BYTES each
    bf16 *left, *right, *product; // (PRODUCT_EDGE, PRODUCT_EDGE)
    void *matmul_workspace;
} CudaBench;

// ---------------------------------------------------------------------------------------------------------------
// Kernels.

// Uniform numbers of variance 1.
static __global__ void fill_kernel(bf16 *x, int64_t count, uint64_t seed) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    uint64_t bits = ((uint64_t)i + seed) * 0x9e3779b97f4a7c15u;
    bits = (bits ^ bits >> 31) * 0xbf58476d1ce4e5b9u;
    x[i] = __float2bfloat16(((float)(bits >> 40) / (1 << 23) - 1) * 1.7320508f);
}

static __global__ void fill_gate_kernel(float *gate, int64_t count) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) gate[i] = -0.05f;
}

static inline __device__ uint64_t nanoseconds() {
    uint64_t time;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
    return time;
}

static __global__ void hold_kernel(int64_t microseconds) {
    uint64_t start = nanoseconds();
    while (nanoseconds() - start < 1000 * (uint64_t)microseconds) __nanosleep(1000);
}

static void fill(CudaBench *b, bf16 *x, int64_t count, uint64_t seed) {
    fill_kernel<<<(unsigned)ceil_div(count, 256), 256, 0, b->context.stream>>>(x, count, seed);
    CUDA_CHECK(cudaGetLastError());
}

// ---------------------------------------------------------------------------------------------------------------
// Making and freeing.

static size_t cuda_bench_cache_bytes(void) {
    int device, bytes;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device));
    return (size_t)bytes;
}

static int64_t kv_heads(const LighthouseShape *s) {
    return s->H / s->share;
}

// Heads `first`, ... of a packed (B, N, H + 2 KV, D).
static CudaRows packed_rows(bf16 *packed, const LighthouseShape *s, int64_t first, int64_t share) {
    return cuda_rows_packed(packed, s->hierarchy.n, s->H + 2 * kv_heads(s), first, s->D, share);
}
static CudaRows query_rows(bf16 *packed, const LighthouseShape *s) {
    return packed_rows(packed, s, 0, 1);
}
static CudaRows key_rows(bf16 *packed, const LighthouseShape *s) {
    return packed_rows(packed, s, s->H, s->share);
}
static CudaRows value_rows(bf16 *packed, const LighthouseShape *s) {
    return packed_rows(packed, s, s->H + kv_heads(s), s->share);
}
static CudaRows token_rows(bf16 *tokens, const LighthouseShape *s) {
    return cuda_rows_packed(tokens, s->hierarchy.n, s->H, 0, s->D, 1);
}

static SdpaProblem dense_problem(const LighthouseShape *s) {
    ModelConfig model;
    memset(&model, 0, sizeof model);
    model.n_heads = s->H;
    model.n_kv_heads = kv_heads(s);
    model.head_dim = s->D;
    return block_sdpa_problem(&model, s->B, s->hierarchy.n, 1);
}

static void plan_tensors(LayerTensors *t, MemoryPlan *plan, const BenchLayer *layer) {
    const LighthouseShape *s = &layer->shape;
    int64_t rows = s->B * s->hierarchy.n, packed = rows * (s->H + 2 * kv_heads(s)) * s->D;
    bool gates = layer->lighthouse && lighthouse_scorer(&s->config)->gates;
    memset(plan, 0, sizeof *plan);
    plan_add(plan, (void **)&t->qkv, "bench", "q, k, v", packed, sizeof(bf16));
    plan_add(plan, (void **)&t->dqkv, "bench", "dq, dk, dv", packed, sizeof(bf16));
    plan_add(plan, (void **)&t->out, "bench", "out", rows * s->H * s->D, sizeof(bf16));
    plan_add(plan, (void **)&t->dout, "bench", "dout", rows * s->H * s->D, sizeof(bf16));
    plan_add(plan, (void **)&t->lse, "bench", "log-sum-exp", layer->dense ? rows * s->H : 0, sizeof(float));
    plan_add(plan, (void **)&t->gate, "bench", "gate", gates ? rows * s->H : 0, sizeof(float));
    if (!layer->lighthouse) return;
    cuda_lighthouse_plan_rows(plan, &t->rows, s, 1, NULL);
    cuda_lighthouse_plan_scratch(plan, &t->scratch, s, true, NULL);
}

// The largest workspace of all calls.
static bool find_workspace(CudaBench *b, Error *error) {
    const LighthouseShape *s = &b->layer.shape;
    size_t bytes;
    if (b->layer.lighthouse) {
        TRY(cuda_lighthouse_sdpa_bytes(b->sdpa, query_rows(NULL, s), key_rows(NULL, s), value_rows(NULL, s),
                                       s, true, &b->sdpa_bytes, error));
    }
    if (!b->layer.dense) return true;
    SdpaProblem problem = dense_problem(s);
    for (int pass = SDPA_FORWARD_STATS; pass <= SDPA_BACKWARD; pass++) {
        TRY(sdpa_workspace_bytes(b->sdpa, &problem, (SdpaPass)pass, &bytes, error));
        if (bytes > b->sdpa_bytes) b->sdpa_bytes = bytes;
    }
    return true;
}

static bool take_memory(CudaBench *b, size_t bytes, size_t available, Error *error) {
    if (bytes > available) {
        return error_set(
            error, STATUS_MEMORY,
            "%.2f GB are needed, the GPU has %.2f GB to spare: use a smaller --batch or --seq-len, or "
            "time one kind of --attention",
            (double)bytes / 1e9, (double)available / 1e9);
    }
    CUDA_TRY(cudaMalloc(&b->arena, bytes), error);
    return true;
}

static bool make_layer(CudaBench *b, MemoryPlan *plan, Error *error) {
    const LighthouseShape *s = &b->layer.shape;
    LayerTensors ignored;
    int64_t rows = s->B * s->hierarchy.n;
    b->sdpa = sdpa_create(b->context.stream, b->layer.deterministic, error);
    TRY(b->sdpa && find_workspace(b, error));
    plan_tensors(&ignored, plan, &b->layer);
    size_t each = plan->total, shared = ceil_div((int64_t)b->sdpa_bytes, PLAN_ALIGNMENT) * PLAN_ALIGNMENT;
    size_t available = engine_cuda()->memory_available(NULL);
    int64_t fit = available > shared ? (int64_t)((available - shared) / each) : 0;
    b->base.copies = fit < 1 ? 1 : fit < b->layer.copies ? fit : b->layer.copies;
    TRY(take_memory(b, shared + (size_t)b->base.copies * each, available, error));
    b->sdpa_workspace = b->arena;
    b->tensors = (LayerTensors *)alloc_or_exit((size_t)b->base.copies, sizeof *b->tensors);
    for (int64_t i = 0; i < b->base.copies; i++) {
        LayerTensors *t = &b->tensors[i];
        plan_tensors(t, plan, &b->layer);
        plan_bind(plan, (char *)b->arena + shared + (size_t)i * each);
        t->scratch.sdpa = b->sdpa_workspace;
        t->scratch.sdpa_bytes = b->sdpa_bytes;
        fill(b, t->qkv, rows * (s->H + 2 * kv_heads(s)) * s->D, (uint64_t)(3 * i));
        fill(b, t->dout, rows * s->H * s->D, (uint64_t)(3 * i + 1));
        if (!t->gate) continue;
        fill_gate_kernel<<<(unsigned)ceil_div(rows * s->H, 256), 256, 0, b->context.stream>>>(t->gate,
                                                                                              rows * s->H);
        CUDA_CHECK(cudaGetLastError());
    }
    return true;
}

static bool make_rates(CudaBench *b, MemoryPlan *plan, Error *error) {
    int64_t square = (int64_t)PRODUCT_EDGE * PRODUCT_EDGE;
    memset(plan, 0, sizeof *plan);
    plan_add(plan, &b->from, "bench", "source", (int64_t)COPY_BYTES, 1);
    plan_add(plan, &b->to, "bench", "target", (int64_t)COPY_BYTES, 1);
    plan_add(plan, (void **)&b->left, "bench", "left", square, sizeof(bf16));
    plan_add(plan, (void **)&b->right, "bench", "right", square, sizeof(bf16));
    plan_add(plan, (void **)&b->product, "bench", "product", square, sizeof(bf16));
    plan_add(plan, &b->matmul_workspace, "bench", "cuBLASLt", (int64_t)MATMUL_WORKSPACE_BYTES, 1);
    b->base.copies = 1;
    TRY(take_memory(b, plan->total, engine_cuda()->memory_available(NULL), error));
    plan_bind(plan, b->arena);
    b->matmul = matmul_create(&b->context, b->matmul_workspace);
    fill(b, (bf16 *)b->from, (int64_t)(COPY_BYTES / sizeof(bf16)), 1);
    fill(b, b->left, square, 2);
    fill(b, b->right, square, 3);
    return true;
}

static void cuda_bench_destroy(Bench *bench) {
    CudaBench *b = (CudaBench *)bench;
    if (b->context.stream) CUDA_CHECK(cudaStreamSynchronize(b->context.stream));
    matmul_destroy(b->matmul);
    sdpa_destroy(b->sdpa);
    if (b->arena) CUDA_CHECK(cudaFree(b->arena));
    cuda_context_destroy(&b->context);
    free(b->tensors);
    free(b);
}

// ---------------------------------------------------------------------------------------------------------------
// Calls.

static bool dense(CudaBench *b, LayerTensors *t, bool backward, Error *error) {
    const LighthouseShape *s = &b->layer.shape;
    SdpaProblem problem = dense_problem(s);
    int64_t k = s->H * s->D, v = k + kv_heads(s) * s->D;
    TRY(cuda_sdpa_forward(b->sdpa, &problem, t->qkv, t->qkv + k, t->qkv + v, t->out, t->lse,
                          b->sdpa_workspace, b->sdpa_bytes, error));
    return !backward ||
           cuda_sdpa_backward(b->sdpa, &problem, t->qkv, t->qkv + k, t->qkv + v, t->out, t->dout, t->lse,
                              t->dqkv, t->dqkv + k, t->dqkv + v, b->sdpa_workspace, b->sdpa_bytes, error);
}

static bool lighthouse(CudaBench *b, LayerTensors *t, bool backward, Error *error) {
    const LighthouseShape *s = &b->layer.shape;
    TRY(cuda_lighthouse_forward(&b->context, b->sdpa, token_rows(t->out, s), &t->rows, &t->scratch,
                                query_rows(t->qkv, s), key_rows(t->qkv, s), value_rows(t->qkv, s), t->gate,
                                false, NULL, s, error));
    return !backward || cuda_lighthouse_backward(&b->context, b->sdpa, query_rows(t->dqkv, s),
                                                 key_rows(t->dqkv, s), value_rows(t->dqkv, s),
                                                 token_rows(t->dout, s), &t->rows, &t->scratch, s, error);
}

// Puts one call on the stream.
static bool call(CudaBench *b, BenchCall which, int64_t turn, Error *error) {
    const LighthouseShape *s = &b->layer.shape;
    CudaContext *context = &b->context;
    LayerTensors *t = b->tensors + (b->tensors ? turn % b->base.copies : 0);
    switch (which) {
    case BENCH_SCORE:
        return cuda_lighthouse_score(context, b->sdpa, &t->scratch, query_rows(t->qkv, s),
                                     key_rows(t->qkv, s), value_rows(t->qkv, s), t->gate, false, s, error);
    case BENCH_SELECT:
        select_entries(context, t->rows.entries, t->rows.positions, t->scratch.scores, s);
        return true;
    case BENCH_GATHER:
        cuda_lighthouse_gather(context, &t->rows, &t->scratch, query_rows(t->qkv, s), key_rows(t->qkv, s),
                               value_rows(t->qkv, s), s);
        return true;
    case BENCH_ATTEND: return cuda_lighthouse_attend(b->sdpa, &t->rows, &t->scratch, s, error);
    case BENCH_SCATTER:
        cuda_lighthouse_scatter(context, token_rows(t->out, s), &t->rows, &t->scratch, s);
        return true;
    case BENCH_SCATTER_BACKWARD:
        cuda_lighthouse_scatter_backward(context, token_rows(t->dout, s), &t->rows, &t->scratch, s);
        return true;
    case BENCH_ATTEND_BACKWARD:
        return cuda_lighthouse_attend_backward(b->sdpa, &t->rows, &t->scratch, s, error);
    case BENCH_GATHER_BACKWARD:
        cuda_lighthouse_gather_backward(context, query_rows(t->dqkv, s), key_rows(t->dqkv, s),
                                        value_rows(t->dqkv, s), &t->rows, &t->scratch, s);
        return true;
    case BENCH_LIGHTHOUSE_FORWARD: return lighthouse(b, t, false, error);
    case BENCH_LIGHTHOUSE_BOTH: return lighthouse(b, t, true, error);
    case BENCH_DENSE_FORWARD: return dense(b, t, false, error);
    case BENCH_DENSE_BOTH: return dense(b, t, true, error);
    case BENCH_COPY:
        CUDA_TRY(cudaMemcpyAsync(b->to, b->from, COPY_BYTES, cudaMemcpyDeviceToDevice, context->stream),
                 error);
        return true;
    case BENCH_PRODUCT:
        return cuda_matmul_forward(b->matmul, b->product, b->left, b->right, NULL, PRODUCT_EDGE, PRODUCT_EDGE,
                                   PRODUCT_EDGE, error);
    }
    return true;
}

static bool record_calls(CudaBench *b, BenchCall which, int64_t warmup, int64_t repeats,
                         cudaEvent_t *events /* (2 repeats) */, Error *error) {
    hold_kernel<<<1, 1, 0, b->context.stream>>>(LEAD_US);
    CUDA_TRY(cudaGetLastError(), error);
    for (int64_t i = 0; i < warmup; i++) TRY(call(b, which, i, error));
    for (int64_t i = 0; i < repeats; i++) {
        CUDA_TRY(cudaEventRecord(events[2 * i], b->context.stream), error);
        TRY(call(b, which, warmup + i, error));
        CUDA_TRY(cudaEventRecord(events[2 * i + 1], b->context.stream), error);
    }
    CUDA_TRY(cudaStreamSynchronize(b->context.stream), error);
    return true;
}

static bool cuda_bench_time(Bench *bench, BenchCall which, int64_t warmup, int64_t repeats, double *seconds,
                            Error *error) {
    cudaEvent_t *events = (cudaEvent_t *)alloc_or_exit(2 * (size_t)repeats, sizeof *events);
    for (int64_t i = 0; i < 2 * repeats; i++) CUDA_CHECK(cudaEventCreate(&events[i]));
    bool ok = record_calls((CudaBench *)bench, which, warmup, repeats, events, error);
    for (int64_t i = 0; ok && i < repeats; i++) {
        float ms;
        CUDA_CHECK(cudaEventElapsedTime(&ms, events[2 * i], events[2 * i + 1]));
        seconds[i] = ms * 1e-3;
    }
    for (int64_t i = 0; i < 2 * repeats; i++) CUDA_CHECK(cudaEventDestroy(events[i]));
    free(events);
    return ok;
}

// Every copy has been through the layer: parts find what those before them leave.
static bool prepare(CudaBench *b, Error *error) {
    for (int64_t i = 0; b->layer.lighthouse && i < b->base.copies; i++) {
        TRY(call(b, BENCH_LIGHTHOUSE_BOTH, i, error));
    }
    CUDA_TRY(cudaStreamSynchronize(b->context.stream), error);
    return true;
}

static Bench *cuda_bench_create(const BenchLayer *layer, Error *error) {
    CudaBench *b = (CudaBench *)alloc_or_exit(1, sizeof *b);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    int device;
    CUDA_CHECK(cudaGetDevice(&device));
    b->base.api = &cuda_bench;
    if (layer) b->layer = *layer;
    bool ok = cuda_context_create(&b->context, device, error) &&
              (layer ? make_layer(b, plan, error) : make_rates(b, plan, error)) && prepare(b, error);
    free(plan);
    if (ok) return &b->base;
    cuda_bench_destroy(&b->base);
    return NULL;
}

const BenchApi cuda_bench = BENCH_API(cuda, bf16, COPY_BYTES, PRODUCT_EDGE);
