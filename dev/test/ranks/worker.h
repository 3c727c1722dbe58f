// One rank of a test: `mpirun -np W build/rank_worker SCENARIO`, started by dev/test/test_ranks.c.
#ifndef TEST_RANKS_WORKER_H
#define TEST_RANKS_WORKER_H

#include "core/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// Takes the job down with a message where `right` does not hold.
void expect(Ranks *ranks, bool right, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Every operation of core/collectives.h, in both groups; agreement, sums and comparisons.
void scenario_interface(Ranks *ranks);
// W ranks on sequences of their own against one engine that has them all.
void scenario_data(Ranks *ranks);
// P ranks on the slices of sequences, W / P of those, against one engine that has all; every scorer, dense
// too.
void scenario_context(Ranks *ranks);
// One rank's checkpoint and that of several ranks are the same files, and each reads the other's.
void scenario_checkpoint(Ranks *ranks);
// Waits for a rank that does not come: it hangs, or dies.
void scenario_hang(Ranks *ranks);
void scenario_die(Ranks *ranks);

#ifdef __cplusplus
}
#endif
#endif
