// How this process was started: alone, or as one of several by a launcher, as its environment tells.
#ifndef CORE_RANKS_LAUNCHER_H
#define CORE_RANKS_LAUNCHER_H

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int size; // processes that were started together; 1: this one alone; 0: only MPI can tell
    int rank; // this one's number among them, as far as it is known
} Launch;

// Error (status 2) where a launcher of another kind started several processes, of which none would know the
// others: each would train by itself, in one folder.
bool launcher_find(Launch *launch, Error *error);

// Waits until the launcher has read what was written to this file: some drop the rest of a rank that aborts.
void launcher_reads(int file);

#ifdef __cplusplus
}
#endif
#endif
