// Shards: opened, read at every kind of cursor, and shown by `info --verify`.
#include "harness.h"

#include "core/commands/info.h"
#include "dataloader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define VOCAB 320
#define ROWS  3

// Some sequences at a cursor; every token must be one of the vocabulary.
static void read_at(DataLoader *loader, int64_t cursor) {
    Error error;
    memset(&error, 0, sizeof error);
    int64_t count = ROWS * (loader->seq_len + 1);
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    DataPlace place = {cursor, (int64_t)loader->shuffles};
    if (dataloader_read(loader, place, ROWS, tokens, &error)) {
        for (int64_t i = 0; i < count; i++)
            fuzz_must(tokens[i] >= 0 && tokens[i] < VOCAB, "a token beyond the vocabulary");
    } else {
        fuzz_refused(&error);
    }
    free(tokens);
}

void fuzz_shard(const char *folder, const uint8_t *data, size_t size) {
    static const int64_t lengths[] = {1, 7, 100};
    // Twice the same, so that sequences go from shard to shard.
    fuzz_write(folder, "train_00000.bin", data, size);
    fuzz_write(folder, "train_00001.bin", data, size);
    char *pattern = path_join(folder, "train_*.bin");
    Error error;
    memset(&error, 0, sizeof error);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        DataLoader loader;
        if (!dataloader_open(&loader, pattern, lengths[i], VOCAB, &error)) {
            fuzz_refused(&error);
            break;
        }
        for (int64_t s = 0; s < loader.n_shards; s++) {
            const ShardHeader *header = &loader.shards[s].header;
            fuzz_must(header->n_tokens >= 0 && header->n_tokens <= (int64_t)size &&
                          SHARD_HEADER_SIZE + header->n_tokens * header->token_bytes == (int64_t)size,
                      "more tokens than the file holds");
        }
        int64_t last = loader.n_tokens - lengths[i];
        DataPlaces end = {{{INT64_MAX, 0}}, {0}};
        if (i > 0) dataloader_shuffle(&loader, size);
        read_at(&loader, 0);
        read_at(&loader, last - 1);
        read_at(&loader, last);
        read_at(&loader, INT64_MAX);
        dataloader_advance(&loader, &end, ROWS);
        dataloader_close(&loader);
    }
    FILE *null = fopen("/dev/null", "w");
    if (!info_path(null, folder, true, &error)) fuzz_refused(&error);
    fclose(null);
    free(pattern);
}

size_t fuzz_shard_mend(uint8_t *data, size_t size, size_t room, unsigned choice) {
    (void)room;
    if (size < SHARD_HEADER_SIZE) return size;
    uint64_t width = data[12] == 4 ? 4 : 2;
    memcpy(data, SHARD_MAGIC, 8);
    if (choice % 4) shard_put(data + 8, 4, SHARD_VERSION);
    if (choice % 3) shard_put(data + 16, 8, (size - SHARD_HEADER_SIZE) / width);
    if (choice % 2) shard_put(data + 32, 8, XXH3_64bits(data + SHARD_HEADER_SIZE, size - SHARD_HEADER_SIZE));
    shard_put(data + 56, 8, XXH3_64bits(data, 56));
    return size;
}
