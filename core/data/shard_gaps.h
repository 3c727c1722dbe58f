// Shards that are missing from a set: numbers that a sorted list of names leaves out.
#ifndef CORE_DATA_SHARD_GAPS_H
#define CORE_DATA_SHARD_GAPS_H

#include "core/base/files.h"

#ifdef __cplusplus
extern "C" {
#endif

// Warns of shards that are missing among paths that `pattern` matched: numbers between those there are, and
// before the first of `pack`'s names, which begin at 00000. Files that are there and that the pattern leaves
// out are left out on purpose. Names without numbers, and numbers far apart, say nothing.
void shard_gaps_warn(const char *pattern, const PathList *paths);

#ifdef __cplusplus
}
#endif
#endif
