// Where a run starts: its folder, and the checkpoint that it goes on from or begins with.
#ifndef CORE_TRAIN_RUN_START_H
#define CORE_TRAIN_RUN_START_H

#include "core/options/options.h"
#include "core/train/run_record.h"

#ifdef __cplusplus
extern "C" {
#endif

// Fills folder, checkpoint, verified, continues, again and newest of a run that is zero but for its ranks.
// They choose the checkpoint together. A folder that holds what is somebody else's is refused (status 2).
bool run_find_start(Run *run, const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
