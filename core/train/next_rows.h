// The next sequences of a rank, for which the others wait.
#ifndef CORE_TRAIN_NEXT_ROWS_H
#define CORE_TRAIN_NEXT_ROWS_H

#include "core/ranks/ranks.h"
#include "dataloader.h"

#ifdef __cplusplus
extern "C" {
#endif

// dataloader_next. Shards that are read for the first time are hashed, which may take long where disks are
// slow: the other ranks learn that this one is at work, as long as bytes come. tokens: (rows, N+1)
bool next_rows(Ranks *ranks, DataLoader *data, int64_t rows, int32_t *tokens, Error *error);

#ifdef __cplusplus
}
#endif
#endif
