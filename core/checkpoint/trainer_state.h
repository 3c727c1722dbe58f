// trainer/state.json of a checkpoint: where the run stands, its settings, and the digest of every file.
#ifndef CORE_CHECKPOINT_TRAINER_STATE_H
#define CORE_CHECKPOINT_TRAINER_STATE_H

#include "core/base/choice.h"
#include "core/base/digest.h"
#include "core/data/mixture.h"
#include "core/engine/engine.h"
#include "core/base/kept_files.h"
#include "core/checkpoint/spikes.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// What a data set holds, wherever it lies.
typedef struct {
    uint64_t hash;  // of its shards' headers, which have the hashes of their tokens, in their order
    int64_t shards; // 0: not known, as in checkpoints of older versions
    int64_t tokens;
} DataMark;

// In JSON, a new reference; NULL for one that is not known. And back: NULL leaves `mark` as it is, false is
// for what is none.
json_t *data_mark_json(const DataMark *mark);
bool data_mark_parse(const json_t *entry, DataMark *mark);

// A source of a mixture, where the run stands in it.
typedef struct {
    int64_t weight; // of Mixture
    DataPlace place;
    int64_t tokens; // taken of it
    DataMark data;  // its hash is of its own shards
} SourceState;

#define RUN_ID_SIZE 17

typedef struct {
    int64_t step;        // updates done
    int64_t cursor;      // token position of the next sequence; of a mixture all tokens taken
    int64_t epoch;       // times the data were gone through in full; 0 of a mixture
    int64_t tokens;      // targets seen
    Attention attention; // of the stage
    json_t *settings;    // every setting of the run, an object that only the program understands
    SpikeWindow spikes;  // empty without --skip-spikes
    DataMark data, val;  // of --data, which cursor and epoch belong to, and of --val
    int n_sources;       // of a mixture; 0 for a single source
    SourceState sources[MIXTURE_MAX];
    char run[RUN_ID_SIZE]; // the identity of the run that it is of; empty: not known
} TrainerState;

// Files of a checkpoint besides state.json itself, relative to its folder. A model on token ids has the
// tokenizer's only where it came with one; gates are those of the scorer `gla`.
#define CHECKPOINT_FILE_LIST(X)                        \
    X(FILE_CONFIG, CONFIG_FILE)                        \
    X(FILE_MODEL, WEIGHTS_FILE)                        \
    X(FILE_TOKENIZER, TOKENIZER_FILE)                  \
    X(FILE_TOKENIZER_CONFIG, "tokenizer_config.json")  \
    X(FILE_OPTIMIZER, "trainer/optimizer.safetensors") \
    X(FILE_GATES, "trainer/gates.safetensors")
enum { CHECKPOINT_FILE_LIST(CHOICE_VALUE) CHECKPOINT_FILES };
extern const char *const checkpoint_file_names[CHECKPOINT_FILES];
#define STATE_FILE_NAME "trainer/state.json"

// All files: those, and behind them what else the model keeps of the folder that it came from.
#define MANIFEST_MAX (CHECKPOINT_FILES + KEPT_MAX)
typedef struct {
    int count;
    char names[MANIFEST_MAX][KEPT_NAME_SIZE];
    bool present[MANIFEST_MAX];
    Digest digest[MANIFEST_MAX];
} Manifest;

// The files above, none of them present.
void manifest_begin(Manifest *manifest);
// Adds a kept file (kept_name), present; its index, or -1 where it is there already or there are too many.
int manifest_add(Manifest *manifest, const char *name);

// Writes STATE_FILE_NAME into a checkpoint's folder, its own hash as the last member, and syncs it.
bool trainer_state_write(const char *folder, const TrainerState *state, const Manifest *manifest,
                         Error *error);

// Reads it back. The hash covers every byte before it. Error (status 3) on any damage, or when the folder is
// named after another step. state->settings is a new reference. `manifest` may be NULL.
bool trainer_state_read(const char *folder, TrainerState *state, Manifest *manifest, Error *error);

// Name of a step's folder, step_00010000, and the step in such a name; -1 when it is another name.
void checkpoint_name(int64_t step, char *name, size_t size);
int64_t checkpoint_name_step(const char *name);

#ifdef __cplusplus
}
#endif
#endif
