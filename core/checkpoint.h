// Checkpoints: RUN/step_00010000/, the state after 10,000 updates, which appears whole or not at all.
//
// The folder is a Hugging Face model folder (config.json, model.safetensors, tokenizer.json,
// tokenizer_config.json) with one folder more, trainer/, that holds what only training needs:
// optimizer.safetensors (both moments), gates.safetensors (where the model has the gates of the gla scorer)
// and state.json. All errors have status 3 and name the file.
#ifndef CORE_CHECKPOINT_H
#define CORE_CHECKPOINT_H

#include "model_tokenizer.h"
#include "trainer_state.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Saving (saver.c, checkpoint_stages.c)

// Saves the engine and the state as RUN/step_N, N = state->step, in place of one of that name. Everything is
// written beside it, synced and renamed; what an earlier save left behind when it was killed is removed
// first. On error the run's checkpoints are as before. The engine must be one for training. Several ranks
// save together, each its share of the tensors; what they write does not depend on their number. `tokenizer`:
// NULL for that of bytes. A run that trains meanwhile saves through core/saver.h.
bool checkpoint_save(Engine *engine, const char *run, const TrainerState *state, int64_t context,
                     const ModelTokenizer *tokenizer, Error *error);

// ---- Loading (checkpoint_load.c)

// Step and settings, before there is an engine. Release state->settings with json_decref.
bool checkpoint_read_state(const char *folder, TrainerState *state, Error *error);

// Loads weights, gates and moments, after all of it has been verified: every hash, no file missing or
// unknown, the model's shape, every tensor's name and shape. An engine that does not train gets weights and
// gates, and only their files are verified. Gates that the engine has and the checkpoint lacks stay as they
// were drawn; gates that the engine does not have are ignored. Several ranks load together: each verifies
// some of the files and reads the weights and its share of the moments.
bool checkpoint_load(Engine *engine, const char *folder, Error *error);

// Holds only what a model is against its hashes: config, weights, gates. Optimizer and whatever else lies
// there is no matter.
bool checkpoint_verify_model(const char *folder, Error *error);

// Called for every file: `fault` is NULL where it is right.
typedef void (*CheckpointReport)(void *context, const char *file, const char *fault);

// Holds every file against its hash, and the folder against the list of files. Without a report it stops at
// the first fault; the error is that of the first fault.
bool checkpoint_verify(const char *folder, CheckpointReport report, void *context, Error *error);

// ---- Finding (checkpoint_list.c)

// The last whole checkpoint of a run: state.json right, every file there in its full length. *folder is NULL
// when the run has no checkpoint or is no folder at all; else release it with free(). Damaged ones are passed
// over with a warning; it is an error when no other is there.
bool checkpoint_latest(const char *run, char **folder, Error *error);

// Whether a run has a whole checkpoint of a later step (-1: any).
bool checkpoint_later(const char *run, int64_t step, bool *later, Error *error);

// The checkpoint behind a user's path: the path itself when it is one, else the last whole one of that run.
// Release with free(); NULL on error.
char *checkpoint_find(const char *path, Error *error);

// Refuses (status 2) a checkpoint as the folder --out of anything else: with more in it than was saved it
// could not be resumed.
bool checkpoint_check_out(const char *out, Error *error);

// Deletes all but the last `keep` whole checkpoints (0 keeps all). Each is renamed away first: one that is
// half deleted is never taken for whole.
bool checkpoint_prune(const char *run, int64_t keep, Error *error);

// Removes what killed saves and deletions left behind.
bool checkpoint_clean(const char *run, Error *error);

// Path of a step's folder, and of the hidden name it has while it is written (".tmp") or deleted (".old").
// Release with free().
char *checkpoint_path(const char *run, int64_t step);
char *checkpoint_hidden_path(const char *run, int64_t step, const char *ending);

#ifdef __cplusplus
}
#endif
#endif
