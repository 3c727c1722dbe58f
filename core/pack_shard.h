// One shard of `pack`: its name, and documents as its tokens.
#ifndef CORE_PACK_SHARD_H
#define CORE_PACK_SHARD_H

#include "pack.h"
#include "shard.h"

#ifdef __cplusplus
extern "C" {
#endif

// "folder/train_00000.bin"; release with free().
char *pack_shard_path(const char *folder, const char *split, int64_t number);

bool pack_shard_open(ShardWriter *writer, const PackConfig *config, const char *folder, const char *split,
                     int64_t number, Error *error);
// Adds a document: a text, between its marks, or ids as they came.
bool pack_shard_add(ShardWriter *writer, const PackConfig *config, const char *text, size_t size,
                    Error *error);

#ifdef __cplusplus
}
#endif
#endif
