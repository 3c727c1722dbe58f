// Whether the ranks of all hosts share the run's folder.
#ifndef CORE_TRAIN_RUN_SHARED_H
#define CORE_TRAIN_RUN_SHARED_H

#include "core/base/error.h"
#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// The first rank writes a hidden file into the folder, all others look for it, and it is removed. Each rank
// writes its share of a checkpoint there: else the first save would be the first to fail. Status 3 on all
// ranks where one does not see it within seconds, or may not write there. All ranks call it, after run_begin.
bool run_check_shared(const char *folder, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
