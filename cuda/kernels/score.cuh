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

// The norms of COUNT <= LANES rows, each held by LANES neighbouring lanes, from the squares that each lane
// has summed; lane i gets that of row i % COUNT. All lanes of the warp take part. In each step a lane passes
// on half of its rows and gets its partner's part of the other half.
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

static inline NormJob norm_job(CudaRows rows, float *score, int64_t H) {
    NormJob job = {rows, score, (int)H / rows.share};
    return job;
}

// One launch for both sides, or for one where k is NULL.
void norm_scores(CudaContext *context, const NormJob *q, const NormJob *k, int64_t B, int64_t H, int64_t N,
                 int64_t entries, int64_t D);

// Scores of levels 1 ... L-1 from those of the base: each the maximum over its children.
void pool_scores(CudaContext *context, LighthouseScores scores, const LighthouseShape *shape);

#endif
