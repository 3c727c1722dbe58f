// The stages of a save: what one rank does with files, and nothing else, so that a thread can do it. Between
// two stages all ranks agree that they are through with the first (core/checkpoint/saver.c); a rank alone
// goes on at once.
#ifndef CORE_CHECKPOINT_CHECKPOINT_STAGES_H
#define CORE_CHECKPOINT_CHECKPOINT_STAGES_H

#include "core/model/model_origin.h"
#include "core/engine/snapshot.h"
#include "core/checkpoint/trainer_state.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    STAGE_PREPARE, // the first rank: the hidden folder, the small files, room for what several ranks write
    STAGE_TENSORS, // every rank: its share of the tensors
    STAGE_DIGESTS, // of several ranks each: the hashes of some of the files
    STAGE_PUBLISH, // the first rank: state.json, the folder's name, and older checkpoints go
    CHECKPOINT_STAGES
};

// What is saved, and how far it is.
typedef struct {
    Snapshot *snapshot;
    const char *run;           // the run's folder
    const ModelOrigin *origin; // NULL for a model of bytes that comes from no folder
    int64_t context, keep;     // keep: checkpoints that stay; 0: all
    TrainerState state;        // with a copy of the settings
    Manifest manifest;         // gets the digests
} CheckpointWork;

// Begins the manifest: which files there will be.
void checkpoint_list_files(CheckpointWork *work);

// One stage on this rank. Error: status 3.
bool checkpoint_stage(CheckpointWork *work, int stage, Error *error);

// Between STAGE_DIGESTS and STAGE_PUBLISH, by all ranks together: each gets the digests of all.
void checkpoint_share_digests(CheckpointWork *work, Ranks *ranks);

// After a stage that failed on some rank: what it has written goes.
void checkpoint_abandon(const CheckpointWork *work);

#ifdef __cplusplus
}
#endif
#endif
