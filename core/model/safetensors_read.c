// Reading safetensors files that nobody vouches for; see safetensors.h.
#include "core/model/safetensors.h"

#include "core/base/files.h"
#include "core/base/foreign.h"

#include <assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_MAX_BYTES 100000000 // what the format's own library accepts

typedef struct {
    const char *name;
    SafetensorsType type;
    int64_t bytes;
} TypeName;

static const TypeName type_names[] = {
    {"F32", SAFETENSORS_F32, 4},    {"F16", SAFETENSORS_F16, 2},       {"BF16", SAFETENSORS_BF16, 2},
    {"F64", SAFETENSORS_OTHER, 8},  {"I64", SAFETENSORS_OTHER, 8},     {"U64", SAFETENSORS_OTHER, 8},
    {"I32", SAFETENSORS_OTHER, 4},  {"U32", SAFETENSORS_OTHER, 4},     {"I16", SAFETENSORS_OTHER, 2},
    {"U16", SAFETENSORS_OTHER, 2},  {"I8", SAFETENSORS_OTHER, 1},      {"U8", SAFETENSORS_OTHER, 1},
    {"BOOL", SAFETENSORS_OTHER, 1}, {"F8_E4M3", SAFETENSORS_OTHER, 1}, {"F8_E5M2", SAFETENSORS_OTHER, 1},
};

static bool tensor_error(const SafetensorsFile *file, const char *name, const char *fault, Error *error) {
    return error_set(error, STATUS_DATA, "%s: tensor '%.100s' %s; the file is damaged or not safetensors",
                     file->path, name, fault);
}

// The type's bytes an element; 0 when the format has no such type.
static int64_t type_parse(const char *text, SafetensorsType *type) {
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(text, type_names[i].name) == 0) {
            *type = type_names[i].type;
            return type_names[i].bytes;
        }
    }
    return 0;
}

// Fills dims and count. False when the shape is no list of sizes or its product overflows.
static bool shape_parse(const json_t *shape, SafetensorsTensor *tensor) {
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS) return false;
    tensor->n_dims = (int)json_array_size(shape);
    tensor->count = 1;
    for (int d = 0; d < tensor->n_dims; d++) {
        const json_t *size = json_array_get(shape, (size_t)d);
        if (!json_is_integer(size) || json_integer_value(size) < 0) return false;
        tensor->dims[d] = json_integer_value(size);
        if (__builtin_mul_overflow(tensor->count, tensor->dims[d], &tensor->count)) return false;
    }
    return true;
}

// One entry of the header. `data` and `size` are the bytes before and of the tensors' part of the file.
static bool tensor_parse(const SafetensorsFile *file, const char *name, const json_t *entry, int64_t data,
                         int64_t size, SafetensorsTensor *tensor, Error *error) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (!type || json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return tensor_error(file, name, "has no dtype or data_offsets", error);

    int64_t bytes = type_parse(type, &tensor->type);
    if (bytes == 0) {
        return error_set(
            error, STATUS_DATA,
            "%s: tensor '%.100s' is of dtype %.32s, which is not read; save it in float32, bfloat16 "
            "or float16",
            file->path, name, type);
    }
    if (!shape_parse(json_object_get(entry, "shape"), tensor))
        return tensor_error(file, name, "has an impossible shape", error);

    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin) return tensor_error(file, name, "lies outside the file", error);
    if (end > size)
        return tensor_error(file, name, "lies outside the file, which seems cut short: download it again",
                            error);
    if (__builtin_mul_overflow(tensor->count, bytes, &bytes) || bytes != end - begin)
        return tensor_error(file, name, "has a shape that does not fit its bytes", error);

    tensor->begin = data + begin;
    tensor->end = data + end;
    tensor->name = copy_or_exit(name);
    return true;
}

static int by_place(const void *a, const void *b) {
    const SafetensorsTensor *x = (const SafetensorsTensor *)a, *y = (const SafetensorsTensor *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const SafetensorsTensor *)a)->name, ((const SafetensorsTensor *)b)->name);
}

// Fills the list of tensors, and checks that they lie one behind the other from `data` to the end of the
// file.
static bool tensors_parse(SafetensorsFile *file, json_t *header, int64_t data, int64_t size, Error *error) {
    file->tensors = (SafetensorsTensor *)alloc_or_exit(json_object_size(header), sizeof *file->tensors);
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        if (!tensor_parse(file, name, entry, data, size, &file->tensors[file->count], error)) return false;
        file->count++;
    }

    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_place);
    int64_t expected = data;
    for (int i = 0; i < file->count; i++) {
        if (file->tensors[i].begin < expected)
            return tensor_error(file, file->tensors[i].name, "overlaps another", error);
        if (file->tensors[i].begin > expected)
            return tensor_error(file, file->tensors[i].name, "has a gap before it", error);
        expected = file->tensors[i].end;
    }
    if (expected != data + size) {
        return error_set(error, STATUS_DATA, "%s: %lld bytes where its header tells of %lld; damaged?",
                         file->path, (long long)(data + size), (long long)expected);
    }
    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
    return true;
}

