// The Lighthouse layer on the GPU: score, select, order, gather, attend, scatter, and their backwards.
// Source: "Long Context Pre-Training with Lighthouse Attention", arXiv 2605.06554. Its twin, step by step, is
// cpu/lighthouse.c.
//
// - score: norms of rows (usually by RoPE, cuda/kernels/rope.cuh), of dilated attention, or of the gla
//   recurrence (cuda/kernels/gla.cuh); maxima for the coarser levels (cuda/kernels/score.cuh)
// - select, order: one launch (cuda/kernels/select.cuh)
// - gather: each selected entry's row is the mean of q, k, v over its span; here
// - attend: causal attention of the S gathered rows (sdpa.cuh)
// - scatter: each position sums the rows that cover it, shifted for causality; here
//
// Others include cuda/kernels/lighthouse_layer.cuh, which declares what they call.
//
// What is different where ranks share the sequences is in cuda/kernels/lighthouse_cp.cuh: there gathered
// rows lie packed as they are exchanged, so that gather and scatter read and write them in place.
//
// The gather and the backward of the scatter are one kernel: rows that sum a span of tokens. The scatter and
// the backward of the gather are the other, its transpose: tokens that sum the rows covering them. Each
// output is written once by one thread, in a fixed order of additions: no atomics, the same bits every run.
#ifndef LIGHTHOUSE_CUH
#define LIGHTHOUSE_CUH

#include "cuda/kernels/lighthouse_layer.cuh"
#include "cuda/kernels/lighthouse_cp.cuh"
#include "cuda/kernels/select.cuh"

// ---------------------------------------------------------------------------------------------------------------
// Between tokens and gathered rows. LANES neighbouring lanes take a row, of which D / 8 hold 8 elements each.

#define SPAN_THREADS  128
#define SPAN_LOADS    4 // rows of a long span whose loads are under way at once
#define COVER_THREADS 256
#define COVER_LEVELS  2 // levels whose rows are looked up and loaded at once

