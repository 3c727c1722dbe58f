// What a GPU leaves in host memory. Of activations: the inputs of blocks, from their forward to their
// backward; the GPU then holds two of them, whichever layer it is at. Of the optimizer: float32 weights and
// moments, which go through the GPU piece by piece at an update (update_pieces.h).
#ifndef CORE_ENGINE_OFFLOAD_H
#define CORE_ENGINE_OFFLOAD_H

#include "core/base/choice.h"
#include "core/engine/context.h"

#ifdef __cplusplus
extern "C" {
#endif

// Of these values the bits are what is offloaded.
#define OFFLOADS(X)                       \
    X(OFFLOAD_NONE, "none")               \
    X(OFFLOAD_ACTIVATIONS, "activations") \
    X(OFFLOAD_OPTIMIZER, "optimizer")     \
    X(OFFLOAD_ALL, "all")
enum { OFFLOADS(CHOICE_VALUE) };
extern const Choice OFFLOAD_CHOICES[];

// What a configuration offloads, as of OFFLOADS.
static inline int offload_of(const EngineConfig *config) {
    return (config->offload_activations ? OFFLOAD_ACTIVATIONS : 0) |
           (config->offload_optimizer ? OFFLOAD_OPTIMIZER : 0);
}
static inline void offload_set(EngineConfig *config, int offload) {
    config->offload_activations = (offload & OFFLOAD_ACTIVATIONS) != 0;
    config->offload_optimizer = (offload & OFFLOAD_OPTIMIZER) != 0;
}

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

// Whether weights and moments in float32 lie in host memory.
static inline bool offload_masters(const EngineConfig *config) {
    return config->training && config->offload_optimizer;
}

// Bytes of them that an update of this rank moves from host memory, and as many back.
double offload_update_bytes(const EngineConfig *config);

#ifdef __cplusplus
}
#endif
#endif
