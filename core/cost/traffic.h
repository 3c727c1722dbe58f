// Bytes that a rank sends to others in one update.
#ifndef CORE_COST_TRAFFIC_H
#define CORE_COST_TRAFFIC_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// How an engine moves things. First come bytes of an element.
typedef struct {
    int gradient, weight, activation;
    int halo_gradient;    // of the rows that reach past a slice
    int score, state;     // of the scorers `dilated` and `gla`
    bool scores_together; // `dilated` exchanges q, k and v once for both scores, not once for each
    bool scatters_again;  // of a run that ends in several layers of Lighthouse rows come back a second time
} Transport;

extern const Transport TRANSPORT_CPU, TRANSPORT_CUDA;

typedef struct {
    double gradients; // the reduce-scatter, as often as traffic_sums
    double weights;   // the all-gather
    double attention; // sequence exchanged for heads and back, scores of `dilated` included
    double halos;     // rows that reach past a slice, and the state of `gla`
} Traffic;

// How often an update sums the gradients of all buckets.
static inline int64_t traffic_sums(const EngineConfig *config) {
    return config->share_gradients && config->micro_steps > 1 ? config->micro_steps : 1;
}

// `sequences` of this rank's sequences an update, through forward and backward under one attention.
Traffic traffic_update(const EngineConfig *config, Attention attention, int64_t sequences,
                       const Transport *by);

static inline double traffic_total(const Traffic *t) {
    return t->gradients + t->weights + t->attention + t->halos;
}

#ifdef __cplusplus
}
#endif
#endif
