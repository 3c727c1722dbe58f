// The watch over waits: nobody waits for ever for a rank that is gone or hangs.
#ifndef CORE_RANKS_RANKS_WATCH_H
#define CORE_RANKS_RANKS_WATCH_H

#include "core/ranks/ranks_type.h"

#ifdef __cplusplus
extern "C" {
#endif

// One wait for other ranks. Whatever waits calls ranks_wait_tick in its loop: it yields the processor, and
// ends the job when a rank of this host is gone or `patience` is over; the message then names the ranks that
// do not wait with the others.
typedef struct {
    const char *what; // "the sum of the gradients"
    double since, asked, looked;
    int64_t ticks;
    int gone; // looks that have found a rank gone
} RanksWait;

RanksWait ranks_wait_begin(const char *what);
void ranks_wait_tick(Ranks *ranks, RanksWait *wait);

// What is waited for has come nearer: patience begins anew.
void ranks_wait_renew(RanksWait *wait);

// Gives up the letters of the watch that have gone.
void ranks_watch_end(RankConnection *connection);

#ifdef __cplusplus
}
#endif
#endif
