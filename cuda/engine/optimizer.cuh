// The flat arrays of the CUDA engine, and what the ranks do with them at an update (ZeRO stage 1): gradients
// are summed bucket by bucket beside the backward, each rank updates its share of every bucket's master
// weights, and all gather the bf16 copies. Norms and biases, which kernels read in float32, all ranks hold
// whole. With `shares` (stage 2) gradients are summed so in every backward, and added to the share that a
// rank keeps. What is offloaded of it, master weights and moments, lies in host memory and goes through the
// GPU at an update (pieces.cuh). The twin is cpu/optimizer.h.
#ifndef CUDA_OPTIMIZER_CUH
#define CUDA_OPTIMIZER_CUH

#include "core/ranks/collectives.h"
#include "core/engine/engine.h"
#include "cuda/engine/pieces.cuh"
#include "cuda/kernels/adamw.cuh"
#include "cuda/device/parts.cuh"

// Weights that are not kept as they are given, by several ranks or in host memory, go through a buffer of as
// many elements at a time.
#define OPTIMIZER_PIECE (1 << 20)

typedef struct {
    const ParamTable *table;
    Ranks *ranks;       // NULL or one: all of it is this rank's
    Collectives *queue; // NULL when alone
    cudaStream_t stream;
    CudaPartClock *clock;
    bool shares;               // of gradients too, a rank keeps its share alone
    Masters masters;           // (trained_size / ranks) each, bucket by bucket; alone that is flat
    CudaPieces pieces;         // room: of those that lie in host memory
    float *gradients;          // (trained_size) flat; with `shares` (trained_size / ranks), as moments
    float *room;               // with `shares`: whole gradients of buckets on their way (gradient_room.h)
    bf16 *copies;              // (trained_size) flat, of all weights
    float *vectors;            // (vectors_size) where `weights` of the masters are not all here
    float *piece;              // (OPTIMIZER_PIECE) likewise
    GradientNorm *norm;        // (1)
    double *partial, *squares; // (SQUARES_SLICES), (1)
    int sums_begun; // buckets whose sum over the ranks has begun, from the last bucket on: since the last
                    // update, with `shares` in the last pass
} CudaOptimizer;

// Lists the arrays of this table; masters and copies come first.
void cuda_optimizer_plan(CudaOptimizer *o, MemoryPlan *plan, const EngineConfig *config);

// Likewise those in host memory.
void cuda_optimizer_plan_host(CudaOptimizer *o, MemoryPlan *plan);

// Once both plans are bound and the GPU's is zero.
void cuda_optimizer_start(CudaOptimizer *o);
// Before the memory is given back.
void cuda_optimizer_stop(CudaOptimizer *o);

// Before the first gradient of a pass: opens the last bucket. Before the first one of another bucket, in
// their order: opens it, its gradients zero with `shares`.
void cuda_optimizer_begin_pass(CudaOptimizer *o);
void cuda_optimizer_open(CudaOptimizer *o, int bucket);

// Where a pass adds up the gradient of a parameter, whose bucket is open.
float *cuda_optimizer_whole_gradient(const CudaOptimizer *o, const Param *param);

// Begins to sum a bucket's gradients over the ranks; each bucket once before an update, with `shares` once in
// a pass, from the last to the first. Its gradients must not be touched until then.
void cuda_optimizer_begin_sum(CudaOptimizer *o, int bucket);

// Clips, updates, zeroes the gradients; o->norm holds the norm on the GPU when the stream is done. Nothing
// else has changed where that is not finite, or where the update is skipped.
void cuda_optimizer_update(CudaOptimizer *o, const AdamW *adamw);

// The float32 weights of a norm or a bias, as kernels read them; NULL where the model has none.   (cols)
const float *cuda_optimizer_vector(const CudaOptimizer *o, ParamRole role, int layer);

// Where this rank keeps element `start`, of its share, of a trained parameter, and whether that is in host
// memory.
bool cuda_optimizer_on_host(const CudaOptimizer *o, TensorKind kind, const Param *param);
float *cuda_optimizer_tensor(CudaOptimizer *o, TensorKind kind, const Param *param, int64_t start);

// Sets elements of a trained parameter's weights, on every rank alike.   in: (count) in host memory, until
// the stream is done
void cuda_optimizer_write(CudaOptimizer *o, const Param *param, int64_t start, int64_t count,
                          const float *in);

#endif
