// The flat arrays of the CPU engine, and what the ranks do with them at an update (ZeRO stage 1): gradients
// are summed bucket by bucket, each rank updates its share of every bucket, and all gather the weights. With
// `shares` (stage 2) they are summed so in every backward, and added to the share that a rank keeps.
#ifndef CPU_OPTIMIZER_H
#define CPU_OPTIMIZER_H

#include "core/ranks/collectives.h"
#include "core/engine/engine.h"
#include "core/engine/parts.h"
#include "cpu/real.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const ParamTable *table;
    Ranks *ranks;       // NULL or one: all of it is this rank's
    Collectives *queue; // NULL when alone
    PartClock *clock;
    bool shares;             // of gradients too, a rank keeps its share alone
    real *weights;           // (trained_size)
    real *gradients;         // (trained_size); with `shares` (trained_size / ranks), bucket by bucket
    real *room;              // with `shares`: whole gradients of buckets on their way (gradient_room.h)
    real *moment1, *moment2; // (trained_size / ranks), bucket by bucket
    int sums_begun; // buckets whose sum over the ranks has begun, from the last bucket on: since the last
                    // update, with `shares` in the last pass
} Optimizer;

// Before the first gradient of a pass: opens the last bucket. Before the first one of another bucket, in
// their order: opens it, its gradients zero with `shares`.
void optimizer_begin_pass(Optimizer *optimizer);
void optimizer_open(Optimizer *optimizer, int bucket);

// Where a pass adds up the gradient of a parameter, whose bucket is open.
real *optimizer_whole_gradient(const Optimizer *optimizer, const Param *param);

// Begins to sum a bucket's gradients over the ranks; each bucket once before an update, with `shares` once in
// a pass, from the last to the first. Its gradients must not be touched until then.
void optimizer_begin_sum(Optimizer *optimizer, int bucket);

// engine_update.
bool optimizer_update(Optimizer *optimizer, const AdamW *adamw, double *grad_norm, Error *error);

// Where a rank keeps element `start` of a parameter's gradient (this rank's share begins there or before) or
// moment.
real *optimizer_gradient(Optimizer *optimizer, const Param *param, int64_t start);
real *optimizer_moment(Optimizer *optimizer, TensorKind kind, const Param *param, int64_t start);

#ifdef __cplusplus
}
#endif
#endif
