// A Lighthouse layer on both engines with the same random input: q, k, v packed as a model has them. The
// input is a function of the element's index in plain arithmetic, so that host and GPU make the same numbers.
#ifndef TEST_LIGHTHOUSE_CASE_CUH
#define TEST_LIGHTHOUSE_CASE_CUH

#include "cpu/cpu.h"
#include "dev/test/support/gpu_check.cuh"
#include "dev/test/support/gpu_mix.cuh"
#include "cuda/kernels/lighthouse_layer.cuh"
#include "cuda/kernels/select.cuh"

typedef struct {
    const char *name;
    LighthouseConfig config;
    int64_t B, H, KV, D, N;
} LighthouseSetting;

typedef struct {
    Rows q, k, v, out, dq, dk, dv, dout;
} CpuTensors;

typedef struct {
    const char *name;
    LighthouseShape shape;
    int64_t KV, row_count, token_count,
        packed_count; // elements of (B, H, S, D), (B, N, H, D), (B, N, H + 2 KV, D)

    CudaContext context;
    Sdpa *sdpa;
    void *arena;
    CudaLighthouseRows rows;
    CudaLighthouseScratch scratch;
    CudaRows q, k, v, out, dq, dk, dv, dout;
    float *gate; // (B, N, H)

    void *cpu_arena; // NULL: no CPU side
    LighthouseRows cpu_rows;
    LighthouseScratch cpu_scratch;
    CpuTensors cpu;
    real *cpu_gate;
} LighthouseCase;

// ---- Numbers.

static inline __host__ __device__ uint64_t case_mix(uint64_t stream, int64_t i) {
    return mix(stream * 0x9e3779b97f4a7c15ull + (uint64_t)i);
}

// Mean 0, variance 1, close to normal: the sum of four uniform numbers.
static inline __host__ __device__ float case_normal(uint64_t stream, int64_t i) {
    uint64_t x = case_mix(stream, i);
    int sum = (int)(x & 0xffff) + (int)(x >> 16 & 0xffff) + (int)(x >> 32 & 0xffff) + (int)(x >> 48);
    return (float)(sum - 131070) * (1.0f / 37837.0f);
}

// Element i of a tensor whose rows of D have lengths of their own.
static inline __host__ __device__ float case_scaled(uint64_t stream, int64_t i, int64_t D) {
    return case_normal(stream, i) * ((float)(1 + (case_mix(stream + 1000, i / D) & 1023)) / 256.0f);
}

static __global__ void case_fill_kernel(bf16 *out, int64_t count, uint64_t stream, int64_t D) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = __float2bfloat16(D ? case_scaled(stream, i, D) : case_normal(stream, i));
}

// D 0: not scaled
static inline void case_fill(bf16 *out, int64_t count, uint64_t stream, int64_t D) {
    case_fill_kernel<<<(unsigned)ceil_div(count, 256), 256>>>(out, count, stream, D);
    CUDA_CHECK(cudaGetLastError());
    CUDA_CHECK(cudaDeviceSynchronize());
}

static inline float case_bf16(float x) {
    return __bfloat162float(__float2bfloat16(x));
}

// The same numbers on both sides.
static inline void case_random(bf16 *gpu, real *cpu, int64_t count, uint64_t stream) {
    case_fill(gpu, count, stream, 0);
    for (int64_t i = 0; i < count; i++) cpu[i] = case_bf16(case_normal(stream, i));
}
static inline void case_random_float(float *gpu, real *cpu, int64_t count, double scale, uint64_t stream) {
    float *host = (float *)alloc_or_exit((size_t)count, sizeof *host);
    for (int64_t i = 0; i < count; i++) cpu[i] = host[i] = (float)scale * case_normal(stream, i);
    gpu_upload(gpu, host, count);
    free(host);
}

static inline void case_download(real *to, const float *from, int64_t count) {
    float *host = gpu_download(from, count);
    for (int64_t i = 0; i < count; i++) to[i] = host[i];
    free(host);
}

// ---- Cases.

