// What the `info` command shows: this build, or what a path holds.
#ifndef CORE_COMMANDS_INFO_H
#define CORE_COMMANDS_INFO_H

#include "core/engine/engine.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// Version, compiler, libraries, and the engine that --device auto would take.
void info_build(FILE *out, const EngineApi *engine);

// A shard, a folder of shards, a checkpoint, a model folder or a run; `verify` reads all of it and holds it
// against its hashes. Status 3 when it is none of these or damaged.
bool info_path(FILE *out, const char *path, bool verify, Error *error);

// Each of several, whatever is wrong with others; the first error is the result.
bool info_paths(FILE *out, char *const *paths, int64_t count, bool verify, Error *error);

#ifdef __cplusplus
}
#endif
#endif
