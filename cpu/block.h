// One decoder block of the CPU engine, forward and backward, over buffers that the engine planned.
#ifndef CPU_BLOCK_H
#define CPU_BLOCK_H

#include "core/engine.h"
#include "cpu/cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

// One layer's weights, or their gradients.
typedef struct {
    real *attention_norm, *q, *k, *v, *o, *ffn_norm, *gate, *up, *down;
    real *gla_weight, *gla_bias; // NULL without the gla scorer; never a gradient
} BlockWeights;

// What one layer's forward keeps for its backward.   rows = B N, N tokens of each sequence that lie here.
// Where P ranks share the sequences, q, k, v and lse of a dense layer are traded (cpu/context.h): all N P
// tokens of H / P heads.
typedef struct {
    real *attention_normed; // (rows, C)
    real *attention_rstd;   // (rows)
    real *q;                // (B, N, H, D), after RoPE
    real *k, *v;            // (B, N, KV, D), k after RoPE
    real *attention;        // (B, N, H, D)
    real *lse;              // (B, H, N), dense only
    real *traded_out;       // (B, N P, H / P, D), dense only, where ranks share the sequences
    real *mid;              // (rows, C) after the attention's residual addition
    real *ffn_normed;       // (rows, C)
    real *ffn_rstd;         // (rows)
    real *gate, *up, *act;  // (rows, F)
    LighthouseRows lighthouse;
} BlockActivations;

// Buffers that all layers share.
typedef struct {
    real *cosines, *sines; // (positions, D/2)
    real *gla_gate;        // (rows, H)
    LighthouseScratch lighthouse;
    // backward
    real *dnormed;            // (rows, C)
    real *dattention, *dq;    // (B, N, H, D)
    real *dk, *dv;            // (B, N, KV, D)
    real *dact, *dgate, *dup; // (rows, F)
    real *sdpa;               // workspace of sdpa_backward
    double *norm;             // partial sums of rmsnorm_backward
    // Only where ranks share the sequences; sizes of q and k. Forward: q, k, v of the tokens here. Backward:
    // gradients of all tokens, H / P heads.
    real *trade_q, *trade_k, *trade_v, *trade_out;
} BlockScratch;

// One pass over B sequences of N tokens, and how this layer attends in it.
typedef struct {
    const ModelConfig *model;
    int64_t B, N;
    const LighthouseShape *lighthouse; // NULL: dense
    const int32_t *imposed;            // (B, H, S) or NULL
    PartClock *clock;
    int64_t position;          // of the first token
    const ContextSplit *split; // NULL: whole sequences are here
    real *cache_k, *cache_v; // (cache, KV, D) or NULL; dense, B = 1, keys of positions 0 … position + N - 1
} BlockPass;

// x_out (rows, C) = the block of x (rows, C)
void block_forward(real *x_out, const real *x, const BlockWeights *weights, BlockActivations *acts,
                   BlockScratch *scratch, const BlockPass *pass);

// dx holds the gradient of x_out on entry and that of x on return; gradients are added to.
void block_backward(real *dx, const real *x, const BlockWeights *weights, BlockWeights *gradients,
                    BlockActivations *acts, BlockScratch *scratch, const BlockPass *pass);

#ifdef __cplusplus
}
#endif
#endif
