// Texts for `pack`: JSON lines, plain text of any encoding, gzip and zstd of both, and a folder of them.
#include "harness.h"

#include "core/base/file_kind.h"
#include "core/base/files.h"
#include "core/commands/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Packs one input, and holds the shards against the report.
static void pack_input(const char *folder, const char *name, bool shuffle, double max_bad) {
    char *input = path_join(folder, name), *out = path_join(folder, "out");
    PackConfig config = fuzz_pack_config((const char **)&input, out);
    config.val_fraction = 0.25;
    config.seed = 1;
    config.shuffle = shuffle;
    config.max_bad_fraction = max_bad;
    config.document_end = -1;
    PackReport report;
    Error error;
    memset(&error, 0, sizeof error);
    if (pack_run(&config, &report, &error)) {
        fuzz_must(report.train.tokens + report.val.tokens ==
                      report.train.bytes + report.val.bytes +
                          2 * (report.train.documents + report.val.documents),
                  "tokens that are no bytes or marks");
        FILE *null = fopen("/dev/null", "w");
        fuzz_must(info_path(null, out, true, &error), "a shard that is no shard");
        fclose(null);
    } else {
        fuzz_refused(&error);
        PathList shards;
        fuzz_must(!folder_exists(out) || (folder_match(out, "*.bin", &shards, &error) && shards.count == 0),
                  "a shard is left after an error");
    }
    fuzz_must(tree_remove(out, &error), "the output cannot be removed");
    free(input);
    free(out);
}

void fuzz_documents(const char *folder, const uint8_t *data, size_t size) {
    const FileKind *kind = file_kind_of((const char *)data, size);
    if (kind && (kind->reader == FILE_GZIP || kind->reader == FILE_ZSTD)) {
        fuzz_write(folder, "lines.jsonl", data, size);
        fuzz_write(folder, "folder/text", data, size);
        pack_input(folder, "lines.jsonl", false, 1);
    } else {
        fuzz_write(folder, "lines.jsonl", data, size);
        fuzz_write(folder, "folder/lines.json", data, size);
        fuzz_write(folder, "folder/deep/text.md", data, size);
        pack_input(folder, "lines.jsonl", false, 0.5);
    }
    pack_input(folder, "folder", true, 1);
}
