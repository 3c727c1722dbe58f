// What a Lighthouse layer on the GPU holds: its types and their memory plan; see lighthouse.cuh.
#ifndef CUDA_LIGHTHOUSE_ROWS_CUH
#define CUDA_LIGHTHOUSE_ROWS_CUH

#include "core/engine/plan.h"
#include "cuda/kernels/context.cuh"
#include "cuda/kernels/gla.cuh"

// What a layer keeps from its forward pass to its backward. E entries, S of them selected; see
// core/model/hierarchy.h. Where P ranks share the sequences, these are the slice's, and what attention reads
// and writes is exchanged: rows of all slices, heads of this rank, tokens first.
typedef struct {
    int32_t *entries;   // (B, H, S) absolute entry index of each gathered row, in post-order
    int32_t *positions; // (B, H, E) row of each entry, -1 where it is not selected
    bf16 *q, *k, *v; // (B, H, S, D) gathered rows; exchanged: q (B, S P, 3, H / P, D) holds all three, k and
                     // v are NULL
    bf16 *out;       // (B, H, S, D) their attention; exchanged: (B, S P, H / P, D)
    float *lse;      // (B, H, S) its statistics; exchanged: (B, H / P, S P)
} CudaLighthouseRows;

// What is free again when the call returns, shared by all layers.
typedef struct {
    LighthouseScores scores;   // (B, H, E)
    bf16 *dilated;             // (B, N, H, D), dilated scorer only: attention of the subsequences
    float *gla_states;         // gla scorer only, of contexts longer than a segment or shared: see gla_scores
    double *gla_decays;        // likewise
    bf16 *dout, *dq, *dk, *dv; // (B, H, S, D), backward only; exchanged: as out and q above, dk and dv NULL
    void *sdpa;                // workspace of sdpa.cuh, the caller's: it may be that of the dense layers
    size_t sdpa_bytes;         // at least cuda_lighthouse_sdpa_bytes()
    // Only where ranks share the sequences:
    const CudaCp *cp;                    // else NULL
    bf16 *halo, *halo_out;               // (B, H, L-1, D) rows that reach past a slice's end
    float *halo_grad, *halo_grad_out;    // likewise their gradients, backward only
    bf16 *whole_qkv;                     // (B, N P, own + 2 own_kv, D), dilated scorer only: context.cuh
    float *whole_scores, *packed_scores; // (2, B, H / P, N P), dilated scorer only
    float *gla_before, *gla_after;       // (2, B, H, dilation, D, D), gla scorer only: states handed on
} CudaLighthouseScratch;

// ---------------------------------------------------------------------------------------------------------------
// Plan. `cp`: where ranks share the sequences, of which `shape` is then a slice; else NULL.

static inline void cuda_lighthouse_plan_rows(MemoryPlan *plan, CudaLighthouseRows *rows,
                                             const LighthouseShape *shape, int64_t layers, const CudaCp *cp) {
    int64_t heads = layers * shape->B * shape->H, selected = heads * shape->hierarchy.n_selected;
    int64_t own = selected * shape->D, together = cp ? 3 * own : own, apart = cp ? 0 : own;
    const char *purpose = "lighthouse";
    plan_add(plan, (void **)&rows->entries, purpose, "entries", selected, sizeof(int32_t));
    plan_add(plan, (void **)&rows->positions, purpose, "positions", heads * shape->hierarchy.n_entries,
             sizeof(int32_t));
    plan_add(plan, (void **)&rows->q, purpose, cp ? "gathered q, k, v" : "gathered q", together,
             sizeof(bf16));
    plan_add(plan, (void **)&rows->k, purpose, "gathered k", apart, sizeof(bf16));
    plan_add(plan, (void **)&rows->v, purpose, "gathered v", apart, sizeof(bf16));
    plan_add(plan, (void **)&rows->out, purpose, "gathered out", own, sizeof(bf16));
    plan_add(plan, (void **)&rows->lse, purpose, "log-sum-exp", selected, sizeof(float));
}

