// The safetensors format: an 8-byte length, a JSON header with the place of every tensor, and the tensors'
// bytes.
//
// Files may come from strangers: nothing in a header is believed before it is held against the file.
#ifndef CORE_MODEL_SAFETENSORS_H
#define CORE_MODEL_SAFETENSORS_H

#include "core/base/digest.h"
#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SAFETENSORS_MAX_DIMS 8

// Element types whose values can be read; a file may hold others beside.
typedef enum { SAFETENSORS_F32, SAFETENSORS_F16, SAFETENSORS_BF16, SAFETENSORS_OTHER } SafetensorsType;

typedef struct {
    char *name;
    SafetensorsType type;
    int n_dims;
    int64_t dims[SAFETENSORS_MAX_DIMS];
    int64_t count;      // elements: the product of dims
    int64_t begin, end; // bytes in the file
} SafetensorsTensor;

typedef struct {
    char *path;
    int file; // descriptor
    int count;
    SafetensorsTensor *tensors; // sorted by name
} SafetensorsFile;

// Opens a file and checks that its header is sound: every name once, known types, shapes that fit their
// bytes, tensors that fill the file without gap or overlap. Error (status 3) that names the file and the
// tensor.
bool safetensors_open(const char *path, SafetensorsFile *file, Error *error);
void safetensors_close(SafetensorsFile *file);

// Index of the tensor with this name; -1 when there is none.
int safetensors_find(const SafetensorsFile *file, const char *name);

// Elements [start, start + count) of a tensor, which must not be of SAFETENSORS_OTHER, as float32.
bool safetensors_read(const SafetensorsFile *file, int tensor, int64_t start, int64_t count, float *out,
                      Error *error);

// A tensor to be written.
typedef struct {
    const char *name;
    int n_dims; // 1 or 2
    int64_t dims[2];
} SafetensorsSpec;

typedef struct SafetensorsWriter SafetensorsWriter;

// Creates a new file that will hold these tensors as `type`, float32 or bf16 (rounded to nearest, ties to
// even); their values follow by append, in this order. NULL on error (status 3).
SafetensorsWriter *safetensors_create(const char *path, const SafetensorsSpec *specs, int count,
                                      SafetensorsType type, Error *error);
bool safetensors_append(SafetensorsWriter *writer, const float *values, int64_t count, Error *error);
// Syncs and closes the file, releases the writer, and gives the digest of the whole file.
bool safetensors_finish(SafetensorsWriter *writer, Digest *digest, Error *error);
void safetensors_abandon(SafetensorsWriter *writer);

// A file that several processes write: one reserves it, header and room for the tensors; then each opens it,
// writes elements where they belong, and brings them to disk.
bool safetensors_reserve(const char *path, const SafetensorsSpec *specs, int count, Error *error);
bool safetensors_open_reserved(const char *path, SafetensorsFile *file, Error *error);
bool safetensors_write(const SafetensorsFile *file, int tensor, int64_t start, int64_t count,
                       const float *values, Error *error);
bool safetensors_sync(const SafetensorsFile *file, Error *error);

#ifdef __cplusplus
}
#endif
#endif
