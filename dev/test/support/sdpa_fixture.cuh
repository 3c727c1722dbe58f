// What the checks and timings of causal attention run on: random tensors in the layouts of the engine, with
// guards around them, and a cuDNN context with its workspace.
#ifndef TEST_SUPPORT_SDPA_FIXTURE_CUH
#define TEST_SUPPORT_SDPA_FIXTURE_CUH

#include "cuda/device/common.cuh"
#include "dev/test/support/gpu_mix.cuh"
#include "sdpa.cuh"

#include <math.h>
#include <string.h>

#define GUARD 64 // elements between sequences and behind tensors that nothing may write

// ---------------------------------------------------------------------------------------------------------------
// Random numbers: element i of a stream is a function of the seed and i.

// Standard normal, by Box and Muller.
static __host__ __device__ float normal(uint64_t seed, int64_t i) {
    uint64_t bits = mix(mix(seed) + 0x9e3779b97f4a7c15ull * (uint64_t)(i + 1));
    float u = ((float)(bits >> 40) + 1.0f) * (1.0f / 16777216.0f);
    float angle = 6.2831853f * (float)(bits & 0xffffff) * (1.0f / 16777216.0f);
    return sqrtf(-2.0f * logf(u)) * cosf(angle);
}

__global__ void fill_normal(bf16 *out /* (count) */, int64_t count, uint64_t seed) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = __float2bfloat16(normal(seed, i));
}

// ---------------------------------------------------------------------------------------------------------------
// Problems and the memory they lie in.

typedef enum { LAYOUT_HEADS, LAYOUT_ROWS, LAYOUT_PACKED, LAYOUTS } Layout;
static const char *const LAYOUT_NAMES[] = {"[H,N,D]", "[N,H,D]", "packed"};

typedef struct {
    SdpaProblem problem;
    int64_t q, k, v;   // where each begins in the one buffer of all three, in elements
    int64_t qkv_count; // elements of that buffer
    int64_t out_count;
} Placement;

static void place_after(int64_t *start, SdpaStrides *strides, int64_t *end, int64_t batch) {
    strides->batch += GUARD;
    *start = *end;
    *end += batch * strides->batch;
}

static Placement placement_create(Layout layout, int64_t batch, int64_t heads, int64_t kv_heads, int64_t rows,
                                  int64_t dim) {
    Placement place;
    memset(&place, 0, sizeof place);
    SdpaProblem *p = &place.problem;
    p->batch = batch, p->n_heads = heads, p->n_kv_heads = kv_heads, p->rows = rows, p->head_dim = dim;
    if (layout == LAYOUT_HEADS) {
        p->q = p->out = sdpa_heads_first(heads, rows, dim);
        p->k = p->v = sdpa_heads_first(kv_heads, rows, dim);
    } else {
        p->q = p->out = sdpa_rows_first(heads, rows, dim);
        p->k = p->v = sdpa_rows_first(kv_heads, rows, dim);
    }
    if (layout == LAYOUT_PACKED) {
        p->q = sdpa_rows_first(heads + 2 * kv_heads, rows, dim);
        place_after(&place.q, &p->q, &place.qkv_count, batch);
        p->k = p->v = p->q;
        place.k = heads * dim;
        place.v = place.k + kv_heads * dim;
    } else {
        place_after(&place.q, &p->q, &place.qkv_count, batch);
        place_after(&place.k, &p->k, &place.qkv_count, batch);
        place_after(&place.v, &p->v, &place.qkv_count, batch);
    }
    int64_t out_start;
    place_after(&out_start, &p->out, &place.out_count, batch);
    return place;
}

typedef struct {
    bf16 *qkv, *out, *dout, *dqkv;
    float *stats; // (B, H, N)
    int64_t stats_count;
} Buffers;

static void *device_alloc(size_t bytes) {
    void *memory;
    CUDA_CHECK(cudaMalloc(&memory, bytes));
    CUDA_CHECK(cudaMemset(memory, 0xff, bytes)); // not a number, in bf16 and float32
    return memory;
}

