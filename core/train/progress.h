// Progress of a training run on the console: one line that is overwritten on a terminal, plain lines
// elsewhere.
#ifndef CORE_TRAIN_PROGRESS_H
#define CORE_TRAIN_PROGRESS_H

#include "core/train/log.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    FILE *out;
    bool terminal;
    int64_t total_steps;
    int64_t every;       // steps between lines
    Attention attention; // of the last step
    int64_t steps_seen;  // by this process, in this stage
    double smooth_loss;  // exponential means of about the last 50 of them
    double smooth_seconds;
    size_t width; // of the line that stands on the terminal
} Progress;

// `every` is at least 1; a terminal shows every step.
void progress_begin(Progress *progress, FILE *out, int64_t total_steps, int64_t every);
// `left`: updates that are still to come, each of another stage counted as the updates of this one that are
// as much work.
void progress_step(Progress *progress, const LogStep *step, double left);
// Ends a line that stands on a terminal; call it before printing anything else and at the end.
void progress_break(Progress *progress);

// "1:02:03" or "2d 03:04:05" for seconds.
void progress_duration(double seconds, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