static inline void case_plan_cpu(LighthouseCase *c, MemoryPlan *plan) {
    const LighthouseShape *s = &c->shape;
    int64_t N = s->hierarchy.n, W = s->H + 2 * c->KV;
    real *packed, *dpacked, *out, *dout;
    memset(plan, 0, sizeof *plan);
    lighthouse_plan_rows(plan, &c->cpu_rows, s, 1);
    lighthouse_plan_scratch(plan, &c->cpu_scratch, s, true, NULL);
    plan_add(plan, (void **)&packed, "test", "qkv", c->packed_count, sizeof(real));
    plan_add(plan, (void **)&dpacked, "test", "dqkv", c->packed_count, sizeof(real));
    plan_add(plan, (void **)&out, "test", "out", c->token_count, sizeof(real));
    plan_add(plan, (void **)&dout, "test", "dout", c->token_count, sizeof(real));
    plan_add(plan, (void **)&c->cpu_gate, "test", "gate", s->B * N * s->H, sizeof(real));
    c->cpu_arena = alloc_or_exit(plan->total, 1);
    plan_bind(plan, c->cpu_arena);
    Rows *tensors[2][3] = {{&c->cpu.q, &c->cpu.k, &c->cpu.v}, {&c->cpu.dq, &c->cpu.dk, &c->cpu.dv}};
    for (int gradient = 0; gradient < 2; gradient++)
        for (int i = 0; i < 3; i++) {
            int64_t first = i == 0 ? 0 : s->H + (i - 1) * c->KV;
            *tensors[gradient][i] = rows_make((gradient ? dpacked : packed) + first * s->D, N * W * s->D,
                                              s->D, W * s->D, i == 0 ? 1 : s->share);
        }
    c->cpu.out = rows_token_major(out, N, s->H, s->D, 1);
    c->cpu.dout = rows_token_major(dout, N, s->H, s->D, 1);
    for (int64_t i = 0; i < c->packed_count; i++) packed[i] = case_bf16(case_scaled(1, i, s->D));
    for (int64_t i = 0; i < c->token_count; i++) dout[i] = case_bf16(case_normal(2, i));
}

static inline void case_plan_gpu(LighthouseCase *c, MemoryPlan *plan) {
    const LighthouseShape *s = &c->shape;
    int64_t N = s->hierarchy.n, W = s->H + 2 * c->KV;
    bf16 *packed, *dpacked, *out, *dout;
    Error error;
    memset(plan, 0, sizeof *plan);
    cuda_lighthouse_plan_rows(plan, &c->rows, s, 1, NULL);
    cuda_lighthouse_plan_scratch(plan, &c->scratch, s, true, NULL);
    plan_add(plan, (void **)&packed, "test", "qkv", c->packed_count, sizeof(bf16));
    plan_add(plan, (void **)&dpacked, "test", "dqkv", c->packed_count, sizeof(bf16));
    plan_add(plan, (void **)&out, "test", "out", c->token_count, sizeof(bf16));
    plan_add(plan, (void **)&dout, "test", "dout", c->token_count, sizeof(bf16));
    plan_add(plan, (void **)&c->gate, "test", "gate", s->B * N * s->H, sizeof(float));
    CudaRows like = cuda_rows_packed(NULL, N, W, 0, s->D, s->share);
    if (c->sdpa &&
        !cuda_lighthouse_sdpa_bytes(c->sdpa, like, like, like, s, true, &c->scratch.sdpa_bytes, &error))
        error_exit(&error);
    plan_add(plan, &c->scratch.sdpa, "test", "workspace", (int64_t)c->scratch.sdpa_bytes, 1);
    CUDA_CHECK(cudaMalloc(&c->arena, plan->total));
    gpu_poison(c->arena, plan->total);
    plan_bind(plan, c->arena);
    CudaRows *tensors[2][3] = {{&c->q, &c->k, &c->v}, {&c->dq, &c->dk, &c->dv}};
    for (int gradient = 0; gradient < 2; gradient++)
        for (int i = 0; i < 3; i++)
            *tensors[gradient][i] =
                cuda_rows_packed(gradient ? dpacked : packed, N, W, i == 0 ? 0 : s->H + (i - 1) * c->KV, s->D,
                                 i == 0 ? 1 : s->share);
    c->out = cuda_rows_packed(out, N, s->H, 0, s->D, 1);
    c->dout = cuda_rows_packed(dout, N, s->H, 0, s->D, 1);
    case_fill(packed, c->packed_count, 1, s->D);
    case_fill(dout, c->token_count, 2, 0);
}

// sdpa may be NULL where attention is not run.
static inline LighthouseCase *case_create_gpu(const LighthouseSetting *setting, CudaContext *context,
                                              Sdpa *sdpa) {
    LighthouseCase *c = (LighthouseCase *)alloc_or_exit(1, sizeof *c);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    c->name = setting->name;
    c->context = *context;
    c->sdpa = sdpa;
    c->KV = setting->KV;
    if (!hierarchy_create(&setting->config, setting->N, &c->shape.hierarchy, &error)) error_exit(&error);
    c->shape.config = setting->config;
    c->shape.B = setting->B, c->shape.H = setting->H, c->shape.D = setting->D;
    c->shape.share = setting->H / setting->KV;
    c->row_count = setting->B * setting->H * c->shape.hierarchy.n_selected * setting->D;
    c->token_count = setting->B * setting->N * setting->H * setting->D;
    c->packed_count = setting->B * setting->N * (setting->H + 2 * setting->KV) * setting->D;
    case_plan_gpu(c, plan);
    free(plan);
    return c;
}

