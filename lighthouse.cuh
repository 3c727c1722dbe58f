// The Lighthouse layer on the GPU: score, select, order, gather, attend, scatter, and their backwards.
// Source: "Long Context Pre-Training with Lighthouse Attention", arXiv 2605.06554. Its twin, step by step, is
// cpu/lighthouse.c.
//
//   score            norms of rows (usually out of the RoPE kernel, cuda/rope.cuh), of dilated attention, or
//   of the
//                    gla recurrence (cuda/gla.cuh); maxima for the coarser levels             cuda/score.cuh
//   select, order    one launch                                                               cuda/select.cuh
//   gather           each selected entry's row is the mean of q, k, v over its span           here
//   attend           causal attention of the S gathered rows                                  sdpa.cuh
//   scatter          each position sums the rows that cover it, shifted for causality         here
//
// The gather and the backward of the scatter are one kernel: rows that sum a span of tokens. The scatter and
// the backward of the gather are the other, its transpose: tokens that sum the rows covering them. Each
// output is written once by one thread, in a fixed order of additions: no atomics, the same bits every run.
#ifndef LIGHTHOUSE_CUH
#define LIGHTHOUSE_CUH

#include "core/plan.h"
#include "cuda/gla.cuh"
#include "cuda/select.cuh"

// What a layer keeps from its forward pass to its backward.
typedef struct {
    int32_t *entries;   // (B, H, S) absolute entry index of each gathered row, in post-order
    int32_t *positions; // (B, H, E) row of each entry, -1 where it is not selected
    bf16 *q, *k, *v;    // (B, H, S, D) gathered rows
    bf16 *out;          // (B, H, S, D) their attention
    float *lse;         // (B, H, S) its statistics
} CudaLighthouseRows;

// What is free again when the call returns, shared by all layers.
typedef struct {
    LighthouseScores scores;   // (B, H, E)
    bf16 *dilated;             // (B, N, H, D), dilated scorer only: attention of the subsequences
    float *gla_states;         // gla scorer only, of contexts longer than a segment: see gla_scores
    double *gla_decays;        // likewise
    bf16 *dout, *dq, *dk, *dv; // (B, H, S, D), backward only
    void *sdpa;                // workspace of sdpa.cuh, the caller's: it may be that of the dense layers
    size_t sdpa_bytes;         // at least cuda_lighthouse_sdpa_bytes()
} CudaLighthouseScratch;

// ---------------------------------------------------------------------------------------------------------------
// Plan.

static inline void cuda_lighthouse_plan_rows(MemoryPlan *plan, CudaLighthouseRows *rows,
                                             const LighthouseShape *shape, int64_t layers) {
    int64_t heads = layers * shape->B * shape->H, selected = heads * shape->hierarchy.n_selected;
    const char *purpose = "lighthouse";
    plan_add(plan, (void **)&rows->entries, purpose, "entries", selected, sizeof(int32_t));
    plan_add(plan, (void **)&rows->positions, purpose, "positions", heads * shape->hierarchy.n_entries,
             sizeof(int32_t));
    plan_add(plan, (void **)&rows->q, purpose, "gathered q", selected * shape->D, sizeof(bf16));
    plan_add(plan, (void **)&rows->k, purpose, "gathered k", selected * shape->D, sizeof(bf16));
    plan_add(plan, (void **)&rows->v, purpose, "gathered v", selected * shape->D, sizeof(bf16));
    plan_add(plan, (void **)&rows->out, purpose, "gathered out", selected * shape->D, sizeof(bf16));
    plan_add(plan, (void **)&rows->lse, purpose, "log-sum-exp", selected, sizeof(float));
}

