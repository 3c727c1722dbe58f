// What a run is asked for and is not to get, or would not expect; warnings at its start.
#ifndef CORE_TRAIN_RUN_WARN_H
#define CORE_TRAIN_RUN_WARN_H

#include "core/options/options.h"
#include "core/train/run_record.h"

#ifdef __cplusplus
extern "C" {
#endif

// Settings without effect on this run, a learning rate that jumps up where it goes on, and settings of an
// earlier start that are lost.
void run_warn(const Run *run, const Options *options);

#ifdef __cplusplus
}
#endif
#endif
