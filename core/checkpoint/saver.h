// Saves checkpoints beside training: the tensors are copied to host memory, and a thread writes them while
// training goes on. One save is under way at a time.
//
// The thread does nothing but file work. Several ranks agree between the stages of a save, in saver_tend,
// which the training loop calls after every update; so do they at its end.
#ifndef CORE_CHECKPOINT_SAVER_H
#define CORE_CHECKPOINT_SAVER_H

#include "core/model/model_origin.h"
#include "core/checkpoint/trainer_state.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Saver Saver;

// `beside`: takes host memory for the copy (snapshot_bytes). Without, and where a rank gets no memory, which
// a warning says, training waits for every save. All ranks create it together.
Saver *saver_create(Engine *engine, bool beside);

// Waits for what the thread is doing.
void saver_free(Saver *saver);

// Begins to save the engine and the state as checkpoint_save does, and to delete all but the last `keep`
// whole checkpoints after that (0: none). No other save may be under way. `run` and `origin` stay as they
// are until the save is done.
void saver_begin(Saver *saver, const char *run, const TrainerState *state, int64_t context,
                 const ModelOrigin *origin, int64_t keep);

// What became of a save.
typedef struct {
    bool done; // it is there since the last look
    int64_t step;
    double seconds; // that it took
    double waited;  // for which training stood still meanwhile
} SaveReport;

// Looks after the save that is under way, all ranks at the same point; `wait`: until it is done. Error
// (status 3) where it failed: the run's checkpoints are as before.
bool saver_tend(Saver *saver, bool wait, SaveReport *report, Error *error);

#ifdef __cplusplus
}
#endif
#endif
