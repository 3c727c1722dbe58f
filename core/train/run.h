// A run: how its settings come together, where it starts, and its folder.
#ifndef CORE_TRAIN_RUN_H
#define CORE_TRAIN_RUN_H

#include "core/options/options.h"
#include "core/train/run_record.h"

#ifdef __cplusplus
extern "C" {
#endif

// Brings default, resumed run, preset, config file and command line together in `options`, checks that they
// fit each other and the ranks, which it splits, and finds the start. Writes nothing. Status 2 for settings,
// 3 for files.
bool run_prepare(Run *run, Options *options, Ranks *ranks, Error *error);

// Makes the folder, locks it until run_free, moves later checkpoints aside, cuts the log and writes run.json.
// Status 2 where another program holds the lock, or has trained the run since run_prepare. Of several ranks,
// only the first calls it.
bool run_begin(Run *run, const Options *options, Error *error);

// Before a save: where the folder was moved, it is followed, and where it was deleted, made anew; both are
// told, and `moved` is set. Status 3 where somebody's other folder is in its place. Only the first rank calls
// it.
bool run_follow(Run *run, const Options *options, bool *moved, Error *error);

// After a run that has failed before its first update and its first save: what run_begin has made goes, so
// that it is in nobody's way.
void run_abandon(Run *run);

void run_free(Run *run);

#ifdef __cplusplus
}
#endif
#endif
