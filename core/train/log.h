// The log of a run: RUN/log.jsonl, one JSON object a line, flushed line by line.
//
// A line of a step has the keys step, tokens, loss, grad_norm, lr, attention, tok_per_s, mfu, mem_gb,
// seconds, in this order; of a mixture then source_tokens, what was taken of each source up to here. All
// other lines have "event" first ("validation", "switch", "resume", "epoch", "checkpoint", "skip"), then
// "step", then what belongs to the event. A number that is unknown or not finite is null.
//
// What a line says can go to TensorBoard's event files too: its numbers as scalars "train/<key>",
// "val/<key>_<attention>" for a validation, "<event>/<key>" for another event; the words of an event (from
// which attention to which, ...) as a text "<event>".
#ifndef CORE_TRAIN_LOG_H
#define CORE_TRAIN_LOG_H

#include "core/engine/engine.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t step;   // updates done, this one included
    int64_t tokens; // targets seen in the run, this step's included
    double loss;    // nats a target
    double grad_norm;
    double lr;
    Attention attention;
    double tokens_per_second;
    double mfu;                   // 0 to 1; NAN for an unknown GPU
    double mem_gb;                // memory in use
    double seconds;               // that this step took
    int n_sources;                // of a mixture; 0 for a single source
    const int64_t *source_tokens; // taken of each up to here
} LogStep;

typedef struct Log Log;

// Opens the log for appending, and makes it where there is none. NULL on error (status 3). A line torn by a
// crash must have been cut (log_cut) before.
Log *log_open(const char *run, Error *error);
// From here on lines go to event files in run/tensorboard as well. `step`: updates done before the first.
bool log_to_tensorboard(Log *log, const char *run, int64_t step, Error *error);
void log_close(Log *log);
// The run's folder has another path now, or is a new one: the next line goes to the log there.
bool log_move(Log *log, const char *run, Error *error);

// Each writes one line; none where log is NULL, as on all ranks but the first. Errors have status 3.
bool log_step(Log *log, const LogStep *line, Error *error);
// `fields` (an object, its reference is taken; may be NULL) follows the event's name and step.
bool log_event(Log *log, const char *event, int64_t step, json_t *fields, Error *error);

// Cuts what is of later steps than `step`, and lines that a crash has torn: the run goes on from there.
// Either all of it happens or nothing. A run without a log is no error.
bool log_cut(const char *run, int64_t step, Error *error);

// Whether the log has a whole line of this event (NULL: of an update) after this step. A run without a log
// has none.
bool log_holds(const char *run, const char *event, int64_t step, bool *holds, Error *error);

#ifdef __cplusplus
}
#endif
#endif
