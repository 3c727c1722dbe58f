// Where a run's folder is while it trains: locked, and followed when somebody moves it.
#ifndef CORE_TRAIN_RUN_PLACE_H
#define CORE_TRAIN_RUN_PLACE_H

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

// Opens and locks the folder, until `lock` is closed: two programs that write one run would spoil it. A file
// system that has no locks goes without. Status 2 where another program holds it.
bool run_place_lock(const char *folder, int *lock, Error *error);

typedef enum { PLACE_SAME, PLACE_MOVED, PLACE_GONE } Place;

// Where the locked folder is now. PLACE_MOVED: `folder` is its new path (the old one is released).
// PLACE_GONE: nothing is at its path, and it is nowhere to be found. Status 3 where another folder is at its
// path, and it is nowhere to be found.
bool run_place_find(int lock, char **folder, Place *place, Error *error);

#ifdef __cplusplus
}
#endif
#endif
