// Gates of the scorer gla: frozen, drawn once at the beginning of a run, and kept in its checkpoints. A model
// folder of other programs, and an export, has none.
#ifndef CORE_CHECKPOINT_GATES_H
#define CORE_CHECKPOINT_GATES_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Refuses (status 2) a folder that has no gates, unless the seed of its run draws them; `instead` is what to
// do.
bool gates_check(const char *folder, const char *instead, Error *error);

// Loads those of a checkpoint into an engine that has gates; a folder without leaves them as they were drawn.
bool gates_load(Engine *engine, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
