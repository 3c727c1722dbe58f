// Shards for tests; see shards.h.
#include "shards.h"

#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/data/shard.h"

#include <stdio.h>
#include <stdlib.h>

static void check(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

void shard_make(const char *path, int token_bytes, const int32_t *tokens, int64_t count) {
    Error error;
    ShardWriter writer;
    check(shard_writer_open(&writer, path, token_bytes, &error), &error);
    check(shard_writer_append(&writer, tokens, count, &error), &error);
    for (int64_t i = 0; i < count; i++) writer.header.n_documents += tokens[i] == 256;
    check(shard_writer_close(&writer, &error), &error);
}

void shard_make_counting(const char *path, int token_bytes, int64_t start, int64_t count, int64_t modulo) {
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    for (int64_t i = 0; i < count; i++) tokens[i] = (int32_t)((start + i) % modulo);
    shard_make(path, token_bytes, tokens, count);
    free(tokens);
}

int32_t *shards_load(const char *pattern, int64_t *count) {
    Error error;
    PathList paths;
    ByteBuffer tokens = {NULL, 0, 0};
    check(paths_glob(pattern, &paths, &error), &error);
    *count = 0;
    for (int64_t i = 0; i < paths.count; i++) {
        Shard shard;
        check(shard_open(&shard, paths.paths[i], &error), &error);
        bool bytes = shard.header.content == SHARD_BYTES;
        check(shard_verify(&shard, bytes ? 258 : INT64_MAX, &error), &error);
        size_t size = (size_t)shard.header.n_tokens * sizeof(int32_t);
        check(shard_read(&shard, 0, shard.header.n_tokens, INT64_MAX,
                         (int32_t *)(void *)bytes_reserve(&tokens, size), &error),
              &error);
        tokens.size += size;
        *count += shard.header.n_tokens;
        shard_close(&shard);
    }
    paths_free(&paths);
    return (int32_t *)(void *)tokens.data;
}

int64_t shards_text(const int32_t *tokens, int64_t count, char *bytes) {
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] >= 0 && tokens[i] < 256) bytes[n_bytes++] = (char)tokens[i];
    return n_bytes;
}

void file_flip_bit(const char *path, int64_t offset) {
    FILE *file = fopen(path, "r+b");
    bool ok = file && fseek(file, (long)offset, offset < 0 ? SEEK_END : SEEK_SET) == 0;
    int byte = ok ? fgetc(file) : EOF;
    ok = byte != EOF && fseek(file, (long)offset, offset < 0 ? SEEK_END : SEEK_SET) == 0 &&
         fputc(byte ^ 4, file) != EOF && fclose(file) == 0;
    if (!ok) abort();
}
