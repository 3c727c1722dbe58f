// Checkpoints: RUN/step_00010000/, the state after 10,000 updates, which appears whole or not at all.
//
// The folder is a Hugging Face model folder (config.json, model.safetensors, tokenizer.json,
// tokenizer_config.json, and what else the model keeps of the folder that it came from) with one more,
// trainer/, that holds what only training needs: optimizer.safetensors (both moments), gates.safetensors
// (where the model has the gates of the gla scorer) and state.json. All errors have status 3 and name the
// file.
#ifndef CORE_CHECKPOINT_CHECKPOINT_H
#define CORE_CHECKPOINT_CHECKPOINT_H

#include "core/base/files.h"
#include "core/model/model_origin.h"
#include "core/checkpoint/trainer_state.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Saving (saver.c, checkpoint_stages.c)

// Saves the engine and the state as RUN/step_N, N = state->step, in place of one of that name. Everything is
// written beside it, synced and renamed; what an earlier save left behind when it was killed is removed
// first. On error the run's checkpoints are as before. The engine must be one for training. Several ranks
// save together, each its share of the tensors; what they write does not depend on their number. `origin`:
// NULL for a model of bytes that comes from no folder. A run that trains meanwhile saves through
// core/checkpoint/saver.h.
bool checkpoint_save(Engine *engine, const char *run, const TrainerState *state, int64_t context,
                     const ModelOrigin *origin, Error *error);

// ---- Loading (checkpoint_load.c)

// Step and settings, before there is an engine. Release state->settings with json_decref.
bool checkpoint_read_state(const char *folder, TrainerState *state, Error *error);

// Loads weights, gates and moments, after all of it has been verified: every hash, no file missing, the
// model's shape, every tensor's name and shape. An engine that does not train gets weights and
// gates, and only their files are verified. Gates that the engine has and the checkpoint lacks stay as they
// were drawn; gates that the engine does not have are ignored. Several ranks load together: each verifies
// some of the files and reads the weights and its share of the moments.
bool checkpoint_load(Engine *engine, const char *folder, Error *error);

// The same where checkpoint_choose has verified it already.
bool checkpoint_load_verified(Engine *engine, const char *folder, Error *error);

// Holds what a model is against its hashes: everything but the optimizer. Whatever else lies there is no
// matter.
bool checkpoint_verify_model(const char *folder, Error *error);

// Called for every file: `fault` is NULL where it is right.
typedef void (*CheckpointReport)(void *context, const char *file, const char *fault);

// Holds every file against its hash. Without a report it stops at the first fault; the error is that of the
// first fault. What else lies in the folder is reported, with a fault that begins with "not part", and is no
// error.
bool checkpoint_verify(const char *folder, CheckpointReport report, void *context, Error *error);

// Likewise on this rank its share of the files; all ranks together do all.
bool checkpoint_verify_share(const char *folder, const Ranks *ranks, Error *error);

// What lies in a checkpoint's folder and is not part of it, by paths within the folder; of one whose state is
// damaged nothing.
bool checkpoint_strangers(const char *folder, PathList *strangers, Error *error);

// ---- Finding (checkpoint_list.c)

// The last whole checkpoint of a run: state.json right, every file there in its full length. *folder is NULL
// when the run has no checkpoint or is no folder at all; else release it with free(). Damaged ones are passed
// over with a warning; it is an error when no other is there.
bool checkpoint_latest(const char *run, char **folder, Error *error);

// Likewise the last one whose every hash is right, by all ranks together, as the start of a run that goes on.
bool checkpoint_choose(const char *run, Ranks *ranks, char **folder, Error *error);

// The highest step in the name of a run's checkpoints, whole or not; -1 for none.
int64_t checkpoint_newest(const char *run);

// Whether the path is a checkpoint; else it may be a run.
bool checkpoint_is(const char *path);

// A checkpoint's path that ends in the folder's own name: no slashes behind, no "." or "..", no link. Release
// with free(); NULL on error.
char *checkpoint_named(const char *path, Error *error);

// The error of a path that is neither a checkpoint nor a run with one.
bool checkpoint_none(const char *path, Error *error);

// The checkpoint behind a user's path: the path itself when it is one, else the last whole one of that run.
// Release with free(); NULL on error.
char *checkpoint_find(const char *path, Error *error);

// Refuses (status 2) as the --out of anything else a checkpoint, what lies in one, and the name of one in a
// run: a checkpoint holds what was saved and nothing else.
bool checkpoint_check_out(const char *out, Error *error);

// What a checkpoint is called that was not found right: damaged, or one that the user may not read.
const char *checkpoint_fault(const Error *fault);

// Deletes all but the last `keep` whole checkpoints (0 keeps all). Each is renamed away first: one that is
// half deleted is never taken for whole. What others have put into one is moved to RUN/aside.
bool checkpoint_prune(const char *run, int64_t keep, Error *error);

// Before a checkpoint of this step is saved: whatever has its name, and is not a checkpoint of this program
// throughout, is moved to RUN/aside.
bool checkpoint_make_room(const char *run, int64_t step, Error *error);

// The first of RUN/aside, RUN/aside_2, ... that is not there. Release with free().
char *checkpoint_aside_path(const char *run);

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
