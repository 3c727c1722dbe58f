// The CPU engine's own structure, which its files share.
#ifndef CPU_ENGINE_PARTS_H
#define CPU_ENGINE_PARTS_H

#include "core/engine/context.h"
#include "cpu/block.h"
#include "cpu/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    Engine base;
    LighthouseShape lighthouse; // at the configured batch and context; of a slice where ranks share sequences
    void *arena;

    Optimizer optimizer; // weights, gradients, moments
    real *frozen;
    CpuCp cp;                 // size 1: whole sequences are here
    int64_t calls;            // of forward_backward since the last update
    CpuBlockActivations acts; // of the first of kept_layers layers
    int64_t kept_layers;      // layers whose activations are kept: all, or one that all share
    int64_t kept_inputs;      // block inputs that are kept; layer i reads x[i % kept_inputs]
    CpuBlockScratch scratch;
    real *x;                         // (kept_inputs, rows, C)
    real *final_normed, *final_rstd; // (rows, C), (rows)
    real *dx;                        // (rows, C)
    real *logits;                    // (HEAD_CHUNK, V)
    double *nats;                    // (rows) loss of each target
    const int32_t *forced[MODEL_MAX_LAYERS];
    PartClock clock;
} CpuEngine;

static inline const CpuCp *cpu_cp_of(const CpuEngine *e) {
    return e->cp.size > 1 ? &e->cp : NULL;
}

// Everything the engine holds, by purpose (cpu/engine_plan.c); pointers in `e` are set when the plan is
// bound.
bool cpu_plan_engine(CpuEngine *e, MemoryPlan *plan, Error *error);

#ifdef __cplusplus
}
#endif
#endif
