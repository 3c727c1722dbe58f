// The shards of `pack`: how many, their names, and documents as their tokens; see pack_shard.h.
#include "core/pack/pack_shard.h"

#include "core/base/files.h"
#include "core/pack/pack_ids.h"
#include "core/model/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

#define TOKENS_AT_ONCE 4096

bool pack_shards_plan(const PackConfig *config, double tokens, int64_t *count, Error *error) {
    double wanted = tokens / (double)config->shard_tokens + 0.5;
    if (wanted > PACK_MAX_SHARDS) {
        return error_set(error, STATUS_USAGE,
                         "%.0f tokens make %.0f shards, over %d: use --shard-tokens %.0f", tokens, wanted,
                         PACK_MAX_SHARDS, 2 * tokens / PACK_MAX_SHARDS);
    }
    *count = wanted < 1 ? 1 : (int64_t)wanted;
    return true;
}

int pack_shard_width(const PackConfig *config) {
    return config->id_bytes > 0 && config->vocab > 1 << 16 ? 4 : 2;
}

int64_t pack_shard_tokens(const PackConfig *config, size_t size) {
    return config->id_bytes > 0 ? (int64_t)size / config->id_bytes : (int64_t)size + 2;
}

char *pack_shard_path(const char *folder, const char *split, int64_t number) {
    char name[64];
    snprintf(name, sizeof name, "%s_%05lld.bin", split, (long long)number);
    return path_join(folder, name);
}

bool pack_shard_open(ShardWriter *writer, const PackConfig *config, const char *folder, const char *split,
                     int64_t number, Error *error) {
    bool ids = config->id_bytes > 0;
    char *path = pack_shard_path(folder, split, number);
    bool ok = shard_writer_open(writer, path, pack_shard_width(config), error);
    writer->header.content = ids ? SHARD_IDS : SHARD_BYTES;
    free(path);
    return ok;
}

// BOS, the bytes of a text, EOS.
static bool append_text(ShardWriter *writer, const char *text, size_t size, Error *error) {
    const int32_t bos = TOKEN_BOS, eos = TOKEN_EOS;
    int32_t tokens[TOKENS_AT_ONCE];
    if (!shard_writer_append(writer, &bos, 1, error)) return false;
    for (size_t start = 0; start < size; start += TOKENS_AT_ONCE) {
        size_t count = size - start < TOKENS_AT_ONCE ? size - start : TOKENS_AT_ONCE;
        for (size_t i = 0; i < count; i++) tokens[i] = (unsigned char)text[start + i];
        if (!shard_writer_append(writer, tokens, (int64_t)count, error)) return false;
    }
    return shard_writer_append(writer, &eos, 1, error);
}

static bool append_ids(ShardWriter *writer, const char *ids, size_t count, int width, Error *error) {
    int32_t tokens[TOKENS_AT_ONCE];
    for (size_t start = 0; start < count; start += TOKENS_AT_ONCE) {
        size_t here = count - start < TOKENS_AT_ONCE ? count - start : TOKENS_AT_ONCE;
        for (size_t i = 0; i < here; i++) {
            tokens[i] = (int32_t)text_id(ids + (start + i) * (size_t)width, width);
        }
        if (!shard_writer_append(writer, tokens, (int64_t)here, error)) return false;
    }
    return true;
}

bool pack_shard_add(ShardWriter *writer, const PackConfig *config, const char *text, size_t size,
                    Error *error) {
    int width = config->id_bytes;
    writer->header.n_documents++;
    return width > 0 ? append_ids(writer, text, size / (size_t)width, width, error)
                     : append_text(writer, text, size, error);
}