static Buffers buffers_create(const Placement *place) {
    const SdpaProblem *p = &place->problem;
    Buffers b;
    b.stats_count = p->batch * p->n_heads * p->rows;
    b.qkv = (bf16 *)device_alloc(place->qkv_count * sizeof(bf16));
    b.dqkv = (bf16 *)device_alloc(place->qkv_count * sizeof(bf16));
    b.out = (bf16 *)device_alloc(place->out_count * sizeof(bf16));
    b.dout = (bf16 *)device_alloc(place->out_count * sizeof(bf16));
    b.stats = (float *)device_alloc(b.stats_count * sizeof(float));
    return b;
}

static void buffers_free(Buffers *b) {
    void *all[] = {b->qkv, b->dqkv, b->out, b->dout, b->stats};
    for (void *memory : all) CUDA_CHECK(cudaFree(memory));
}

static void buffers_fill(Buffers *b, const Placement *place, uint64_t seed) {
    fill_normal<<<ceil_div(place->qkv_count, 256), 256>>>(b->qkv, place->qkv_count, seed);
    CUDA_CHECK(cudaGetLastError());
    fill_normal<<<ceil_div(place->out_count, 256), 256>>>(b->dout, place->out_count, seed + 1);
    CUDA_CHECK(cudaGetLastError());
    CUDA_CHECK(cudaDeviceSynchronize());
}

typedef struct {
    Sdpa *sdpa;
    cudaStream_t stream;
    char *workspace;
    size_t bytes, used; // allocated, and of the last pass
    bool deterministic;
} Runner;

static Runner runner_create(bool deterministic) {
    Runner r = {NULL, NULL, NULL, 0, 0, deterministic};
    Error error;
    CUDA_CHECK(cudaStreamCreateWithFlags(&r.stream, cudaStreamNonBlocking));
    r.sdpa = sdpa_create(r.stream, deterministic, &error);
    if (!r.sdpa) error_exit(&error);
    return r;
}

static void runner_free(Runner *r) {
    sdpa_destroy(r->sdpa);
    if (r->workspace) CUDA_CHECK(cudaFree(r->workspace));
    CUDA_CHECK(cudaStreamDestroy(r->stream));
}

// A workspace of the right size with a poisoned guard behind it.
static void runner_prepare(Runner *r, const SdpaProblem *problem, SdpaPass pass) {
    Error error;
    if (!sdpa_workspace_bytes(r->sdpa, problem, pass, &r->used, &error)) error_exit(&error);
    if (r->used + GUARD > r->bytes) {
        if (r->workspace) CUDA_CHECK(cudaFree(r->workspace));
        r->bytes = r->used + GUARD;
        r->workspace = (char *)device_alloc(r->bytes);
    }
    CUDA_CHECK(cudaMemset(r->workspace, 0xff, r->bytes));
    CUDA_CHECK(cudaDeviceSynchronize());
}

static bool runner_guard_intact(const Runner *r) {
    unsigned char guard[GUARD];
    CUDA_CHECK(cudaMemcpy(guard, r->workspace + r->used, GUARD, cudaMemcpyDeviceToHost));
    for (unsigned char byte : guard)
        if (byte != 0xff) return false;
    return true;
}

static void forward(Runner *r, const Placement *place, const Buffers *b, float *stats) {
    Error error;
    if (!cuda_sdpa_forward(r->sdpa, &place->problem, b->qkv + place->q, b->qkv + place->k, b->qkv + place->v,
                           b->out, stats, r->workspace, r->used, &error))
        error_exit(&error);
}

static void backward(Runner *r, const Placement *place, const Buffers *b) {
    Error error;
    if (!cuda_sdpa_backward(r->sdpa, &place->problem, b->qkv + place->q, b->qkv + place->k, b->qkv + place->v,
                            b->out, b->dout, b->stats, b->dqkv + place->q, b->dqkv + place->k,
                            b->dqkv + place->v, r->workspace, r->used, &error))
        error_exit(&error);
}

#endif