// Everything but the workspace of sdpa.cuh.
static inline void cuda_lighthouse_plan_scratch(MemoryPlan *plan, CudaLighthouseScratch *scratch,
                                                const LighthouseShape *shape, bool training) {
    int64_t heads = shape->B * shape->H, N = shape->hierarchy.n, S = shape->hierarchy.n_selected,
            D = shape->D;
    int64_t entries = heads * shape->hierarchy.n_entries, rows = training ? heads * S * D : 0;
    int64_t dilated = shape->config.scorer == SCORER_DILATED ? heads * N * D : 0, states = 0;
    if (shape->config.scorer == SCORER_GLA && gla_segments(N, shape->config.dilation) > 1)
        states = 2 * heads * shape->config.dilation * gla_segments(N, shape->config.dilation);
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->scores.q, purpose, "query scores", entries, sizeof(float));
    plan_add(plan, (void **)&scratch->scores.k, purpose, "key scores", entries, sizeof(float));
    plan_add(plan, (void **)&scratch->dilated, purpose, "dilated attention", dilated, sizeof(bf16));
    plan_add(plan, (void **)&scratch->gla_states, purpose, "gla states", states * D * D, sizeof(float));
    plan_add(plan, (void **)&scratch->gla_decays, purpose, "gla decays", states, sizeof(double));
    plan_add(plan, (void **)&scratch->dout, purpose, "gathered dout", rows, sizeof(bf16));
    plan_add(plan, (void **)&scratch->dq, purpose, "gathered dq", rows, sizeof(bf16));
    plan_add(plan, (void **)&scratch->dk, purpose, "gathered dk", rows, sizeof(bf16));
    plan_add(plan, (void **)&scratch->dv, purpose, "gathered dv", rows, sizeof(bf16));
}

// ---------------------------------------------------------------------------------------------------------------
// Between tokens and gathered rows. D / 8 neighbouring lanes hold a row, 8 elements each.

#define SPAN_THREADS  128
#define SPAN_LOADS    4 // rows of a long span whose loads are under way at once
#define COVER_THREADS 256
#define COVER_LEVELS  2 // levels whose rows are looked up and loaded at once

// One tensor as tokens and as gathered rows; a launch treats up to three, one after the other along
// blockIdx.x. Heads come first there, then tiles of rows or tokens; blockIdx.y is the sequence: blocks that
// run at once work on neighbouring tokens of all heads, which lie side by side.
typedef struct {
    CudaRows tokens; // (b, h, n)
    bf16 *rows;      // (B, H, S, D)
    int heads;       // of tokens: H / share
} Exchange;
typedef struct {
    Exchange job[3];
} Exchanges;

static inline Exchange exchange(CudaRows tokens, bf16 *rows, const LighthouseShape *shape) {
    Exchange job = {tokens, rows, (int)shape->H / tokens.share};
    return job;
}

static inline __device__ void add(float (&sum)[8], const Bf16x8 &x, float scale) {
    float elements[8];
    unpack(elements, x);
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] += scale * elements[i];
}

// The same of 8 elements in the words that are loaded: a Bf16x8 loaded under a condition takes twice the
// registers.
static inline __device__ void add(float (&sum)[8], uint4 x, float scale) {
    unsigned words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum[2 * i] += scale * __uint_as_float(words[i] << 16);
        sum[2 * i + 1] += scale * __uint_as_float(words[i] & 0xffff0000u);
    }
}

static inline __device__ uint4 pack_words(const float (&from)[8]) {
    Bf16x8 x = pack(from);
    uint4 words;
    memcpy(&words, &x, sizeof words);
    return words;
}

// 1 / 2^n, without a division
static inline __device__ float inverse_power(int n) {
    return __int_as_float((127 - n) << 23);
}

// rows[s] = sum over the span of entry s of tokens, or SHIFTED by the span - 1 (only so far as there are
// tokens); the mean where not SHIFTED. The entries of a block lie within each other, so that a token comes
// from memory about once.
template <int D, bool SHIFTED>
static __global__ void __launch_bounds__(SPAN_THREADS)
    sum_spans_kernel(const __grid_constant__ Exchanges exchanges, const int32_t *entries /* (B, H, S) */,
                     const __grid_constant__ Levels levels, int H, unsigned heads /* of all jobs */) {
    const int LANES = D / 8;
    int index = 0, head = (int)(blockIdx.x % heads), b = blockIdx.y, lane = threadIdx.x % LANES;
    while (head >= H) head -= H, index++;
    const Exchange &job = exchanges.job[index];
    int s = (int)(blockIdx.x / heads) * (SPAN_THREADS / LANES) + threadIdx.x / LANES;
    if (s >= levels.selected) return;
    int64_t row = ((int64_t)b * H + head) * levels.selected + s;
    int entry = entries[row], level = 0;
    while (entry >= levels.offset[level + 1]) level++;
    int span = 1 << levels.log_pool * level;
    int64_t t = (int64_t)(entry - levels.offset[level]) * span + (SHIFTED ? span - 1 : 0);
    int64_t end = min(t + span, (int64_t)levels.n), step = job.tokens.row / 8;
    const Bf16x8 *token = rows_at(job.tokens, b, head, t, lane);
    float sum[8] = {};
    for (; t + SPAN_LOADS <= end; t += SPAN_LOADS, token += SPAN_LOADS * step) {
        Bf16x8 x[SPAN_LOADS];
#pragma unroll
        for (int i = 0; i < SPAN_LOADS; i++) x[i] = token[i * step];
#pragma unroll
        for (int i = 0; i < SPAN_LOADS; i++) add(sum, x[i], 1);
    }
    for (; t < end; t++, token += step) {
        Bf16x8 x = *token;
        add(sum, x, 1);
    }
    float scale = SHIFTED ? 1.0f : inverse_power(levels.log_pool * level);
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] *= scale;
    ((Bf16x8 *)(job.rows + row * D))[lane] = pack(sum);
}

