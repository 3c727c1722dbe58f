// Whether all ranks were started alike: mismatches are found before they can spoil a run.
#ifndef CORE_OPTIONS_RANK_MATCH_H
#define CORE_OPTIONS_RANK_MATCH_H

#include "core/options/options.h"
#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// The program itself and every setting as it stands. Error as below.
bool rank_match_words(Ranks *ranks, const Options *options, Error *error);

// The program itself, every setting, and what the checkpoint, model (NULL: none) or the folder of --init
// holds that is gone on with or measured: its files by their sizes and samples of their bytes. Error (status
// 2) on all ranks, naming the first that differs from rank 0 and what does.
bool rank_match_start(Ranks *ranks, const Options *options, const char *checkpoint, Error *error);

#ifdef __cplusplus
}
#endif
#endif
