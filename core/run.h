// A run: how its settings come together, where it starts, and its folder.
#ifndef CORE_RUN_H
#define CORE_RUN_H

#include "checkpoint.h"
#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *folder;        // --out, or the run that is resumed; NULL for a dry run without --out
    char *checkpoint;    // to resume from; NULL for a fresh start
    bool continues;      // goes on in the folder of the checkpoint, whose later log lines are cut
    TrainerState state;  // where the run starts
    char *changes;       // settings that differ from the checkpoint's, for the log; NULL for a fresh start
    EngineConfig engine; // what the settings ask of an engine
    int lock;            // of the folder, from run_begin on; -1 for none
} Run;

// Brings default, resumed run, preset, config file and command line together in `options`, checks that they
// fit each other and the ranks, which it splits, and finds the start. Writes nothing. Status 2 for settings,
// 3 for files.
bool run_prepare(Run *run, Options *options, Ranks *ranks, Error *error);

// Makes the folder, locks it until run_free, cuts the log and writes run.json. Status 2 where another program
// holds the lock, or has trained the run since run_prepare. Of several ranks, only the first calls it.
bool run_begin(Run *run, const Options *options, Error *error);

void run_free(Run *run);

#ifdef __cplusplus
}
#endif
#endif