// On every level but the finest: adds the row that covers the neighbours from `unit` on, if there is one, to
// the sum of each; the coarsest level first.   position: (E), rows: (S, D) of one head
template <int D, bool SHIFTED, int SUMS>
static inline __device__ void add_coarse_covers(float (&sum)[SUMS][8], int unit, const int32_t *position,
                                                const uint4 *rows, const Levels &levels) {
#pragma unroll 1
    for (int top = levels.levels - 1; top > 0; top -= COVER_LEVELS) {
        int s[COVER_LEVELS];
        uint4 x[COVER_LEVELS];
#pragma unroll
        for (int i = 0; i < COVER_LEVELS; i++) {
            int level = top - i, entry = (unit >> levels.log_pool * level) - SHIFTED;
            s[i] = level > 0 && entry >= 0 ? position[levels.offset[level] + entry] : -1;
        }
#pragma unroll
        for (int i = 0; i < COVER_LEVELS; i++)
            if (s[i] >= 0) x[i] = rows[(int64_t)s[i] * (D / 8)];
#pragma unroll
        for (int i = 0; i < COVER_LEVELS; i++) {
            if (s[i] < 0) continue;
            float scale = SHIFTED ? 1.0f : inverse_power(levels.log_pool * (top - i));
#pragma unroll
            for (int j = 0; j < SUMS; j++) add(sum[j], x[i], scale);
        }
    }
}

// tokens[t] = sum of the rows that cover t, at most one a level, or SHIFTED of those that cover t - (span -
// 1); divided by the span where not SHIFTED. It adds from the coarsest level to the finest; GROUPED, it does
// so for each of the query heads that share the token's head, one after the other.
//
// What covers t on a level is entry (t + SHIFTED) / span - SHIFTED, or nothing if that is negative. So TOKENS
// neighbours, TOKENS a divisor of p, have the same rows on all levels but the finest, if the first of them
// has t + SHIFTED = `unit`, a multiple of TOKENS. D / 8 lanes take them together and read these rows once; of
// one head alone the sum of these rows, too, is the same for all.
template <int D, bool SHIFTED, bool GROUPED, int TOKENS>
static __global__ void __launch_bounds__(COVER_THREADS, GROUPED ? 5 : 6)
    sum_covers_kernel(const __grid_constant__ Exchanges exchanges,
                      const int32_t *__restrict__ positions /* (B, H, E) */,
                      const __grid_constant__ Levels levels, int H, unsigned heads /* of all jobs */) {
    const int LANES = D / 8, SUMS = GROUPED ? TOKENS : 1;
    int index = 0, token_head = (int)(blockIdx.x % heads), b = blockIdx.y, lane = threadIdx.x % LANES;
    while (token_head >= exchanges.job[index].heads) token_head -= exchanges.job[index++].heads;
    const Exchange &job = exchanges.job[index];
    int unit = (int)(blockIdx.x / heads * (COVER_THREADS / LANES) + threadIdx.x / LANES) * TOKENS;
    int t = unit - SHIFTED, share = GROUPED ? job.tokens.share : 1;
    if (t >= levels.n) return;
    int64_t head = (int64_t)b * H + token_head * share;
    const int32_t *position = positions + head * levels.entries;
    const uint4 *rows = (const uint4 *)(job.rows + head * levels.selected * D) + lane;
    float sum[SUMS][8] = {};
    uint4 x[TOKENS]; // rows of the finest level; zero where there is none
#pragma unroll 1
    for (int reader = 0; reader < share; reader++) {
        int s[TOKENS];
#pragma unroll
        for (int i = 0; i < TOKENS; i++) s[i] = (unsigned)(t + i) < (unsigned)levels.n ? position[t + i] : -1;
        auto load = [&] {
#pragma unroll
            for (int i = 0; i < TOKENS; i++)
                x[i] = s[i] >= 0 ? rows[(int64_t)s[i] * LANES] : make_uint4(0, 0, 0, 0);
        };
        if (GROUPED) load(); // at once with the coarser rows, for which one head alone lacks the registers
        add_coarse_covers<D, SHIFTED>(sum, unit, position, rows, levels);
        if (!GROUPED) load();
#pragma unroll
        for (int i = 0; i < TOKENS; i++)
            if (GROUPED && s[i] >= 0) add(sum[i % SUMS], x[i], 1);
        position += levels.entries, rows += (int64_t)levels.selected * LANES;
    }
    int64_t step = job.tokens.row / 8;
    uint4 *token =
        (uint4 *)(job.tokens.data + b * job.tokens.batch + token_head * job.tokens.head) + t * step + lane;
#pragma unroll
    for (int i = 0; i < TOKENS; i++, token += step) {
        float whole[8];
#pragma unroll
        for (int e = 0; e < 8; e++) whole[e] = sum[i % SUMS][e];
        if (!GROUPED) add(whole, x[i], 1);
        // Nobody reads tokens again soon: the cache is left to the rows.
        if ((unsigned)(t + i) < (unsigned)levels.n) __stcs(token, pack_words(whole));
    }
}

