// One decoder block of the CPU engine, forward and backward, over buffers that the engine planned.
#ifndef CPU_BLOCK_H
#define CPU_BLOCK_H

#include "core/engine/pass.h"
#include "cpu/linear.h"

#ifdef __cplusplus
extern "C" {
#endif

// One layer's weights, or their gradients.
typedef struct {
    real *attention_norm, *q, *k, *v, *o, *ffn_norm, *gate, *up, *down;
    real *q_bias, *k_bias, *v_bias, *q_norm, *k_norm; // NULL where the family has none
    real *gla_weight, *gla_bias;                      // NULL without the gla scorer; never a gradient
} CpuBlockWeights;

// What one layer's forward keeps for its backward.   rows = B N, N tokens of each sequence that lie here.
// Where P ranks share the sequences, q, k, v and lse of a dense layer are exchanged (cpu/context.h): all N P
// tokens of H / P heads, and of the key/value heads that these read.
typedef struct {
    real *attention_normed;    // (rows, C)
    real *attention_rstd;      // (rows)
    real *q;                   // (B, N, H, D), after RoPE
    real *k, *v;               // (B, N, KV, D), k after RoPE; exchanged: (B, N P, own, D), cpu/context.h
    real *q_before, *k_before; // (rows, H, D), (rows, KV, D) before their norm; NULL without
    real *q_rstd, *k_rstd;     // (rows, H), (rows, KV) likewise
    real *attention;           // (B, N, H, D)
    real *lse;                 // (B, H, N), dense only
    real *exchanged_out;       // (B, N P, H / P, D), dense only, where ranks share the sequences
    real *mid;                 // (rows, C) after the attention's residual addition
    real *ffn_normed;          // (rows, C)
    real *ffn_rstd;            // (rows)
    real *gate, *up, *act;     // (rows, F)
    LighthouseRows lighthouse;
} CpuBlockActivations;

// What all layers share.
typedef struct {
    PartClock *clock;
    const CpuCp *cp;         // NULL: whole sequences are here
    real *cache_k, *cache_v; // (layers, cache, KV, D)
    real *cosines, *sines;   // (positions, D/2)
    real *gla_gate;          // (rows, H)
    LighthouseScratch lighthouse;
    CpuFp8 fp8; // NULL pointers without --matmul fp8
    // backward
    real *dnormed;            // (rows, C)
    real *dattention, *dq;    // (B, N, H, D)
    real *dk, *dv;            // (B, N, KV, D)
    real *dhead;              // (B, N, H, D) NULL without norms of heads
    real *dact, *dgate, *dup; // (rows, F)
    real *sdpa;               // workspace of cpu_sdpa_backward
    double *norm;             // partial sums of cpu_rmsnorm_backward
    // Only where ranks share the sequences; sizes of q and k, exchanged. Forward: q, k, v of the tokens here.
    // Backward: gradients of all tokens, H / P heads.
    real *exchanged_q, *exchanged_k, *exchanged_v, *exchanged_out;
} CpuBlockScratch;

// x_out (rows, C) = the block of x (rows, C)
void cpu_block_forward(real *x_out, const real *x, const CpuBlockWeights *weights, CpuBlockActivations *acts,
                       CpuBlockScratch *scratch, const Pass *pass);

// dx holds the gradient of x_out on entry and that of x on return; gradients are added to.
void cpu_block_backward(real *dx, const real *x, const CpuBlockWeights *weights, CpuBlockWeights *gradients,
                        CpuBlockActivations *acts, CpuBlockScratch *scratch, const Pass *pass);

#ifdef __cplusplus
}
#endif
#endif