// Refuses what is no such file at all.
static bool foreign_check(const SafetensorsFile *file, int64_t size, Error *error) {
    char first[FOREIGN_BYTES];
    int64_t count = size < FOREIGN_BYTES ? size : FOREIGN_BYTES;
    return file_read_at(file->file, file->path, 0, first, (size_t)count, error) &&
           foreign_refuse_weights(file->path, first, (size_t)count, error);
}

// Reads and checks the header of an open file of `size` bytes.
static bool header_parse(SafetensorsFile *file, int64_t size, Error *error) {
    uint64_t length;
    if (!foreign_check(file, size, error)) return false;
    if (size < (int64_t)sizeof length) {
        return error_set(error, STATUS_DATA, "%s: only %lld bytes; truncated, or not safetensors", file->path,
                         (long long)size);
    }
    if (!file_read_at(file->file, file->path, 0, &length, sizeof length, error)) return false;
    uint64_t rest = (uint64_t)size - sizeof length;
    if (length > rest || length > HEADER_MAX_BYTES) {
        return error_set(error, STATUS_DATA,
                         "%s: a header of %llu bytes in a file of %lld; truncated, or not safetensors",
                         file->path, (unsigned long long)length, (long long)size);
    }

    char *text = (char *)alloc_or_exit(length, 1);
    if (!file_read_at(file->file, file->path, sizeof length, text, length, error)) {
        free(text);
        return false;
    }
    json_error_t fault;
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    free(text);
    bool ok;
    if (!json_is_object(header)) {
        ok = error_set(error, STATUS_DATA,
                       "%s: the header is not a JSON object (%s); damaged, or not safetensors", file->path,
                       header ? "another value" : fault.text);
    } else {
        ok = tensors_parse(file, header, (int64_t)(sizeof length + length), (int64_t)(rest - length), error);
    }
    json_decref(header);
    return ok;
}

static bool file_open(const char *path, int mode, SafetensorsFile *file, Error *error) {
    memset(file, 0, sizeof *file);
    file->file = open(path, mode | O_CLOEXEC | O_NONBLOCK); // a named pipe must not make us wait
    if (file->file < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be opened", path);
    file->path = copy_or_exit(path);

    struct stat status;
    bool ok;
    if (fstat(file->file, &status) != 0) {
        ok = error_set_errno(error, STATUS_DATA, "%s: cannot be read", path);
    } else if (!S_ISREG(status.st_mode)) {
        ok = error_set(error, STATUS_DATA, "%s: not a regular file", path);
    } else {
        ok = header_parse(file, status.st_size, error);
    }
    if (!ok) safetensors_close(file);
    return ok;
}

bool safetensors_open(const char *path, SafetensorsFile *file, Error *error) {
    return file_open(path, O_RDONLY, file, error);
}

bool safetensors_open_reserved(const char *path, SafetensorsFile *file, Error *error) {
    return file_open(path, O_RDWR, file, error);
}

void safetensors_close(SafetensorsFile *file) {
    for (int i = 0; i < file->count; i++) free(file->tensors[i].name);
    free(file->tensors);
    if (file->path) close(file->file);
    free(file->path);
    memset(file, 0, sizeof *file);
}

int safetensors_find(const SafetensorsFile *file, const char *name) {
    int low = 0, high = file->count;
    while (low < high) {
        int middle = (low + high) / 2;
        int order = strcmp(name, file->tensors[middle].name);
        if (order == 0) return middle;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return -1;
}

static float from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FF;
    if (exponent == 0) { // zero and subnormal numbers: multiples of 2^-24
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    exponent = exponent == 31 ? 255 : exponent + (127 - 15);
    uint32_t bits = sign | exponent << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

bool safetensors_read(const SafetensorsFile *file, int index, int64_t start, int64_t count, float *out,
                      Error *error) {
    const SafetensorsTensor *tensor = &file->tensors[index];
    assert(start >= 0 && count >= 0 && start + count <= tensor->count && tensor->type != SAFETENSORS_OTHER);
    if (tensor->type == SAFETENSORS_F32)
        return file_read_at(file->file, file->path, tensor->begin + start * 4, out, (size_t)count * 4, error);

    // Two bytes an element go to the second half of `out` and spread from there to the front: an element's
    // place is never written before it is read.
    char *halves = (char *)out + count * 2;
    if (!file_read_at(file->file, file->path, tensor->begin + start * 2, halves, (size_t)count * 2, error))
        return false;
    for (int64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, halves + i * 2, sizeof half);
        out[i] = tensor->type == SAFETENSORS_BF16 ? from_bf16(half) : from_f16(half);
    }
    return true;
}
