// Scores of Lighthouse entries: norms of rows, and the maxima over them that score the coarser levels.
#ifndef CUDA_SCORE_CUH
#define CUDA_SCORE_CUH

#include "core/model/hierarchy.h"
#include "cuda/kernels/rows.cuh"

#include <assert.h>

// Scores of all entries, base level first; those of keys stand once for every query head.
typedef struct {
    float *q, *k; // (B, H, E)
} LighthouseScores;

// What kernels need of a Hierarchy. Entries are numbered in 32 bits.
typedef struct {
    int levels, log_pool, chunks;
    int n, coarse, entries, selected;      // N, Nc, E, S
    int offset[LIGHTHOUSE_MAX_LEVELS + 1]; // first entry of each level
} Levels;

static inline Levels levels_of(const Hierarchy *h) {
    assert(h->n_entries <= INT32_MAX && h->n_selected <= INT32_MAX);
    Levels levels = {h->levels,          0,  (int)h->n_chunks, (int)h->n, (int)h->n_coarse, (int)h->n_entries,
                     (int)h->n_selected, {0}};
    while (1LL << levels.log_pool < h->pool) levels.log_pool++;
    for (int l = 0; l <= h->levels; l++) levels.offset[l] = (int)h->level_offset[l];
    return levels;
}

// ---- Norms. Squares of bf16 numbers are exact in double and so, nearly always, are their sums: whoever adds
// them up in whatever order gets the same score, and the CPU engine's.

static inline __device__ double square_sum(Bf16x8 x) {
    float elements[8];
    double sum = 0;
    unpack(elements, x);
#pragma unroll
    for (int i = 0; i < 8; i++) sum += (double)elements[i] * elements[i];
    return sum;
}

// The norm of a row that LANES neighbouring lanes hold, from the squares each of them has summed. All lanes
// of the warp take part.
template <int LANES> static inline __device__ float row_norm(double squares) {
#pragma unroll
    for (int other = LANES / 2; other > 0; other /= 2)
        squares += __shfl_xor_sync(0xffffffffu, squares, other);
    return (float)sqrt(squares);
}

// The norms of COUNT such rows, COUNT <= LANES, lane i getting that of row i % COUNT: with fewer exchanges
// and one root. In each step a lane passes on half of its rows and gets its partner's part of the other half.
template <int LANES, int COUNT> static inline __device__ float row_norms(double (&squares)[COUNT]) {
#pragma unroll
    for (int half = COUNT / 2; half > 0; half /= 2)
#pragma unroll
        for (int u = 0; u < half; u++) {
            bool upper = threadIdx.x & half;
            double pass = upper ? squares[u] : squares[u + half];
            squares[u] = (upper ? squares[u + half] : squares[u]) + __shfl_xor_sync(0xffffffffu, pass, half);
        }
#pragma unroll
    for (int other = COUNT; other < LANES; other *= 2)
        squares[0] += __shfl_xor_sync(0xffffffffu, squares[0], other);
    return (float)sqrt(squares[0]);
}

typedef struct {
    CudaRows rows;
    float *score; // (B, H, E)
    int heads;    // of rows: H / share
} NormJob;
typedef struct {
    NormJob job[2];
} NormJobs;

static inline NormJob norm_job(CudaRows rows, float *score, int64_t H) {
    NormJob job = {rows, score, (int)H / rows.share};
    return job;
}

#define NORM_THREADS 128
#define NORM_TOKENS  4 // neighbouring rows whose loads D / 8 lanes have under way at once

