// The shards of `pack`: how many, their names, and documents as their tokens.
#ifndef CORE_PACK_PACK_SHARD_H
#define CORE_PACK_PACK_SHARD_H

#include "core/pack/pack_config.h"
#include "core/data/shard.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PACK_MAX_SHARDS 100000 // of a split: their names have five digits

// How many shards so many tokens make; status 2 where that are too many.
bool pack_shards_plan(const PackConfig *config, double tokens, int64_t *count, Error *error);

// Bytes of a token in the shards.
int pack_shard_width(const PackConfig *config);

// The tokens of a document of so many bytes: a text, between its marks, or ids.
int64_t pack_shard_tokens(const PackConfig *config, size_t size);

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