static inline void sum_spans(CudaContext *context, const Exchanges *exchanges, int count, bool shifted,
                             const int32_t *entries, const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    int64_t D = shape->D, tiles = ceil_div(levels.selected, SPAN_THREADS / (D / 8));
    assert(D == 64 || D == 128);
    auto kernel = D == 64 ? (shifted ? sum_spans_kernel<64, true> : sum_spans_kernel<64, false>)
                          : (shifted ? sum_spans_kernel<128, true> : sum_spans_kernel<128, false>);
    unsigned heads = (unsigned)(count * shape->H);
    dim3 grid(heads * (unsigned)tiles, (unsigned)shape->B);
    kernel<<<grid, SPAN_THREADS, 0, context->stream>>>(*exchanges, entries, levels, (int)shape->H, heads);
    CUDA_CHECK(cudaGetLastError());
}

template <int D, bool SHIFTED, bool GROUPED>
static inline void sum_covers_of(CudaContext *context, const Exchanges *exchanges, unsigned heads,
                                 const int32_t *positions, const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    // GROUPED, each token has a sum of its own: more than two of them would take too many registers.
    const int MOST = GROUPED ? 2 : 4;
    int tokens = levels.log_pool == 1 ? 2 : MOST;
    auto kernel = tokens == 2 ? sum_covers_kernel<D, SHIFTED, GROUPED, 2>
                              : sum_covers_kernel<D, SHIFTED, GROUPED, MOST>;
    int64_t tiles = ceil_div(levels.n + SHIFTED, tokens * COVER_THREADS / (D / 8));
    kernel<<<dim3(heads * (unsigned)tiles, (unsigned)shape->B), COVER_THREADS, 0, context->stream>>>(
        *exchanges, positions, levels, (int)shape->H, heads);
    CUDA_CHECK(cudaGetLastError());
}

static inline void sum_covers(CudaContext *context, const Exchanges *exchanges, int count, bool shifted,
                              const int32_t *positions, const LighthouseShape *shape) {
    unsigned heads = 0;
    bool grouped = false;
    for (int i = 0; i < count; i++) {
        heads += (unsigned)exchanges->job[i].heads;
        grouped = grouped || exchanges->job[i].tokens.share > 1;
    }
    assert((shape->D == 64 || shape->D == 128) && !(shifted && grouped));
    bool wide = shape->D == 128;
    auto launch = shifted   ? (wide ? sum_covers_of<128, true, false> : sum_covers_of<64, true, false>)
                  : grouped ? (wide ? sum_covers_of<128, false, true> : sum_covers_of<64, false, true>)
                            : (wide ? sum_covers_of<128, false, false> : sum_covers_of<64, false, false>);
    launch(context, exchanges, heads, positions, shape);
}

// ---------------------------------------------------------------------------------------------------------------
// Attention.

// Causal attention of the S gathered rows: every head by itself.
static inline SdpaProblem gathered_problem(const LighthouseShape *shape) {
    int64_t S = shape->hierarchy.n_selected;
    SdpaStrides strides = sdpa_heads_first(shape->H, S, shape->D);
    SdpaProblem problem = {shape->B, shape->H, shape->H, S, shape->D, strides, strides, strides, strides};
    return problem;
}

