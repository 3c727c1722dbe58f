// Which products have FP8 operands under --matmul fp8. The CPU engine goes by it; the CUDA engine has no FP8
// yet.
//
// Of a block's products (q, k, v, o, gate, up, down) those take them whose widths are whole blocks of values
// that share a scale. The head, the embedding, attention, norms and the gate of the scorer gla never do.
#ifndef CORE_ENGINE_FP8_RULE_H
#define CORE_ENGINE_FP8_RULE_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Values that share a scale, along the terms of a sum.
#define FP8_BLOCK 128

// Of a linear layer's product and of both of its backward.
static inline bool fp8_takes(int64_t n_in, int64_t n_out) {
    return n_in % FP8_BLOCK == 0 && n_out % FP8_BLOCK == 0;
}

// The names of a block's linear layers that take FP8, or of those that do not, as "q_proj, k_proj"; empty
// where there are none.
typedef struct {
    char text[128];
} Fp8Names;
Fp8Names fp8_names(const ModelConfig *model, bool takes);

// Refuses (status 2) FP8 where no product takes it, and where a backward cannot cut the tokens of a rank into
// blocks: scales would depend on how many ranks share a sequence.
bool fp8_check(const EngineConfig *config, Error *error);

#ifdef __cplusplus
}
#endif
#endif
