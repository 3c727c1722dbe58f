// Writing safetensors files, a piece at a time; see safetensors.h.
#include "core/base/files.h"
#include "core/model/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, and the format is little-endian"
#endif

struct SafetensorsWriter {
    DigestWriter *output;
    SafetensorsType type;
    int64_t missing; // elements that are yet to come
};

// The header, padded with spaces so that the tensors start at a multiple of 8 bytes, behind its length.
// Release with free().
static char *header_create(const SafetensorsSpec *specs, int count, SafetensorsType type, size_t *size,
                           int64_t *elements) {
    const int64_t width = type == SAFETENSORS_BF16 ? 2 : 4;
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    int64_t offset = 0; // bytes
    for (int i = 0; i < count; i++) {
        json_t *shape = json_array();
        int64_t product = 1;
        for (int d = 0; d < specs[i].n_dims; d++) {
            json_array_append_new(shape, json_integer(specs[i].dims[d]));
            product *= specs[i].dims[d];
        }
        int64_t end = offset + product * width;
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type == SAFETENSORS_BF16 ? "BF16" : "F32",
                                  "shape", shape, "data_offsets", (json_int_t)offset, (json_int_t)end);
        json_object_set_new(header, specs[i].name, entry);
        offset = end;
    }
    *elements = offset / width;

    size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    uint64_t padded = (length + 7) / 8 * 8;
    char *bytes = (char *)alloc_or_exit(sizeof padded + padded, 1);
    memset(bytes, ' ', sizeof padded + padded);
    memcpy(bytes, &padded, sizeof padded);
    json_dumpb(header, bytes + sizeof padded, length, JSON_COMPACT);
    json_decref(header);
    *size = sizeof padded + padded;
    return bytes;
}

SafetensorsWriter *safetensors_create(const char *path, const SafetensorsSpec *specs, int count,
                                      SafetensorsType type, Error *error) {
    assert(type == SAFETENSORS_F32 || type == SAFETENSORS_BF16);
    DigestWriter *output = digest_writer_create(path, error);
    if (!output) return NULL;

    SafetensorsWriter *writer = (SafetensorsWriter *)alloc_or_exit(1, sizeof *writer);
    writer->output = output;
    writer->type = type;
    size_t size;
    char *header = header_create(specs, count, type, &size, &writer->missing);
    bool ok = digest_writer_append(output, header, size, error);
    free(header);
    if (ok) return writer;
    safetensors_abandon(writer);
    return NULL;
}

// The nearest bf16, the even one of two; what is no number stays none.
static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

bool safetensors_append(SafetensorsWriter *writer, const float *values, int64_t count, Error *error) {
    assert(count <= writer->missing);
    writer->missing -= count;
    if (writer->type == SAFETENSORS_BF16) {
        uint16_t *halves = (uint16_t *)alloc_or_exit((size_t)count, sizeof *halves);
        for (int64_t i = 0; i < count; i++) halves[i] = to_bf16(values[i]);
        bool ok = digest_writer_append(writer->output, halves, (size_t)count * sizeof *halves, error);
        free(halves);
        return ok;
    }
    return digest_writer_append(writer->output, values, (size_t)count * sizeof(float), error);
}

bool safetensors_finish(SafetensorsWriter *writer, Digest *digest, Error *error) {
    assert(writer->missing == 0);
    bool ok = digest_writer_finish(writer->output, digest, error);
    free(writer);
    return ok;
}

void safetensors_abandon(SafetensorsWriter *writer) {
    digest_writer_abandon(writer->output);
    free(writer);
}

// ---- Files that several processes write

bool safetensors_reserve(const char *path, const SafetensorsSpec *specs, int count, Error *error) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be created", path);
    size_t size;
    int64_t elements;
    char *header = header_create(specs, count, SAFETENSORS_F32, &size, &elements);
    bool ok = file_append(file, path, header, size, error);
    free(header);
    if (ok && ftruncate(file, (off_t)size + elements * (off_t)sizeof(float)) != 0)
        ok = error_set_errno(error, STATUS_DATA, "%s: no room for %lld elements", path, (long long)elements);
    if (close(file) != 0 && ok) ok = error_set_errno(error, STATUS_DATA, "%s: cannot be written", path);
    return ok;
}

bool safetensors_write(const SafetensorsFile *file, int tensor, int64_t start, int64_t count,
                       const float *values, Error *error) {
    assert(start >= 0 && start + count <= file->tensors[tensor].count);
    const char *bytes = (const char *)values;
    off_t at = (off_t)(file->tensors[tensor].begin + start * (int64_t)sizeof *values);
    for (size_t left = (size_t)count * sizeof *values; left > 0;) {
        ssize_t put = pwrite(file->file, bytes, left, at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be written", file->path);
        bytes += put;
        at += put;
        left -= (size_t)put;
    }
    return true;
}

bool safetensors_sync(const SafetensorsFile *file, Error *error) {
    return fsync(file->file) == 0 ||
           error_set_errno(error, STATUS_DATA, "%s: cannot be brought to disk", file->path);
}