// Base scores. A block has neighbouring tokens of one head; the heads of both sides, which lie side by side,
// come first along blockIdx.x, then the tokens; blockIdx.y is the sequence.
template <int D>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_kernel(const __grid_constant__ NormJobs jobs, int H, int n, int entries, unsigned heads) {
    const int LANES = D / 8;
    int head = (int)(blockIdx.x % heads), side = head >= jobs.job[0].heads, b = blockIdx.y;
    if (side) head -= jobs.job[0].heads;
    const NormJob &job = jobs.job[side];
    int lane = threadIdx.x % LANES;
    int first = (int)(blockIdx.x / heads * (NORM_THREADS / LANES) + threadIdx.x / LANES) * NORM_TOKENS;
    int64_t step = job.rows.row / 8;
    const Bf16x8 *row =
        (const Bf16x8 *)(job.rows.data + b * job.rows.batch + head * job.rows.head) + first * step + lane;
    Bf16x8 x[NORM_TOKENS];
#pragma unroll
    for (int u = 0; u < NORM_TOKENS; u++)
        if (first + u < n) x[u] = row[u * step];
    double squares[NORM_TOKENS];
#pragma unroll
    for (int u = 0; u < NORM_TOKENS; u++) squares[u] = square_sum(x[u]);
    float norm = row_norms<LANES>(squares);
    if (lane >= NORM_TOKENS || first + lane >= n) return;
    float *score = job.score + ((int64_t)b * H + head * job.rows.share) * entries + first + lane;
#pragma unroll 1
    for (int reader = 0; reader < job.rows.share; reader++, score += entries) *score = norm;
}

// One launch for both sides, or for one where k is NULL.
static inline void norm_scores(CudaContext *context, const NormJob *q, const NormJob *k, int64_t B, int64_t H,
                               int64_t N, int64_t entries, int64_t D) {
    NormJobs jobs = {{*q, k ? *k : *q}};
    int64_t tiles = ceil_div(N, NORM_TOKENS * NORM_THREADS / (D / 8));
    assert(D == 64 || D == 128);
    unsigned heads = (unsigned)(q->heads + (k ? k->heads : 0));
    dim3 grid(heads * (unsigned)tiles, (unsigned)B);
    auto kernel = D == 64 ? norm_kernel<64> : norm_kernel<128>;
    kernel<<<grid, NORM_THREADS, 0, context->stream>>>(jobs, (int)H, (int)N, (int)entries, heads);
    CUDA_CHECK(cudaGetLastError());
}

// ---- Coarser levels.

// A thread makes one entry of level `to` and all entries between it and level `from`, which it alone reads
// again.
static __global__ void pool_kernel(LighthouseScores scores, const __grid_constant__ Levels levels, int from,
                                   int to, int64_t heads) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    int count = levels.offset[to + 1] - levels.offset[to];
    if (i >= heads * count) return;
    float *score = (blockIdx.y == 0 ? scores.q : scores.k) + i / count * levels.entries;
    int unit = (int)(i % count);
    for (int l = from + 1; l <= to; l++) {
        int own = 1 << levels.log_pool * (to - l); // entries of level l
        for (int e = unit * own; e < (unit + 1) * own; e++) {
            const float *child = score + levels.offset[l - 1] + ((int64_t)e << levels.log_pool);
            float highest = child[0];
#pragma unroll 4
            for (int c = 1; c < 1 << levels.log_pool; c++) highest = fmaxf(highest, child[c]);
            score[levels.offset[l] + e] = highest;
        }
    }
}

#define POOL_SPAN 64 // base entries a thread reads at most, where more than one level is made at once

// Scores of levels 1 ... L-1 from those of the base: each the maximum over its children.
static inline void pool_scores(CudaContext *context, LighthouseScores scores, const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    int64_t heads = shape->B * shape->H;
    for (int from = 0, to; from < levels.levels - 1; from = to) {
        to = from + 1;
        while (to < levels.levels - 1 && 1 << levels.log_pool * (to + 1 - from) <= POOL_SPAN) to++;
        int64_t threads = heads * (levels.offset[to + 1] - levels.offset[to]);
        dim3 grid((unsigned)ceil_div(threads, 128), 2);
        pool_kernel<<<grid, 128, 0, context->stream>>>(scores, levels, from, to, heads);
        CUDA_CHECK(cudaGetLastError());
    }
}

#endif
