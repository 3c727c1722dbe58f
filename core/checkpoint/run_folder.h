// The folder of a run: what in it is this program's, how the run began, and what is moved out of the way.
//
// A run.json whose "program" is train_gpt_lighthouse marks a folder as a run, and a log.jsonl is a run's by
// its first line. Where one of the two is somebody else's, the folder is left alone. A checkpoint that is in
// the way of a run is moved to RUN/aside, and never deleted.
#ifndef CORE_CHECKPOINT_RUN_FOLDER_H
#define CORE_CHECKPOINT_RUN_FOLDER_H

#include "core/base/error.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// How a run began, as its run.json has it; zero where it does not say.
typedef struct {
    char *id;            // of the run: a branch knows its parent by it
    char *parent;        // the checkpoint that it branched off from; NULL for none
    char *parent_id;     // of the run that this checkpoint is of
    int64_t parent_step; // of this checkpoint; -1 where it is not known
    int64_t ranks;
    json_t *settings; // NULL where there is no run.json
    json_t *changes;  // of settings on the way, [{"step": …, "changed": …}, …]; NULL for none
} RunOrigin;

// Reads a run.json, by its own path; of one that is not there, all is unknown. Status 3 where it is no JSON.
bool run_origin_read(const char *path, RunOrigin *origin, Error *error);
// Likewise of a run's folder.
bool run_origin_of(const char *run, RunOrigin *origin, Error *error);
void run_origin_free(RunOrigin *origin);
// A new run's.
char *run_origin_new_id(void);

// The folder of the run that the parent's checkpoint is of: where run.json has it, or, where all runs were
// moved together, beside the branch `run`. It must have the file `needed` and be the same run; a path that is
// relative, of an older version, is looked for beside the branch alone. NULL where there is none; release
// with free().
char *run_parent_find(const char *run, const RunOrigin *origin, const char *needed);

// Whether there is a run.json of this program in the folder.
bool run_folder_is_run(const char *folder);
// Refuses (status 2) a folder whose run.json or log.jsonl is not this program's: a run would overwrite it.
bool run_folder_check(const char *folder, Error *error);
// Whether the log of a run has an update.
bool run_folder_has_updates(const char *run);

// Moves checkpoints, and whatever else has such a name, of later steps than `step` to RUN/aside, with a copy
// of the log, and says so. What is there already stays: the next folder is RUN/aside_2.
bool run_folder_set_aside(const char *run, int64_t step, Error *error);

#ifdef __cplusplus
}
#endif
#endif
