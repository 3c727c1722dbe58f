// The kernels; see score.cuh.
#include "cuda/kernels/score.cuh"

typedef struct {
    NormJob job[2];
} NormJobs;

#define NORM_THREADS 128
#define NORM_TOKENS  4 // neighbouring rows whose loads the lanes of a row have under way at once

// Base scores. A block has neighbouring tokens of one head; the heads of both sides, which lie side by side,
// come first along blockIdx.x, then the tokens; blockIdx.y is the sequence.
template <int D>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_kernel(const __grid_constant__ NormJobs jobs, int H, int n, int entries, unsigned heads) {
    const int LANES = row_lanes(D / 8);
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
        if (first + u < n && lane < D / 8) x[u] = row[u * step];
    double squares[NORM_TOKENS];
#pragma unroll
    for (int u = 0; u < NORM_TOKENS; u++) squares[u] = lane < D / 8 ? square_sum(x[u]) : 0;
    float norm = row_norms<LANES>(squares);
    if (lane >= NORM_TOKENS || first + lane >= n) return;
    float *score = job.score + ((int64_t)b * H + head * job.rows.share) * entries + first + lane;
#pragma unroll 1
    for (int reader = 0; reader < job.rows.share; reader++, score += entries) *score = norm;
}

void norm_scores(CudaContext *context, const NormJob *q, const NormJob *k, int64_t B, int64_t H, int64_t N,
                 int64_t entries, int64_t D) {
    NormJobs jobs = {{*q, k ? *k : *q}};
    int64_t tiles = ceil_div(N, NORM_TOKENS * NORM_THREADS / row_lanes((int)D / 8));
    assert(head_width_known(D));
    unsigned heads = (unsigned)(q->heads + (k ? k->heads : 0));
    dim3 grid(heads * (unsigned)tiles, (unsigned)B);
    auto kernel = FOR_HEAD_WIDTH(D, norm_kernel);
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

void pool_scores(CudaContext *context, LighthouseScores scores, const LighthouseShape *shape) {
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
