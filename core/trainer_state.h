// trainer/state.json of a checkpoint: where the run stands, its settings, and the digest of every file.
#ifndef CORE_TRAINER_STATE_H
#define CORE_TRAINER_STATE_H

#include "digest.h"
#include "engine.h"
#include "spikes.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t step;        // updates done
    int64_t cursor;      // token position of the next sequence
    int64_t epoch;       // times the data were gone through in full
    int64_t tokens;      // targets seen
    Attention attention; // of the stage
    json_t *settings;    // every setting of the run, an object that only the program understands
    SpikeWindow spikes;  // empty without --skip-spikes
} TrainerState;

const char *attention_name(Attention attention); // "lighthouse", "dense"
bool attention_parse(const char *name, Attention *attention);

// Files of a checkpoint besides state.json itself, relative to its folder.
enum {
    FILE_CONFIG,
    FILE_MODEL,
    FILE_TOKENIZER,        // of a model on ready ids only where it came with one
    FILE_TOKENIZER_CONFIG, // likewise
    FILE_OPTIMIZER,
    FILE_GATES, // only with the gla scorer
    CHECKPOINT_FILES
};
extern const char *const checkpoint_file_names[CHECKPOINT_FILES];
#define STATE_FILE_NAME "trainer/state.json"

typedef struct {
    bool present[CHECKPOINT_FILES];
    Digest digest[CHECKPOINT_FILES];
} Manifest;

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
