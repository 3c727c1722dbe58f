// The CPU engine's kernels, each the readable twin of one on the GPU.
//
// Shapes: B sequences of N tokens, `rows` = B N where sequences do not matter; C model width, H query heads,
// KV key/value heads, D head width, F feed-forward width, V vocabulary. All matrices are row-major. Every
// kernel splits its work by shape alone, never by the number of threads, so that the result is the same for
// any number of them.
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include "cpu/context.h"
#include "cpu/real.h"
#include "cpu/rows.h"

#include "core/model/hierarchy.h"
#include "core/model/rope_scaling.h"
#include "core/engine/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- matmul.c: linear layers without bias

// Where the rows of a forward product stand: B sequences, of each the N rows from `first` on. A BLAS computes
// a row in one way or another by its place in a call and by the call's size. So sequences are cut at fixed
// positions, multiples of ROW_TILE, and each piece is one place in calls of one size: a row of a slice then
// has the bits that it has in the whole.
typedef struct {
    int64_t B, N;
    int64_t
        first; // UNPLACED: the rows are compared with no others, and calls are no larger than they must be
} Places;
#define UNPLACED (-1)
#define ROW_TILE 128

// out (rows, n_out) = in (rows, n_in) weight^T, weight: (n_out, n_in)
void cpu_matmul_forward(real *out, const real *in, const real *weight, Places places, int64_t n_in,
                        int64_t n_out);
// din (rows, n_in) = dout weight, added to what is there where `accumulate`
void cpu_matmul_backward_input(real *din, const real *dout, const real *weight, int64_t rows, int64_t n_in,
                               int64_t n_out, bool accumulate);
// dweight (n_out, n_in) += dout^T in
void cpu_matmul_backward_weight(real *dweight, const real *dout, const real *in, int64_t rows, int64_t n_in,
                                int64_t n_out);

// ---- rmsnorm.c

// out = weight x / rms(x); rstd (rows) = 1 / rms(x) is kept for the backward.   x, out: (rows, C)
void cpu_rmsnorm_forward(real *out, real *rstd, const real *x, const real *weight, int64_t rows, int64_t C,
                         double eps);
#define RMSNORM_SLICES 32 // the rows are summed for dweight in this many slices; partial: (slices, C)
// dx += gradient through the norm; dweight (C) += its own
void cpu_rmsnorm_backward(real *dx, real *dweight, double *partial, const real *dout, const real *x,
                          const real *weight, const real *rstd, int64_t rows, int64_t C);

// ---- rope.c: rotary position embedding, rotate-half layout

// Angles in float64, of a head of D.   cosines, sines: (N, D/2)
void cpu_rope_table(real *cosines, real *sines, int64_t N, int64_t D, const RopeFrequencies *frequencies);
// Rotates x (B, N, heads, D) in place; row n of a sequence stands at position first + n.
void cpu_rope_forward(real *x, const real *cosines, const real *sines, int64_t B, int64_t N, int64_t heads,
                      int64_t D, int64_t first);
void cpu_rope_backward(real *dx, const real *cosines, const real *sines, int64_t B, int64_t N, int64_t heads,
                       int64_t D, int64_t first);

// ---- bias.c

// x (rows, C) += bias (C) in every row
void cpu_bias_forward(real *x, const real *bias, int64_t rows, int64_t C);
// dbias += the sum of the rows of dout (rows, C)
void cpu_bias_backward(real *dbias, const real *dout, int64_t rows, int64_t C);

// ---- swiglu.c

// out = silu(gate) up, all (rows, F)
void cpu_swiglu_forward(real *out, const real *gate, const real *up, int64_t count);
void cpu_swiglu_backward(real *dgate, real *dup, const real *dout, const real *gate, const real *up,
                         int64_t count);

// ---- embedding.c

// out (rows, C) = weight[token]; token of row (b, n) is tokens[b * token_stride + n]
void cpu_embedding_forward(real *out, const int32_t *tokens, int64_t token_stride, const real *weight,
                           int64_t B, int64_t N, int64_t C);
void cpu_embedding_backward(real *dweight, const real *dout, const int32_t *tokens, int64_t token_stride,
                            int64_t B, int64_t N, int64_t C);

