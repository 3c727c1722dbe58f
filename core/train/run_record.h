// What is known of a run: where it starts, what it goes on from, what it asks of an engine.
#ifndef CORE_TRAIN_RUN_RECORD_H
#define CORE_TRAIN_RUN_RECORD_H

#include "core/checkpoint/checkpoint.h"

typedef struct {
    char *folder;         // --out, or the run that is resumed; NULL for a dry run without --out
    char *checkpoint;     // to resume from; NULL for a fresh start
    bool verified;        // its every hash was found right
    bool continues;       // goes on in the folder of the checkpoint, whose later log lines are cut
    TrainerState state;   // where the run starts
    json_t *again;        // settings of a branch that is begun again; NULL for none
    char id[RUN_ID_SIZE]; // of the run, from run_begin on; on the first rank
    char *changes;        // settings that differ from the checkpoint's, for the log; NULL for a fresh start
    EngineConfig engine;  // what the settings ask of an engine
    int64_t newest;       // the highest step that a checkpoint in the folder had; -1 for none
    int lock;             // of the folder, from run_begin on; -1 for none
    bool begins_data;     // --new-data begins other data
    DataMark configured;  // what the run of --config was trained on; zero: not known
    DataMark data;        // of --data, from run_match_data on
    bool made, begun;     // by run_begin: the folder; run.json and the log's beginning
} Run;

#endif
