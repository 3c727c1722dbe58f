// Floating-point operations of the model, as model FLOPs utilisation counts them: 6 a token for every
// parameter but the embedding, and the attention really performed (causal; S rows where Lighthouse).
// Recomputation is not counted.
#ifndef CORE_COST_FLOPS_H
#define CORE_COST_FLOPS_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Forward and backward of one sequence of N tokens; Lighthouse settings must be valid for N where it is asked
// for.
double flops_sequence(const EngineConfig *config, int64_t N, Attention attention);

// The attention alone, of one layer.
double flops_attention(const EngineConfig *config, int64_t N, bool lighthouse);

#ifdef __cplusplus
}
#endif
#endif
