// Runs of `pack` inside a test, in the present folder: inputs, settings, and what is in the shards.
#ifndef TEST_PACKING_H
#define TEST_PACKING_H

#include "core/pack/pack.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Each makes folders on the way. gzip_append adds a member to a file.
void put_text(const char *path, const char *text);
void gzip_append(const char *path, const char *text);
void gzip_append_bytes(const char *path, const void *bytes, size_t size);
// n lines of JSON; the text of line i is "document i" and i % 50 times " word".
void put_lines(const char *path, int n);

// In order, nothing for validation, shards of a million tokens.
PackConfig packing_config(const char **inputs, int n_inputs, const char *out, int threads);

// The run succeeds, and leaves no working folder.
PackReport packing_run(const PackConfig *config);
// The run fails so, and leaves no file in the output folder.
void packing_fails(const PackConfig *config, int status, const char *part);
// Removes an output folder.
void packing_remove(const char *out);

// Both folders hold files of the same names and bytes.
void expect_same_files(const char *one, const char *other);

// Documents of bytes, read back.
typedef struct {
    char **texts; // each with a zero byte behind it
    size_t *sizes;
    int64_t count;
} Documents;

// The documents of the shards that match, and a check that their tokens are well formed.
Documents documents_load(const char *pattern);
void documents_free(Documents *documents);
void expect_document(const Documents *documents, int64_t i, const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
