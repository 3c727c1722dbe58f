// What the parts of the CUDA engine share: its structure and its memory plan. Others see core/engine/engine.h
// alone.
#ifndef CUDA_ENGINE_PARTS_CUH
#define CUDA_ENGINE_PARTS_CUH

#include "core/engine/context.h"
#include "cuda/engine/block.cuh"
#include "cuda/libraries/collectives_nccl.cuh"
#include "cuda/kernels/embedding.cuh"
#include "cuda/engine/offload.cuh"
#include "cuda/engine/optimizer.cuh"
#include "cuda/kernels/watch.cuh"

// Host memory that the GPU copies from and to while the host goes on ("pinned").
typedef struct {
    void *arena;
    int32_t *tokens;      // (B, N+1), N tokens of each sequence that lie here
    EmbeddingOrder order; // of the tokens
    int32_t *starts;      // (V+1) scratch of embedding_order
    double *nats;         // (1)
    GradientNorm *norm;   // (1)
} HostBuffers;

typedef struct {
    Engine base;
    LighthouseShape lighthouse; // at the configured batch and context; of a slice where ranks share sequences
    CudaContext context;
    BlockTools tools;
    GpuWatch watch;
    CudaCp cp; // size 1: whole sequences are here
    void *arena;

    CudaOptimizer optimizer;   // weights, gradients, moments
    float *frozen;             // gates of the gla scorer
    int64_t calls;             // of forward_backward since the last update
    CudaBlockActivations acts; // of the first of kept_layers layers
    int64_t kept_layers;       // layers whose activations are kept: all, or one that all share
    int64_t
        attention_slots; // of these, layers whose attention is kept; fewer where Lighthouse scatters again
    int64_t kept_inputs; // block inputs that are kept; layer i reads x[i % kept_inputs]
    CudaOffload offload; // of the other inputs, where these are fewer than layers
    CudaBlockScratch scratch;
    bf16 *x;            // (kept_inputs, rows, C)
    bf16 *dx;           // (rows, C)
    bf16 *logits;       // (cross_entropy_chunk(rows, V), V)
    float *last_logits; // (V), of engine_decode and engine_predict
    double *nats;       // (rows) loss of each target
    double *total_nats; // (1)
    int *nonfinite;     // (1) of engine_find_nonfinite
    int32_t *tokens;    // (B, N+1)
    EmbeddingOrder order;
    float *embedding_partial; // (embedding_max_slots(rows), C)
    void *matmul_workspace;
    HostBuffers host;
    int32_t *forced[MODEL_MAX_LAYERS]; // (B, H, S) allocated when a selection is forced
    CudaPartClock clock;
} CudaEngine;

static inline const CudaCp *cuda_cp_of(const CudaEngine *e) {
    return e->cp.size > 1 ? &e->cp : NULL;
}

// Lists everything the engine holds on the GPU, by purpose; pointers in `e` are set when the plan is bound.
// Without an Sdpa (no GPU here) the workspace of cuDNN is an estimate, and named so.
bool cuda_plan_engine(CudaEngine *e, MemoryPlan *plan, Error *error);

// Likewise the host buffers.
void cuda_plan_host(CudaEngine *e, MemoryPlan *plan);

#endif