// The subsequences t = r (mod dilation) of one sequence are a batch of `dilation`; `heads` heads from `first`
// on, every `step`-th.
static inline SdpaStrides dilated_strides(CudaRows rows, int64_t dilation, int64_t step) {
    SdpaStrides strides = {rows.row, rows.head * step, rows.row * dilation};
    return strides;
}

// Attention of q over (k, v) within each subsequence, for the query score. `exchanged`, for the key score:
// attention of k, which every query head repeats, over (q, v); head j of each group at a time, so that both
// sides have as many heads and nothing is copied.
static inline SdpaProblem dilated_problem(CudaRows out, CudaRows q, CudaRows k, CudaRows v, bool exchanged,
                                          const LighthouseShape *shape) {
    int64_t dilation = shape->config.dilation, step = exchanged ? shape->share : 1;
    SdpaStrides q_strides = dilated_strides(q, dilation, step), k_strides = dilated_strides(k, dilation, 1);
    SdpaProblem problem = {dilation,
                           shape->H / step,
                           shape->H / shape->share,
                           shape->hierarchy.n / dilation,
                           shape->D,
                           exchanged ? k_strides : q_strides,
                           exchanged ? q_strides : k_strides,
                           dilated_strides(v, dilation, 1),
                           dilated_strides(out, dilation, step)};
    return problem;
}

static inline CudaRows dilated_rows(const CudaLighthouseScratch *scratch, const LighthouseShape *shape) {
    return cuda_rows_packed(scratch->dilated, shape->hierarchy.n, shape->H, 0, shape->D, 1);
}

static inline bool dilated_scores(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch,
                                  CudaRows q, CudaRows k, CudaRows v, const LighthouseShape *shape,
                                  Error *error) {
    CudaRows out = dilated_rows(scratch, shape);
    for (int exchanged = 0; exchanged < 2; exchanged++) {
        SdpaProblem problem = dilated_problem(out, q, k, v, exchanged, shape);
        for (int64_t b = 0; b < shape->B; b++)
            for (int64_t j = 0; j < (exchanged ? shape->share : 1); j++) {
                const bf16 *query = q.data + b * q.batch + j * q.head, *key = k.data + b * k.batch;
                if (!sdpa_forward(sdpa, &problem, exchanged ? key : query, exchanged ? query : key,
                                  v.data + b * v.batch, out.data + b * out.batch + j * out.head, NULL,
                                  scratch->sdpa, scratch->sdpa_bytes, error))
                    return false;
            }
        NormJob job = norm_job(out, exchanged ? scratch->scores.k : scratch->scores.q, shape->H);
        norm_scores(context, &job, NULL, shape->B, shape->H, shape->hierarchy.n, shape->hierarchy.n_entries,
                    shape->D);
    }
    return true;
}

// Bytes of scratch->sdpa for q, k, v that lie so (only strides are looked at).
static inline bool cuda_lighthouse_sdpa_bytes(Sdpa *sdpa, CudaRows q, CudaRows k, CudaRows v,
                                              const LighthouseShape *shape, bool training, size_t *bytes,
                                              Error *error) {
    SdpaProblem problem = gathered_problem(shape);
    size_t more;
    if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_FORWARD_STATS, bytes, error)) return false;
    if (training) {
        if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_BACKWARD, &more, error)) return false;
        if (more > *bytes) *bytes = more;
    }
    for (int exchanged = 0; exchanged < 2 && shape->config.scorer == SCORER_DILATED; exchanged++) {
        CudaRows out = cuda_rows_packed(NULL, shape->hierarchy.n, shape->H, 0, shape->D, 1);
        problem = dilated_problem(out, q, k, v, exchanged, shape);
        if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_FORWARD, &more, error)) return false;
        if (more > *bytes) *bytes = more;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------------------------
// The layer's parts, in the order of the definition. Tokens q, k, v lie after RoPE as their strides say.

// scores (B, H, E). gate (B, N, H): gla only. `scored`: norm only, the base scores are there already.
static inline bool cuda_lighthouse_score(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch,
                                         CudaRows q, CudaRows k, CudaRows v, const float *gate, bool scored,
                                         const LighthouseShape *shape, Error *error) {
    const Hierarchy *h = &shape->hierarchy;
    switch (shape->config.scorer) {
    case SCORER_NORM:
        if (!scored) {
            NormJob jobs[2] = {norm_job(q, scratch->scores.q, shape->H),
                               norm_job(k, scratch->scores.k, shape->H)};
            norm_scores(context, &jobs[0], &jobs[1], shape->B, shape->H, h->n, h->n_entries, shape->D);
        }
        break;
    case SCORER_DILATED:
        if (!dilated_scores(context, sdpa, scratch, q, k, v, shape, error)) return false;
        break;
    case SCORER_GLA:
        if (!gla_scores(context, scratch->scores, q, k, v, gate, scratch->gla_states, scratch->gla_decays,
                        shape, error))
            return false;
        break;
    }
    pool_scores(context, scratch->scores, shape);
    return true;
}

