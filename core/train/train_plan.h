// What a training run will take, printed before it begins, and by --dry-run: parameters, FLOPs, bytes between
// ranks, the step time to expect, memory.
#ifndef CORE_TRAIN_TRAIN_PLAN_H
#define CORE_TRAIN_TRAIN_PLAN_H

#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double peak_flops; // of the device, 0 where it is not known
    bool saves_beside; // host memory suffices for a copy to save while training goes on
} TrainPlan;

// Error (status 4) where it does not fit, with what would.
bool train_plan_print(const Options *options, const EngineConfig *config, const EngineApi *api,
                      TrainPlan *plan, Error *error);

#ifdef __cplusplus
}
#endif
#endif