// One tensor as tokens and as gathered rows; a launch treats up to three, one after the other along
// blockIdx.x. Heads come first there, then tiles of rows or tokens; blockIdx.y is the sequence: blocks that
// run at once work on neighbouring tokens of all heads, which lie side by side.
typedef struct {
    CudaRows tokens; // (b, h, n)
    bf16 *rows;      // (B, H, S, D); or EXCHANGED, as the launch's ExchangedRows say
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
template <int D, bool SHIFTED, bool EXCHANGED>
static __global__ void __launch_bounds__(SPAN_THREADS)
    sum_spans_kernel(const __grid_constant__ Exchanges exchanges, const int32_t *entries /* (B, H, S) */,
                     const __grid_constant__ Levels levels, int H, unsigned heads /* of all jobs */,
                     const __grid_constant__ ExchangedRows exchanged) {
    const int LANES = row_lanes(D / 8);
    int index = 0, head = (int)(blockIdx.x % heads), b = blockIdx.y, lane = threadIdx.x % LANES;
    while (head >= H) head -= H, index++;
    const Exchange &job = exchanges.job[index];
    int s = (int)(blockIdx.x / heads) * (SPAN_THREADS / LANES) + threadIdx.x / LANES;
    if (s >= levels.selected || lane >= D / 8) return;
    int64_t row = ((int64_t)b * H + head) * levels.selected + s;
    int entry = entries[row], level = 0;
    while (entry >= levels.offset[level + 1]) level++;
    int span = 1 << levels.log_pool * level;
    int64_t t = (int64_t)(entry - levels.offset[level]) * span + (SHIFTED ? span - 1 : 0);
    int64_t end = min(t + span, (int64_t)levels.n), step = job.tokens.row / 8;
    const Bf16x8 *token = cuda_rows_at(job.tokens, b, head, t, lane);
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
    ((Bf16x8 *)(job.rows + (EXCHANGED ? exchanged_row<D>(exchanged, b, head, s) : row * D)))[lane] =
        pack(sum);
}

// On every level but the finest: adds the row that covers the neighbours from `unit` on, if there is one, to
// the sum of each; the coarsest level first. Where an entry begins before the slice, its row is the halo's.
// position: (E), rows: (S, D), halo: (L-1, D) or NULL, of one head; words of a row are `step` apart
template <int D, bool SHIFTED, int SUMS>
static inline __device__ void add_coarse_covers(float (&sum)[SUMS][8], int unit, const int32_t *position,
                                                const uint4 *rows, int64_t step, const uint4 *halo,
                                                const Levels &levels) {
    const int HALO = INT_MAX;
#pragma unroll 1
    for (int top = levels.levels - 1; top > 0; top -= COVER_LEVELS) {
        int s[COVER_LEVELS];
        uint4 x[COVER_LEVELS];
#pragma unroll
        for (int i = 0; i < COVER_LEVELS; i++) {
            int level = top - i, entry = (unit >> levels.log_pool * level) - SHIFTED;
            s[i] = level > 0 && entry >= 0 ? position[levels.offset[level] + entry] : -1;
            if (SHIFTED && halo && level > 0 && entry < 0) s[i] = HALO;
        }
#pragma unroll
        for (int i = 0; i < COVER_LEVELS; i++) {
            const uint4 *row = rows + s[i] * step;
            if (SHIFTED && halo && s[i] == HALO) row = halo + (top - i - 1) * (D / 8);
            if (s[i] >= 0) x[i] = *row;
        }
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
// has t + SHIFTED = `unit`, a multiple of TOKENS. The lanes of a row take them together and read these rows
// once; of one head alone the sum of these rows, too, is the same for all.
template <int D, bool SHIFTED, bool GROUPED, int TOKENS, bool EXCHANGED>
static __global__ void __launch_bounds__(COVER_THREADS, GROUPED ? 5 : 6)
    sum_covers_kernel(const __grid_constant__ Exchanges exchanges,
                      const int32_t *__restrict__ positions /* (B, H, E) */,
                      const __grid_constant__ Levels levels, int H, unsigned heads /* of all jobs */,
                      const __grid_constant__ ExchangedRows exchanged) {
    const int VECTORS = D / 8, LANES = row_lanes(VECTORS), SUMS = GROUPED ? TOKENS : 1;
    int index = 0, token_head = (int)(blockIdx.x % heads), b = blockIdx.y, lane = threadIdx.x % LANES;
    while (token_head >= exchanges.job[index].heads) token_head -= exchanges.job[index++].heads;
    const Exchange &job = exchanges.job[index];
    int unit = (int)(blockIdx.x / heads * (COVER_THREADS / LANES) + threadIdx.x / LANES) * TOKENS;
    int t = unit - SHIFTED, share = GROUPED ? job.tokens.share : 1;
    if (t >= levels.n || lane >= VECTORS) return;
    int64_t head = (int64_t)b * H + token_head * share;
    const int32_t *position = positions + head * levels.entries;
    int64_t first =
        EXCHANGED ? exchanged_row<D>(exchanged, b, token_head * share, 0) : head * levels.selected * D;
    const int64_t row_step =
        EXCHANGED ? exchanged.row / 8 : VECTORS; // of neighbouring rows, and below of a rank's heads
    const int64_t head_step = EXCHANGED ? VECTORS : (int64_t)levels.selected * VECTORS;
    const uint4 *rows = (const uint4 *)(job.rows + first) + lane, *halo = NULL;
    if (EXCHANGED && SHIFTED) halo = (const uint4 *)(exchanged.halo + head * (levels.levels - 1) * D) + lane;
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
                x[i] = s[i] >= 0 ? rows[s[i] * row_step] : make_uint4(0, 0, 0, 0);
        };
        if (GROUPED) load(); // at once with the coarser rows, for which one head alone lacks the registers
        add_coarse_covers<D, SHIFTED>(sum, unit, position, rows, row_step, halo, levels);
        if (!GROUPED) load();
#pragma unroll
        for (int i = 0; i < TOKENS; i++)
            if (GROUPED && s[i] >= 0) add(sum[i % SUMS], x[i], 1);
        position += levels.entries, rows += head_step;
        // Where ranks are more than the key/value heads, the next query head may be another rank's.
        if (EXCHANGED && GROUPED && (token_head * share + reader + 1) % exchanged.own == 0)
            rows += exchanged.rank / 8 - (int64_t)exchanged.own * VECTORS;
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

template <int D>
static inline void sum_spans_of(CudaContext *context, const Exchanges *exchanges, unsigned heads,
                                bool shifted, const int32_t *entries, const LighthouseShape *shape,
                                const ExchangedRows *exchanged) {
    Levels levels = levels_of(&shape->hierarchy);
    const ExchangedRows none = {0, 0, 0, 0, NULL};
    auto kernel = exchanged
                      ? (shifted ? sum_spans_kernel<D, true, true> : sum_spans_kernel<D, false, true>)
                      : (shifted ? sum_spans_kernel<D, true, false> : sum_spans_kernel<D, false, false>);
    int64_t tiles = ceil_div(levels.selected, SPAN_THREADS / row_lanes(D / 8));
    kernel<<<dim3(heads * (unsigned)tiles, (unsigned)shape->B), SPAN_THREADS, 0, context->stream>>>(
        *exchanges, entries, levels, (int)shape->H, heads, exchanged ? *exchanged : none);
    CUDA_CHECK(cudaGetLastError());
}

// `exchanged`: how the gathered rows lie; NULL: (B, H, S, D)
static inline void sum_spans(CudaContext *context, const Exchanges *exchanges, int count, bool shifted,
                             const int32_t *entries, const LighthouseShape *shape,
                             const ExchangedRows *exchanged) {
    assert(head_width_known(shape->D));
    auto launch = FOR_HEAD_WIDTH(shape->D, sum_spans_of);
    launch(context, exchanges, (unsigned)(count * shape->H), shifted, entries, shape, exchanged);
}

template <int D, bool SHIFTED, bool GROUPED, bool EXCHANGED>
static inline void launch_covers(CudaContext *context, const Exchanges *exchanges, unsigned heads,
                                 const int32_t *positions, const LighthouseShape *shape,
                                 const ExchangedRows *exchanged) {
    Levels levels = levels_of(&shape->hierarchy);
    const ExchangedRows none = {0, 0, 0, 0, NULL};
    // GROUPED, each token has a sum of its own: more than two of them would take too many registers.
    const int MOST = GROUPED ? 2 : 4;
    int tokens = levels.log_pool == 1 ? 2 : MOST;
    auto kernel = tokens == 2 ? sum_covers_kernel<D, SHIFTED, GROUPED, 2, EXCHANGED>
                              : sum_covers_kernel<D, SHIFTED, GROUPED, MOST, EXCHANGED>;
    int64_t tiles = ceil_div(levels.n + SHIFTED, tokens * COVER_THREADS / row_lanes(D / 8));
    kernel<<<dim3(heads * (unsigned)tiles, (unsigned)shape->B), COVER_THREADS, 0, context->stream>>>(
        *exchanges, positions, levels, (int)shape->H, heads, exchanged ? *exchanged : none);
    CUDA_CHECK(cudaGetLastError());
}

template <int D>
static inline void sum_covers_of(CudaContext *context, const Exchanges *exchanges, unsigned heads,
                                 bool shifted, bool grouped, const int32_t *positions,
                                 const LighthouseShape *shape, const ExchangedRows *exchanged) {
    auto launch =
        shifted ? (exchanged ? launch_covers<D, true, false, true> : launch_covers<D, true, false, false>)
        : grouped
            ? (exchanged ? launch_covers<D, false, true, true> : launch_covers<D, false, true, false>)
            : (exchanged ? launch_covers<D, false, false, true> : launch_covers<D, false, false, false>);
    launch(context, exchanges, heads, positions, shape, exchanged);
}

// `exchanged`: how the gathered rows lie, and where `shifted` their halos; NULL: (B, H, S, D)
static inline void sum_covers(CudaContext *context, const Exchanges *exchanges, int count, bool shifted,
                              const int32_t *positions, const LighthouseShape *shape,
                              const ExchangedRows *exchanged) {
    unsigned heads = 0;
    bool grouped = false;
    for (int i = 0; i < count; i++) {
        heads += (unsigned)exchanges->job[i].heads;
        grouped = grouped || exchanges->job[i].tokens.share > 1;
    }
    assert(head_width_known(shape->D) && !(shifted && grouped));
    auto launch = FOR_HEAD_WIDTH(shape->D, sum_covers_of);
    launch(context, exchanges, heads, shifted, grouped, positions, shape, exchanged);
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

SdpaProblem cuda_lighthouse_attention_problem(const LighthouseShape *shape, const CudaCp *cp) {
    return cp ? exchanged_problem(shape, cp->size) : gathered_problem(shape);
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

// Base scores, the first N of the n_entries of each head.
static inline bool dilated_scores(CudaContext *context, Sdpa *sdpa, LighthouseScores scores,
                                  const CudaLighthouseScratch *scratch, CudaRows q, CudaRows k, CudaRows v,
                                  const LighthouseShape *shape, Error *error) {
    CudaRows out = dilated_rows(scratch, shape);
    for (int exchanged = 0; exchanged < 2; exchanged++) {
        SdpaProblem problem = dilated_problem(out, q, k, v, exchanged, shape);
        for (int64_t b = 0; b < shape->B; b++)
            for (int64_t j = 0; j < (exchanged ? shape->share : 1); j++) {
                const bf16 *query = q.data + b * q.batch + j * q.head, *key = k.data + b * k.batch;
                if (!cuda_sdpa_forward(sdpa, &problem, exchanged ? key : query, exchanged ? query : key,
                                       v.data + b * v.batch, out.data + b * out.batch + j * out.head, NULL,
                                       scratch->sdpa, scratch->sdpa_bytes, error))
                    return false;
            }
        NormJob job = norm_job(out, exchanged ? scores.k : scores.q, shape->H);
        norm_scores(context, &job, NULL, shape->B, shape->H, shape->hierarchy.n, shape->hierarchy.n_entries,
                    shape->D);
    }
    return true;
}

// The same where ranks share the sequences: the subsequences need all rows, so each rank scores its heads.
// q, k, v: of one packed (B, n, H + 2 KV, D)
static inline bool cp_dilated_scores(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch,
                                     CudaRows q, CudaRows k, CudaRows v, const LighthouseShape *shape,
                                     Error *error) {
    int64_t P = scratch->cp->size, D = shape->D, kv_heads = shape->H / shape->share;
    int64_t attended = context_heads(kv_heads, P), KV = attended / P;
    LighthouseShape whole = *shape;
    whole.H = shape->H / P;
    whole.share = shape->H / attended;
    whole.hierarchy.n = whole.hierarchy.n_entries = shape->hierarchy.n * P;
    assert(k.data == q.data + shape->H * D && v.data == k.data + kv_heads * D && q.row == v.row);
    cp_exchange_tokens(context, scratch, q.data, shape);
    int64_t N = whole.hierarchy.n, H = whole.H, heads = H + 2 * KV, share = whole.share;
    LighthouseScores scores = {scratch->whole_scores, scratch->whole_scores + shape->B * H * N};
    if (!dilated_scores(context, sdpa, scores, scratch,
                        cuda_rows_packed(scratch->whole_qkv, N, heads, 0, D, 1),
                        cuda_rows_packed(scratch->whole_qkv, N, heads, H, D, share),
                        cuda_rows_packed(scratch->whole_qkv, N, heads, H + KV, D, share), &whole, error))
        return false;
    cp_return_scores(context, scratch, shape);
    return true;
}

bool cuda_lighthouse_sdpa_bytes(Sdpa *sdpa, CudaRows q, CudaRows k, CudaRows v, const LighthouseShape *shape,
                                bool training, size_t *bytes, Error *error) {
    SdpaProblem problem = gathered_problem(shape);
    size_t more;
    if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_FORWARD_STATS, bytes, error)) return false;
    if (training) {
        if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_BACKWARD, &more, error)) return false;
        if (more > *bytes) *bytes = more;
    }
    for (int exchanged = 0; exchanged < 2 && lighthouse_scorer(&shape->config)->attends; exchanged++) {
        CudaRows out = cuda_rows_packed(NULL, shape->hierarchy.n, shape->H, 0, shape->D, 1);
        problem = dilated_problem(out, q, k, v, exchanged, shape);
        if (!sdpa_workspace_bytes(sdpa, &problem, SDPA_FORWARD, &more, error)) return false;
        if (more > *bytes) *bytes = more;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Base scores of every scorer; core/model/scorers.def lists them, cpu/scorers.c has the twins.

// What a scorer reads: q, k, v after RoPE; the gate (B, N, H) of scorers that have one; `scored`: the kernel
// of RoPE has written its scores already.
typedef struct {
    CudaRows q, k, v;
    const float *gate;
    bool scored;
} ScorerInput;

static inline bool cuda_norm_scores(CudaContext *context, Sdpa *, CudaLighthouseScratch *scratch,
                                    const ScorerInput *in, const LighthouseShape *shape, Error *) {
    if (in->scored) return true;
    NormJob q = norm_job(in->q, scratch->scores.q, shape->H),
            k = norm_job(in->k, scratch->scores.k, shape->H);
    norm_scores(context, &q, &k, shape->B, shape->H, shape->hierarchy.n, shape->hierarchy.n_entries,
                shape->D);
    return true;
}

static inline bool cuda_dilated_scores(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch,
                                       const ScorerInput *in, const LighthouseShape *shape, Error *error) {
    return scratch->cp
               ? cp_dilated_scores(context, sdpa, scratch, in->q, in->k, in->v, shape, error)
               : dilated_scores(context, sdpa, scratch->scores, scratch, in->q, in->k, in->v, shape, error);
}

static inline bool cuda_gla_scores(CudaContext *context, Sdpa *, CudaLighthouseScratch *scratch,
                                   const ScorerInput *in, const LighthouseShape *shape, Error *error) {
    GlaHanded handed = {scratch->cp, scratch->gla_before, scratch->gla_after};
    return gla_scores(context, scratch->scores, in->q, in->k, in->v, in->gate, scratch->gla_states,
                      scratch->gla_decays, &handed, shape, error);
}

typedef bool (*CudaBaseScores)(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch,
                               const ScorerInput *in, const LighthouseShape *shape, Error *error);

static const CudaBaseScores CUDA_SCORES[SCORER_COUNT] = {
#define SCORER(ID, name, ...) cuda_##name##_scores,
#include "core/model/scorers.def"
#undef SCORER
};

// ---------------------------------------------------------------------------------------------------------------
// The layer's parts, in the order of the definition.

bool cuda_lighthouse_score(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch, CudaRows q,
                           CudaRows k, CudaRows v, const float *gate, bool scored,
                           const LighthouseShape *shape, Error *error) {
    ScorerInput in = {q, k, v, gate, scored};
    if (!CUDA_SCORES[shape->config.scorer](context, sdpa, scratch, &in, shape, error)) return false;
    pool_scores(context, scratch->scores, shape);
    return true;
}

void cuda_lighthouse_gather(CudaContext *context, const CudaLighthouseRows *rows,
                            const CudaLighthouseScratch *scratch, CudaRows q, CudaRows k, CudaRows v,
                            const LighthouseShape *shape) {
    Exchanges exchanges = {
        {exchange(q, rows->q, shape), exchange(k, rows->k, shape), exchange(v, rows->v, shape)}};
    if (!scratch->cp) {
        sum_spans(context, &exchanges, 3, false, rows->entries, shape, NULL);
        return;
    }
    ExchangedRows exchanged = exchanged_rows(scratch, 3, shape);
    for (int i = 0; i < 3; i++) exchanges.job[i].rows = scratch->cp->packed + i * exchanged.own * shape->D;
    sum_spans(context, &exchanges, 3, false, rows->entries, shape, &exchanged);
}

void cuda_lighthouse_scatter(CudaContext *context, CudaRows out, const CudaLighthouseRows *rows,
                             const CudaLighthouseScratch *scratch, const LighthouseShape *shape) {
    if (!scratch->cp) {
        Exchanges exchanges = {{exchange(out, rows->out, shape)}};
        sum_covers(context, &exchanges, 1, true, rows->positions, shape, NULL);
        return;
    }
    cp_return_rows(context, rows, scratch, shape);
    Exchanges exchanges = {{exchange(out, scratch->cp->packed, shape)}};
    ExchangedRows exchanged = exchanged_rows(scratch, 1, shape);
    sum_covers(context, &exchanges, 1, true, rows->positions, shape, &exchanged);
}

void cuda_lighthouse_scatter_backward(CudaContext *context, CudaRows dout, const CudaLighthouseRows *rows,
                                      const CudaLighthouseScratch *scratch, const LighthouseShape *shape) {
    if (!scratch->cp) {
        Exchanges exchanges = {{exchange(dout, scratch->dout, shape)}};
        sum_spans(context, &exchanges, 1, true, rows->entries, shape, NULL);
        return;
    }
    cp_send_halo(context, dout, scratch, shape);
    Exchanges exchanges = {{exchange(dout, scratch->cp->packed, shape)}};
    ExchangedRows exchanged = exchanged_rows(scratch, 1, shape);
    sum_spans(context, &exchanges, 1, true, rows->entries, shape, &exchanged);
    cp_add_halo(context, rows, scratch, shape);
}

void cuda_lighthouse_gather_backward(CudaContext *context, CudaRows dq, CudaRows dk, CudaRows dv,
                                     const CudaLighthouseRows *rows, const CudaLighthouseScratch *scratch,
                                     const LighthouseShape *shape) {
    Exchanges exchanges = {{exchange(dq, scratch->dq, shape), exchange(dk, scratch->dk, shape),
                            exchange(dv, scratch->dv, shape)}};
    if (!scratch->cp) {
        sum_covers(context, &exchanges, 3, false, rows->positions, shape, NULL);
        return;
    }
    ExchangedRows exchanged = exchanged_rows(scratch, 3, shape);
    for (int i = 0; i < 3; i++) exchanges.job[i].rows = scratch->cp->packed + i * exchanged.own * shape->D;
    sum_covers(context, &exchanges, 3, false, rows->positions, shape, &exchanged);
}

bool cuda_lighthouse_attend(Sdpa *sdpa, const CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                            const LighthouseShape *shape, Error *error) {
    if (scratch->cp) return cp_attend(sdpa, rows, scratch, shape, error);
    SdpaProblem problem = gathered_problem(shape);
    return cuda_sdpa_forward(sdpa, &problem, rows->q, rows->k, rows->v, rows->out, rows->lse, scratch->sdpa,
                             scratch->sdpa_bytes, error);
}

bool cuda_lighthouse_attend_backward(Sdpa *sdpa, const CudaLighthouseRows *rows,
                                     CudaLighthouseScratch *scratch, const LighthouseShape *shape,
                                     Error *error) {
    if (scratch->cp) return cp_attend_backward(sdpa, rows, scratch, shape, error);
    SdpaProblem problem = gathered_problem(shape);
    return cuda_sdpa_backward(sdpa, &problem, rows->q, rows->k, rows->v, rows->out, scratch->dout, rows->lse,
                              scratch->dq, scratch->dk, scratch->dv, scratch->sdpa, scratch->sdpa_bytes,
                              error);
}

bool cuda_lighthouse_forward(CudaContext *context, Sdpa *sdpa, CudaRows out, CudaLighthouseRows *rows,
                             CudaLighthouseScratch *scratch, CudaRows q, CudaRows k, CudaRows v,
                             const float *gate, bool scored, const int32_t *forced,
                             const LighthouseShape *shape, Error *error) {
    if (forced) {
        force_entries(context, rows->entries, rows->positions, forced, shape);
    } else {
        if (!cuda_lighthouse_score(context, sdpa, scratch, q, k, v, gate, scored, shape, error)) return false;
        select_entries(context, rows->entries, rows->positions, scratch->scores, shape);
    }
    cuda_lighthouse_gather(context, rows, scratch, q, k, v, shape);
    if (!cuda_lighthouse_attend(sdpa, rows, scratch, shape, error)) return false;
    cuda_lighthouse_scatter(context, out, rows, scratch, shape);
    return true;
}

bool cuda_lighthouse_backward(CudaContext *context, Sdpa *sdpa, CudaRows dq, CudaRows dk, CudaRows dv,
                              CudaRows dout, const CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                              const LighthouseShape *shape, Error *error) {
    cuda_lighthouse_scatter_backward(context, dout, rows, scratch, shape);
    if (!cuda_lighthouse_attend_backward(sdpa, rows, scratch, shape, error)) return false;
    cuda_lighthouse_gather_backward(context, dq, dk, dv, rows, scratch, shape);
    return true;
}

#endif
