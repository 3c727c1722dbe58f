// The learning rate of every update, and which attention it runs under.
#ifndef CORE_TRAIN_SCHEDULE_H
#define CORE_TRAIN_SCHEDULE_H

#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Update s (from 0): a linear warm-up, lr min(1, (s+1)/warmup), then as --schedule says, down to --min-lr at
// the last.
double schedule_lr(const Options *options, int64_t step);

// Whether what goes up and down leaves each other room. Refused (status 2): a warm-up that leaves no update
// to decay in, or reaches into the decay; a resumed run that began so goes on, with a warning. Warned of: a
// warm-up as long as the run, an lr of zero, and validations or checkpoints asked for at steps that the run
// does not have.
bool schedule_check(const Options *options, Error *error);

// Lighthouse or dense: --attention, and --switch-at.
Attention schedule_attention(const Options *options, int64_t step);

// Updates that the run will have made at its end: --steps, or --stop-at.
int64_t schedule_end(const Options *options);

// Updates that are left after `step` of them, the last of which is the unit: dense ones behind a switch are
// more, by their FLOPs.
double schedule_left(const Options *options, const EngineConfig *config, int64_t step);

#ifdef __cplusplus
}
#endif
#endif
