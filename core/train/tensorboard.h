// Event files, which TensorBoard shows: RUN/tensorboard/events.out.tfevents.SECONDS.HOST.PID.
//
// A file is a row of records: length (8 bytes), masked CRC-32C of the length, an Event in protocol buffers'
// encoding, masked CRC-32C of that. Its first events are the format's version and the start of a session,
// which tells TensorBoard to forget what earlier files of the folder hold of that step and later ones: so a
// run that goes on from a checkpoint shows no step twice. Every event is written at once.
#ifndef CORE_TRAIN_TENSORBOARD_H
#define CORE_TRAIN_TENSORBOARD_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *tag; // as "train/loss"
    double value;    // kept as float32
} TensorBoardScalar;

typedef struct TensorBoard TensorBoard;

// Begins a new file, the last of the folder by name, whose steps are `first_step` and later. NULL on error;
// all errors have status 3.
TensorBoard *tensorboard_open(const char *run, int64_t first_step, Error *error);
void tensorboard_close(TensorBoard *board); // NULL is nothing to close

// One event with all these values of a step. None is no event.
bool tensorboard_scalars(TensorBoard *board, int64_t step, const TensorBoardScalar *scalars, size_t count,
                         Error *error);
// One event with a text (Markdown), for the dashboard of texts.
bool tensorboard_text(TensorBoard *board, int64_t step, const char *tag, const char *text, Error *error);

#ifdef __cplusplus
}
#endif
#endif