// Gathered rows of q, k and v.
static inline void cuda_lighthouse_gather(CudaContext *context, const CudaLighthouseRows *rows, CudaRows q,
                                          CudaRows k, CudaRows v, const LighthouseShape *shape) {
    Exchanges exchanges = {
        {exchange(q, rows->q, shape), exchange(k, rows->k, shape), exchange(v, rows->v, shape)}};
    sum_spans(context, &exchanges, 3, false, rows->entries, shape);
}

// out = the sum of the gathered rows that reach each position; zero where none does.
static inline void cuda_lighthouse_scatter(CudaContext *context, CudaRows out, const CudaLighthouseRows *rows,
                                           const LighthouseShape *shape) {
    Exchanges exchanges = {{exchange(out, rows->out, shape)}};
    sum_covers(context, &exchanges, 1, true, rows->positions, shape);
}

// Gradient of the gathered out, dgathered (B, H, S, D), from that of out.
static inline void cuda_lighthouse_scatter_backward(CudaContext *context, bf16 *dgathered, CudaRows dout,
                                                    const CudaLighthouseRows *rows,
                                                    const LighthouseShape *shape) {
    Exchanges exchanges = {{exchange(dout, dgathered, shape)}};
    sum_spans(context, &exchanges, 1, true, rows->entries, shape);
}

// dq, dk, dv = (not +=) from the gradients of the gathered rows in the scratch; summed over the query heads
// of a group.
static inline void cuda_lighthouse_gather_backward(CudaContext *context, CudaRows dq, CudaRows dk,
                                                   CudaRows dv, const CudaLighthouseRows *rows,
                                                   const CudaLighthouseScratch *scratch,
                                                   const LighthouseShape *shape) {
    Exchanges exchanges = {{exchange(dq, scratch->dq, shape), exchange(dk, scratch->dk, shape),
                            exchange(dv, scratch->dv, shape)}};
    sum_covers(context, &exchanges, 3, false, rows->positions, shape);
}

// out (b, h, n) = the Lighthouse layer of q, k, v. Where `imposed` (B, H, S), on the GPU, is given, these
// entries are gathered and nothing is scored.
static inline bool cuda_lighthouse_forward(CudaContext *context, Sdpa *sdpa, CudaRows out,
                                           CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                                           CudaRows q, CudaRows k, CudaRows v, const float *gate, bool scored,
                                           const int32_t *imposed, const LighthouseShape *shape,
                                           Error *error) {
    if (imposed) {
        impose_entries(context, rows->entries, rows->positions, imposed, shape);
    } else {
        if (!cuda_lighthouse_score(context, sdpa, scratch, q, k, v, gate, scored, shape, error)) return false;
        select_entries(context, rows->entries, rows->positions, scratch->scores, shape);
    }
    cuda_lighthouse_gather(context, rows, q, k, v, shape);
    SdpaProblem problem = gathered_problem(shape);
    if (!sdpa_forward(sdpa, &problem, rows->q, rows->k, rows->v, rows->out, rows->lse, scratch->sdpa,
                      scratch->sdpa_bytes, error))
        return false;
    cuda_lighthouse_scatter(context, out, rows, shape);
    return true;
}

// dq, dk, dv = (not +=)
static inline bool cuda_lighthouse_backward(CudaContext *context, Sdpa *sdpa, CudaRows dq, CudaRows dk,
                                            CudaRows dv, CudaRows dout, const CudaLighthouseRows *rows,
                                            CudaLighthouseScratch *scratch, const LighthouseShape *shape,
                                            Error *error) {
    cuda_lighthouse_scatter_backward(context, scratch->dout, dout, rows, shape);
    SdpaProblem problem = gathered_problem(shape);
    if (!sdpa_backward(sdpa, &problem, rows->q, rows->k, rows->v, rows->out, scratch->dout, rows->lse,
                       scratch->dq, scratch->dk, scratch->dv, scratch->sdpa, scratch->sdpa_bytes, error))
        return false;
    cuda_lighthouse_gather_backward(context, dq, dk, dv, rows, scratch, shape);
    return true;
}

#endif
