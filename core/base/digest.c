// Files with a fingerprint; see digest.h.
#include "core/base/digest.h"
#include "core/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define READ_BYTES (4 << 20)
#define SAMPLES    1024
#define SAMPLE     4096 // bytes of one

struct DigestWriter {
    int file;
    int64_t size;
    XXH3_state_t *hash;
    char *path;
};

// Hashes all of an open file.
static bool digest_descriptor(int file, const char *path, Digest *digest, Error *error) {
    char *buffer = (char *)alloc_or_exit(READ_BYTES, 1);
    XXH3_state_t *hash = XXH3_createState();
    XXH3_64bits_reset(hash);
    digest->size = 0;
    ssize_t got;
    while ((got = read(file, buffer, READ_BYTES)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        XXH3_64bits_update(hash, buffer, (size_t)got);
        digest->size += got;
    }
    bool ok = got == 0 || error_set_errno(error, STATUS_DATA, "%s: cannot be read", path);
    digest->xxh3 = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    free(buffer);
    return ok;
}

bool digest_file(const char *path, Digest *digest, Error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a named pipe must not make us wait
    if (file < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be opened", path);
    struct stat status;
    bool ok;
    if (fstat(file, &status) != 0) {
        ok = error_set_errno(error, STATUS_DATA, "%s: cannot be read", path);
    } else if (!S_ISREG(status.st_mode)) {
        ok = error_set(error, STATUS_DATA, "%s: not a regular file", path);
    } else {
        ok = digest_descriptor(file, path, digest, error);
    }
    close(file);
    return ok;
}

// Hashes samples of an open file of a size.
static bool samples_descriptor(int file, const char *path, Digest *digest, Error *error) {
    char sample[SAMPLE];
    digest->xxh3 = 0;
    for (int i = 0; i < SAMPLES; i++) {
        int64_t at = (int64_t)((double)(digest->size - SAMPLE) * i / (SAMPLES - 1));
        if (!file_read_at(file, path, at, sample, SAMPLE, error)) return false;
        digest->xxh3 = XXH3_64bits_withSeed(sample, SAMPLE, digest->xxh3);
    }
    return true;
}

bool digest_samples(const char *path, Digest *digest, Error *error) {
    struct stat status;
    if (stat(path, &status) != 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be read", path);
    digest->size = status.st_size;
    if (digest->size <= (int64_t)SAMPLES * SAMPLE) return digest_file(path, digest, error);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be opened", path);
    bool ok = samples_descriptor(file, path, digest, error);
    close(file);
    return ok;
}

DigestWriter *digest_writer_create(const char *path, Error *error) {
    DigestWriter *writer = (DigestWriter *)alloc_or_exit(1, sizeof *writer);
    writer->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (writer->file < 0) {
        error_set_errno(error, STATUS_DATA, "%s: cannot be created", path);
        free(writer);
        return NULL;
    }
    writer->path = copy_or_exit(path);
    writer->hash = XXH3_createState();
    XXH3_64bits_reset(writer->hash);
    return writer;
}

bool digest_writer_append(DigestWriter *writer, const void *bytes, size_t size, Error *error) {
    XXH3_64bits_update(writer->hash, bytes, size);
    writer->size += (int64_t)size;
    return file_append(writer->file, writer->path, bytes, size, error);
}

static void writer_free(DigestWriter *writer) {
    XXH3_freeState(writer->hash);
    free(writer->path);
    free(writer);
}

bool digest_writer_finish(DigestWriter *writer, Digest *digest, Error *error) {
    digest->size = writer->size;
    digest->xxh3 = XXH3_64bits_digest(writer->hash);
    bool ok = fsync(writer->file) == 0;
    if (!ok) error_set_errno(error, STATUS_DATA, "%s: cannot be brought to disk", writer->path);
    if (close(writer->file) != 0 && ok)
        ok = error_set_errno(error, STATUS_DATA, "%s: cannot be brought to disk", writer->path);
    writer_free(writer);
    return ok;
}

void digest_writer_abandon(DigestWriter *writer) {
    close(writer->file);
    writer_free(writer);
}