// ---- cross_entropy.c: head and loss, in chunks of rows so that the logits never exist at once

#define HEAD_CHUNK 256 // rows, a multiple of ROW_TILE; logits: (HEAD_CHUNK, V)
// nats[i] = -log softmax(x head^T)[target] of row i; returns the sum over all rows. targets as the tokens of
// cpu_embedding_forward. With dx (rows, C) given, also dx = and dhead (V, C) += the gradient of that sum
// times `scale`.
double cpu_cross_entropy(double *nats, real *dx, real *dhead, real *logits, const real *x, const real *head,
                         const int32_t *targets, int64_t target_stride, Places places, int64_t C, int64_t V,
                         double scale);

// ---- sdpa.c: causal softmax attention without an N x N buffer (Dao, "FlashAttention-2", 2023)

// out = softmax(q k^T / sqrt(D)) v; query n sees keys 0 … n_k - n_q + n. lse (B, H, n_q), the log of each
// row's sum of exponentials, is kept for the backward where not NULL. D <= 128.
void cpu_sdpa_forward(Rows out, real *lse, Rows q, Rows k, Rows v, int64_t B, int64_t H, int64_t n_q,
                      int64_t n_k, int64_t D);
// dq, dk, dv = (not +=), n_q = n_k = n. workspace: sdpa_backward_workspace() elements
void cpu_sdpa_backward(Rows dq, Rows dk, Rows dv, Rows dout, Rows out, const real *lse, Rows q, Rows k,
                       Rows v, real *workspace, int64_t B, int64_t H, int64_t n, int64_t D);
int64_t sdpa_backward_workspace(int64_t B, int64_t H, int64_t share, int64_t n, int64_t D);

// ---- gla.c: scores of the gla scorer

// gate (rows, H) = logsigmoid(x weight^T + bias) / 16;  x: (rows, C), weight: (H, C), bias: (H)
void gla_gate(real *gate, const real *x, const real *weight, const real *bias, Places places, int64_t C,
              int64_t H);
// score[b, h, t] = |o_t|, o_t = q_t^T S_t / sqrt(D), S_t = exp(g_t) S_(t-1) + k_t v_t^T, within each of the
// `dilation` subsequences. score: (B, H, score_stride), the first N of each written; gate: (B, N, H). states
// (B, H, dilation, D, D), where given, holds the S before the first token, and then that after the last.
void gla_score(real *score, int64_t score_stride, Rows q, Rows k, Rows v, const real *gate, double *states,
               int64_t B, int64_t H, int64_t N, int64_t D, int64_t dilation);

// ---- lighthouse.c: the Lighthouse layer

// What a layer keeps from its forward pass to its backward. E entries, S of them selected; see
// core/model/hierarchy.h. Where P ranks share the sequences, these are the slice's, and what attention reads
// and writes is exchanged: rows of all slices, heads of this rank.
typedef struct {
    int32_t *entries;   // (B, H, S) absolute entry index of each gathered row, in post-order
    int32_t *positions; // (B, H, E) row of each entry, -1 where it is not selected
    real *q, *k, *v;    // (B, H, S, D) gathered rows; exchanged: (B, S P, H / P, D)
    real *out;          // likewise their attention
    real *lse;          // (B, H, S); exchanged: (B, H / P, S P)
} LighthouseRows;

// What is free again when the call returns, shared by all layers.
typedef struct {
    real *score_q, *score_k;   // (B, H, E)
    uint8_t *expanded;         // (B, H, E) 1: the children of this entry are selected
    real *dilated;             // (B, N, H, D), dilated scorer only: attention of the subsequences
    real *dout, *dq, *dk, *dv; // (B, H, S, D), backward only
    real *sdpa;                // workspace of cpu_sdpa_backward on S rows
    // Only where ranks share the sequences:
    const CpuCp *cp; // else NULL
    real *exchanged_q, *exchanged_k,
        *exchanged_v;                  // forward: (B, H, S, D); backward: gradients (B, S P, H / P, D)
    real *exchanged_out;               // likewise
    real *halo, *halo_out;             // (B, H, L-1, D) rows that reach past a slice's end
    real *whole_q, *whole_k, *whole_v; // (B, N P, H / P, D), (B, N P, KV / P, D), dilated scorer only
    real *whole_score;                 // (B, N P, H / P), dilated scorer only
    double *gla_states;                // (2, B, H, dilation, D, D), gla scorer only
} LighthouseScratch;

