// Files with a fingerprint: size and XXH3-64 of all bytes, taken while writing or by reading again.
#ifndef CORE_BASE_DIGEST_H
#define CORE_BASE_DIGEST_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t size;  // bytes
    uint64_t xxh3; // XXH3-64, seed 0
} Digest;

// Digest of a regular file, read from the start to its end. Error (status 3) when it cannot be read.
bool digest_file(const char *path, Digest *digest, Error *error);

// The same of its size and of samples that lie evenly in it, the first and the last bytes among them: some
// MB. A file of that size is hashed whole.
bool digest_samples(const char *path, Digest *digest, Error *error);

// A new file that is hashed on the way.
typedef struct DigestWriter DigestWriter;

// Creates a file that must not exist yet. NULL on error (status 3).
DigestWriter *digest_writer_create(const char *path, Error *error);
bool digest_writer_append(DigestWriter *writer, const void *bytes, size_t size, Error *error);
// Syncs and closes the file and releases the writer, also on error.
bool digest_writer_finish(DigestWriter *writer, Digest *digest, Error *error);
// Closes and releases without syncing; the unfinished file stays for whoever made its folder to remove.
void digest_writer_abandon(DigestWriter *writer);

#ifdef __cplusplus
}
#endif
#endif
