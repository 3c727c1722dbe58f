// The step time on paper: what an update would take on H200s, from rates that were measured on one.
//
// Each part's bytes and operations (core/cost/floors.h) go at the rate that the same part has reached in a
// training step; what crosses between ranks (core/cost/traffic.h) goes at the rate of a link
// (core/cost/links.h), and is added where no computing hides it. Where nothing was measured the rate is an
// assumption, and links.c says so. dev/results/prediction.md holds predictions against what was measured.
#ifndef CORE_COST_PREDICT_H
#define CORE_COST_PREDICT_H

#include "core/cost/links.h"
#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double parts[PART_COUNT]; // seconds of an update on each rank
    double communication;     // seconds in which a rank computes nothing, for it waits for others
    double total;
} Prediction;

// Of an update in config->micro_steps micro-steps under one attention, by the ranks of the configuration (one
// where there are none). `ranks_per_host`: GPUs that NVLink connects.
Prediction predict_update(const EngineConfig *config, Attention attention, const Links *links,
                          int ranks_per_host);

// The forward and backward of one layer's attention on config->batch sequences, all on one rank.
double predict_attention(const EngineConfig *config, bool lighthouse);

// Two lines: the time of an update with tokens a second, and its parts.
void predict_print(const EngineConfig *config, Attention attention, const Links *links, int ranks_per_host,
                   FILE *out);

#ifdef __cplusplus
}
#endif
#endif
