// A shard that is in a set twice: a copy beside it, or a link.
#ifndef CORE_DATA_SHARD_TWICE_H
#define CORE_DATA_SHARD_TWICE_H

#include "core/data/shard.h"

#ifdef __cplusplus
extern "C" {
#endif

// Warns of shards among those that `pattern` matched that hold the same tokens, and names two of them.
void shard_twice_warn(const char *pattern, const Shard *shards, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
