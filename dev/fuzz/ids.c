// Files of token ids for `pack --tokens`, two and four bytes wide, plain and gzip.
#include "harness.h"

#include "core/base/files.h"
#include "core/data/shard.h"

#include <stdlib.h>
#include <string.h>

#define VOCAB 1000

static void pack_ids(const char *folder, const char *name, int bytes, int64_t document_end) {
    char *input = path_join(folder, name), *out = path_join(folder, "out");
    PackConfig config = fuzz_pack_config((const char **)&input, out);
    config.id_bytes = bytes;
    config.vocab = VOCAB;
    config.document_end = document_end;
    PackReport report;
    Error error;
    memset(&error, 0, sizeof error);
    if (pack_run(&config, &report, &error)) {
        char *path = path_join(out, "train_00000.bin");
        Shard shard;
        fuzz_must(shard_open(&shard, path, &error) && shard_verify(&shard, VOCAB, &error),
                  "a shard with a fault");
        fuzz_must(shard.header.n_tokens <= report.train.tokens, "tokens that nobody counted");
        shard_close(&shard);
        free(path);
    } else {
        fuzz_refused(&error);
    }
    fuzz_must(tree_remove(out, &error), "the output cannot be removed");
    free(input);
    free(out);
}

void fuzz_ids(const char *folder, const uint8_t *data, size_t size) {
    bool gzip = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
    const char *name = gzip ? "ids.bin.gz" : "ids.bin";
    fuzz_write(folder, name, data, size);
    pack_ids(folder, name, 2, 7);
    pack_ids(folder, name, 4, -1);
    pack_ids(folder, name, 4, 7);
}
