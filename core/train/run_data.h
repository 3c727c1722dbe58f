// The data of a run that goes on: the same tokens as before, wherever they lie, or others from their
// beginning.
#ifndef CORE_TRAIN_RUN_DATA_H
#define CORE_TRAIN_RUN_DATA_H

#include "core/options/options.h"
#include "core/train/run_record.h"

#ifdef __cplusplus
extern "C" {
#endif

// Holds what --data and --val hold against what the checkpoint was trained on, and notes it in the state.
// Other training data is refused (status 2), both named, unless --new-data begins it: cursor and epoch are
// then 0, and run->begins_data is true. So is other data than that of the run of --config, whose words they
// are. Other validation data, and a checkpoint that does not tell, get a warning. `sources`: of --data.
bool run_match_data(Run *run, const Options *options, const DataMark *data, const DataMark *val, int sources,
                    TrainerState *state, Error *error);

#ifdef __cplusplus
}
#endif
#endif
