// The log of a run read back whole: its steps, validations and resumes. A branch's log begins at its
// parent's checkpoint, so the parent's steps up to there come first, and so on.
#ifndef CORE_TRAIN_RUN_LOG_H
#define CORE_TRAIN_RUN_LOG_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t step;   // updates done, this one included
    int64_t tokens; // targets seen, this step's included
    double loss;    // nats a target; NAN where it was not finite
    double seconds; // that this step took
    double elapsed; // of all steps up to this one, without validation and saving
    int ranks;
    Attention attention;
} RunStep;

typedef struct {
    int64_t step; // after this many updates
    double loss;
    Attention attention;
} RunValidation;

// All arrays are in the order of their steps; each step occurs once.
typedef struct {
    char *name; // for a legend: of the run's folder
    RunStep *steps;
    RunValidation *validations;
    int64_t *resumes; // the steps that the run was resumed after; the start of a branch is among them
    int64_t n_steps, n_validations, n_resumes;
} RunLog;

// Reads RUN/log.jsonl, or a log by its own path; RUN/run.json beside it says the parent and, as "ranks", how
// many ranks it began with (1 where it does not); a resume tells how many went on. Lines that are torn or no
// JSON are left out, with a warning where others follow; so is, with a warning, a parent that is not there.
// False (status 3) where there is no log, or no step in it.
bool run_log_read(const char *path, RunLog *log, Error *error);
void run_log_free(RunLog *log);

// The last of the steps up to `step` by its place in the array; -1 where there is none.
int64_t run_log_find(const RunLog *log, int64_t step);

#ifdef __cplusplus
}
#endif
#endif