void lighthouse_plan_rows(MemoryPlan *plan, LighthouseRows *rows, const LighthouseShape *shape,
                          int64_t layers);
// `cp`: where ranks share the sequences, of which `shape` is then a slice; else NULL.
void lighthouse_plan_scratch(MemoryPlan *plan, LighthouseScratch *scratch, const LighthouseShape *shape,
                             bool training, const CpuCp *cp);

// out (B, N, H, D) = the Lighthouse layer of q, k, v (token-major, after RoPE). gate (B, N, H): gla only.
// Where `forced` (B, H, S) is given, these entries are gathered and nothing is scored.
void lighthouse_forward(Rows out, LighthouseRows *rows, LighthouseScratch *scratch, Rows q, Rows k, Rows v,
                        const real *gate, const int32_t *forced, const LighthouseShape *shape);
// dq, dk, dv = (not +=)
void lighthouse_backward(Rows dq, Rows dk, Rows dv, Rows dout, const LighthouseRows *rows,
                         LighthouseScratch *scratch, const LighthouseShape *shape);

// Its parts, in the order of the definition.
void lighthouse_score(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                      const LighthouseShape *shape);
void lighthouse_select(LighthouseScratch *scratch, const LighthouseShape *shape);
void lighthouse_order(LighthouseRows *rows, const LighthouseScratch *scratch, const LighthouseShape *shape);
void lighthouse_gather(real *gathered, Rows x, const int32_t *entries, const LighthouseShape *shape);
// halo (B, H, L-1, D), NULL at the beginning of a sequence: for levels 1 to L-1 the row of the last entry
// of the slice before, zero where it is not selected.
void lighthouse_scatter(Rows out, const real *gathered, const int32_t *positions, const real *halo,
                        const LighthouseShape *shape);
void lighthouse_scatter_backward(real *dgathered, Rows dout, const int32_t *entries,
                                 const LighthouseShape *shape);
// dx = sum over the query heads that share each head of x
void lighthouse_gather_backward(Rows dx, const real *dgathered, const int32_t *positions,
                                const LighthouseShape *shape);

// ---- lighthouse_cp.c: what is different where P ranks share the sequences, each with a slice of them

void lighthouse_plan_cp(MemoryPlan *plan, LighthouseScratch *scratch, const LighthouseShape *shape,
                        const CpuCp *cp);
// The scores of the scorers that look along the whole sequence. Score rows: (B, H, E), the first n of each
// Attention of the gathered rows in scratch->exchanged_q, _k, _v; the result is in scratch->exchanged_out.
// Back: from scratch->dout to scratch->dq, dk, dv.
void lighthouse_cp_attend(LighthouseRows *rows, LighthouseScratch *scratch, const LighthouseShape *shape);
void lighthouse_cp_attend_backward(const LighthouseRows *rows, LighthouseScratch *scratch,
                                   const LighthouseShape *shape);
// The rows that reach into this slice from the one before, NULL for the first slice; and their gradient back:
// what the next slice saw of this one's last entries is added to scratch->dout.
const real *lighthouse_cp_halo(LighthouseScratch *scratch, const real *gathered, const int32_t *positions,
                               const LighthouseShape *shape);
void lighthouse_cp_halo_backward(LighthouseScratch *scratch, Rows dout, const int32_t *positions,
                                 const LighthouseShape *shape);
// ---- scorers.c

// Scores of level 0, among those of all entries.   scratch->score_q, score_k: (B, H, E). gate (B, N, H): of
// scorers that have one.
void lighthouse_base_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                            const LighthouseShape *shape);

// ---- adamw.c

// Sum of the squares of gradients, in float64.
double cpu_gradient_squares(const real *gradient, int64_t count);
// One step over the flat arrays; gradients are multiplied by gradient_scale first and are zero afterwards.
void cpu_adamw_update(real *weight, real *gradient, real *moment1, real *moment2, int64_t count,
                      double gradient_scale, int64_t step, double lr, double beta1, double beta2, double eps,
                      double weight_decay);

#ifdef __cplusplus
}
#endif
#endif