static inline LighthouseCase *case_create(const LighthouseSetting *setting, CudaContext *context,
                                          Sdpa *sdpa) {
    LighthouseCase *c = case_create_gpu(setting, context, sdpa);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    case_plan_cpu(c, plan);
    free(plan);
    return c;
}

static inline void case_free(LighthouseCase *c) {
    CUDA_CHECK(cudaFree(c->arena));
    free(c->cpu_arena);
    free(c);
}

// The whole layer, its results and all it keeps poisoned first.
static inline void case_forward_backward(LighthouseCase *c, const int32_t *forced) {
    const Hierarchy *h = &c->shape.hierarchy;
    int64_t heads = c->shape.B * c->shape.H;
    Error error;
    gpu_poison(c->rows.entries, (size_t)(heads * h->n_selected) * sizeof(int32_t));
    gpu_poison(c->rows.positions, (size_t)(heads * h->n_entries) * sizeof(int32_t));
    bf16 *gathered[] = {c->rows.q,       c->rows.k,     c->rows.v,     c->rows.out,
                        c->scratch.dout, c->scratch.dq, c->scratch.dk, c->scratch.dv};
    for (size_t i = 0; i < sizeof gathered / sizeof *gathered; i++)
        gpu_poison(gathered[i], (size_t)c->row_count * sizeof(bf16));
    gpu_poison(c->out.data, (size_t)c->token_count * sizeof(bf16));
    gpu_poison(c->dq.data, (size_t)c->packed_count * sizeof(bf16));
    if (!cuda_lighthouse_forward(&c->context, c->sdpa, c->out, &c->rows, &c->scratch, c->q, c->k, c->v,
                                 c->gate, false, forced, &c->shape, &error) ||
        !cuda_lighthouse_backward(&c->context, c->sdpa, c->dq, c->dk, c->dv, c->dout, &c->rows, &c->scratch,
                                  &c->shape, &error))
        error_exit(&error);
    CUDA_CHECK(cudaDeviceSynchronize());
}

// First head and number of heads of q (0), k (1) or v (2) in a packed row.
static inline void case_heads(const LighthouseCase *c, int tensor, int64_t *first, int64_t *count) {
    *first = tensor == 0 ? 0 : c->shape.H + (tensor - 1) * c->KV;
    *count = tensor == 0 ? c->shape.H : c->KV;
}

// Relative error of q's, k's or v's heads in a packed tensor.
static inline double case_heads_error(const LighthouseCase *c, const float *x, const real *expected,
                                      int tensor) {
    int64_t first, count, D = c->shape.D, width = (c->shape.H + 2 * c->KV) * D;
    double difference = 0, norm = 0;
    case_heads(c, tensor, &first, &count);
    for (int64_t i = 0; i < c->packed_count; i++) {
        if (i % width / D < first || i % width / D >= first + count) continue;
        difference += (x[i] - expected[i]) * (x[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    return sqrt(difference / norm);
}

// q's, k's or v's heads, (B, N, heads, D): into the packed input, and out of its gradient.
static inline void case_upload_heads(LighthouseCase *c, int tensor, const float *x) {
    int64_t first, count, D = c->shape.D, width = (c->shape.H + 2 * c->KV) * D;
    case_heads(c, tensor, &first, &count);
    float *packed = gpu_download_bf16(c->q.data, c->packed_count);
    for (int64_t row = 0; row < c->packed_count / width; row++)
        memcpy(packed + row * width + first * D, x + row * count * D, (size_t)(count * D) * sizeof *x);
    gpu_upload_bf16(c->q.data, packed, c->packed_count);
    free(packed);
}
static inline float *case_download_heads(LighthouseCase *c, int tensor) {
    int64_t first, count, D = c->shape.D, width = (c->shape.H + 2 * c->KV) * D;
    case_heads(c, tensor, &first, &count);
    float *packed = gpu_download_bf16(c->dq.data, c->packed_count);
    float *x = (float *)alloc_or_exit((size_t)(c->packed_count / width * count * D), sizeof *x);
    for (int64_t row = 0; row < c->packed_count / width; row++)
        memcpy(x + row * count * D, packed + row * width + first * D, (size_t)(count * D) * sizeof *x);
    free(packed);
    return x;
}

#endif
