// What a GPU leaves in host memory: the inputs of blocks, from their forward to their backward. The GPU then
// holds two of them, whichever layer it is at.
#ifndef CORE_ENGINE_OFFLOAD_H
#define CORE_ENGINE_OFFLOAD_H

#include "core/engine/context.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OFFLOAD_ON_GPU 2 // inputs that the GPU has room for: that of a block, and the one before or behind it

// Inputs that wait in host memory: of all blocks but the last, whose backward follows its forward.
static inline int64_t offload_inputs(const EngineConfig *config) {
    bool offloads = config->training && config->recompute && config->offload_activations;
    return offloads ? config->model.n_layers - 1 : 0;
}

// Bytes of bf16 that a micro-step of this rank moves to host memory, and as many back.
static inline double offload_bytes(const EngineConfig *config) {
    return 2.0 * (double)(offload_inputs(config) * config->model.dim) * (double)context_rows(config);
}

#ifdef __cplusplus
}
#endif
#endif