// What only ranks that share the sequences need.
static inline void plan_cp(MemoryPlan *plan, CudaLighthouseScratch *scratch, const LighthouseShape *shape,
                           bool training, const CudaCp *cp) {
    int64_t heads = shape->B * shape->H, D = shape->D, tokens = heads * shape->hierarchy.n;
    int64_t halo = heads * (shape->hierarchy.levels - 1) * D, grad = training ? halo : 0;
    const ScorerRow *scorer = lighthouse_scorer(&shape->config);
    int64_t attended = tokens / shape->H * context_heads(shape->H / shape->share, cp->size);
    int64_t qkv = scorer->attends ? (tokens + 2 * attended) * D : 0;
    int64_t scores = scorer->attends ? 2 * tokens : 0;
    int64_t states = scorer->recurs ? 2 * heads * shape->config.dilation * D * D : 0;
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->halo, purpose, "halo in", halo, sizeof(bf16));
    plan_add(plan, (void **)&scratch->halo_out, purpose, "halo out", halo, sizeof(bf16));
    plan_add(plan, (void **)&scratch->halo_grad, purpose, "dhalo in", grad, sizeof(float));
    plan_add(plan, (void **)&scratch->halo_grad_out, purpose, "dhalo out", grad, sizeof(float));
    plan_add(plan, (void **)&scratch->whole_qkv, purpose, "dilated q, k, v", qkv, sizeof(bf16));
    plan_add(plan, (void **)&scratch->whole_scores, purpose, "dilated scores", scores, sizeof(float));
    plan_add(plan, (void **)&scratch->packed_scores, purpose, "packed scores", scores, sizeof(float));
    plan_add(plan, (void **)&scratch->gla_before, purpose, "gla states in", states, sizeof(float));
    plan_add(plan, (void **)&scratch->gla_after, purpose, "gla states out", states, sizeof(float));
}

// Everything but the workspace of sdpa.cuh. The halos must be zero when the plan is bound: the first rank
// and the last receive none.
static inline void cuda_lighthouse_plan_scratch(MemoryPlan *plan, CudaLighthouseScratch *scratch,
                                                const LighthouseShape *shape, bool training,
                                                const CudaCp *cp) {
    int64_t heads = shape->B * shape->H, N = shape->hierarchy.n, S = shape->hierarchy.n_selected,
            D = shape->D;
    int64_t entries = heads * shape->hierarchy.n_entries, rows = training ? heads * S * D : 0;
    int64_t together = cp ? 3 * rows : rows, apart = cp ? 0 : rows;
    const ScorerRow *scorer = lighthouse_scorer(&shape->config);
    int64_t dilated = scorer->attends ? heads * N * D : 0, states = 0;
    if (scorer->recurs && (cp || gla_segments(N, shape->config.dilation) > 1))
        states = 2 * heads * shape->config.dilation * gla_segments(N, shape->config.dilation);
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->scores.q, purpose, "query scores", entries, sizeof(float));
    plan_add(plan, (void **)&scratch->scores.k, purpose, "key scores", entries, sizeof(float));
    plan_add(plan, (void **)&scratch->dilated, purpose, "dilated attention", dilated, sizeof(bf16));
    plan_add(plan, (void **)&scratch->gla_states, purpose, "gla states", states * D * D, sizeof(float));
    plan_add(plan, (void **)&scratch->gla_decays, purpose, "gla decays", states, sizeof(double));
    plan_add(plan, (void **)&scratch->dout, purpose, "gathered dout", rows, sizeof(bf16));
    plan_add(plan, (void **)&scratch->dq, purpose, cp ? "gathered dq, dk, dv" : "gathered dq", together,
             sizeof(bf16));
    plan_add(plan, (void **)&scratch->dk, purpose, "gathered dk", apart, sizeof(bf16));
    plan_add(plan, (void **)&scratch->dv, purpose, "gathered dv", apart, sizeof(bf16));
    scratch->cp = cp;
    if (cp) plan_cp(plan, scratch, shape, training, cp);
}

#endif
