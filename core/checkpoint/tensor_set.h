// Tensor sets: which of an engine's tensors a safetensors file holds, under which names.
//
// One list serves both ways: writing a file, and holding files against the model before anything is loaded.
#ifndef CORE_CHECKPOINT_TENSOR_SET_H
#define CORE_CHECKPOINT_TENSOR_SET_H

#include "core/model/safetensors.h"
#include "core/engine/snapshot.h"
#include "core/checkpoint/zero_runs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char name[96];
    int param;
    TensorKind kind;
    int file, tensor; // where tensor_set_match found it
} TensorPlace;

typedef struct {
    const ParamTable *table;
    TensorPlace *places;
    int count;
} TensorSet;

// Trained weights, under the table's names.
TensorSet tensor_set_weights(const ParamTable *table);
// Both moments of every trained parameter: NAME.exp_avg and NAME.exp_avg_sq.
TensorSet tensor_set_moments(const ParamTable *table);
// Frozen weights: the gates of the gla scorer. May be empty.
TensorSet tensor_set_frozen(const ParamTable *table);
void tensor_set_free(TensorSet *set);

// Writes the set as a new file of float32 tensors.
bool tensor_set_save(const TensorSet *set, Snapshot *snapshot, const char *path, Digest *digest,
                     Error *error);

// The same by several ranks, into one file that does not depend on their number: one makes it, with room for
// all, and then each writes its share and brings it to disk.
bool tensor_set_reserve(const TensorSet *set, const char *path, Error *error);
bool tensor_set_save_share(const TensorSet *set, Snapshot *snapshot, const char *path, Error *error);

// Finds every tensor of the set in one of the files and checks shape and type. A tensor of the files that the
// set does not name is refused unless harmless(name); NULL means none is. Error (status 3) that names the
// tensor.
bool tensor_set_match(TensorSet *set, const SafetensorsFile *files, int n_files,
                      bool (*harmless)(const char *name), Error *error);

// Writes matched tensors into the engine, a piece at a time: weights whole, of all else this rank's share.
bool tensor_set_load(const TensorSet *set, const SafetensorsFile *files, Engine *engine, ZeroRuns *zeros,
                     Error *error);

#ifdef __cplusplus
}
#endif
#endif
