// The files that `pack` reads: folders walked, formats told apart, sizes known before the first document.
#ifndef CORE_PACK_INPUT_H
#define CORE_PACK_INPUT_H

#include "error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *path;
    int64_t index; // among the inputs, from 0
    // One document a line: .jsonl, .ndjson and .json, before .gz; a .json in a folder only when one of its
    // first lines is a document. Any other file is one document.
    bool json_lines;
    bool gzip;        // told by its first bytes
    bool from_folder; // found by walking a folder: skipped when it turns out binary (holds a zero byte)
    int64_t size;     // bytes as they lie on disk
} PackInput;

typedef struct {
    PackInput *files;
    int64_t count;
    int64_t bytes;        // sum of the sizes
    int64_t binary_files; // files in folders left out because their first bytes are binary
} PackInputs;

// Lists the named files, and for a named folder every file below it, sorted by path: hidden entries left out,
// symbolic links followed unless they lead round in a loop. A name that does not exist or cannot be read is
// an error (3). `token_bytes`: 0 for text; else every file holds ids of this width, and nothing else tells
// its format but the ending .gz.
bool pack_inputs_list(const char **names, int n_names, int token_bytes, PackInputs *inputs, Error *error);
void pack_inputs_free(PackInputs *inputs);

// About how many tokens the inputs make: exact for uncompressed text and ids, from samples for JSON and gzip,
// and the same on every machine.
bool pack_inputs_estimate(const PackInputs *inputs, int token_bytes, int64_t *tokens, Error *error);

#ifdef __cplusplus
}
#endif
#endif
