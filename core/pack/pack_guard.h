// Signals that end `pack` or `export` while it works: Ctrl-C, TERM, HUP, QUIT and USR1 first remove what it
// has made, and then have their usual effect. A thread of its own does so at once, whatever the others wait
// for. Signals that are ignored (nohup) stay so, and a reader of the progress that goes away (SIGPIPE) ends
// nothing.
#ifndef CORE_PACK_PACK_GUARD_H
#define CORE_PACK_PACK_GUARD_H

#include "core/base/error.h"

#include <pthread.h>
#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PACK_GUARD_SIGNALS 5

typedef struct {
    bool started;
    pthread_t thread;
    pthread_mutex_t lock; // held by whoever may not be disturbed
    bool done;            // there is nothing left to remove
    void (*remove)(void *what);
    void *what;
    const char *outcome; // for the message: what there is not, as "no shard is made"
    struct sigaction before[PACK_GUARD_SIGNALS], pipe_before;
} PackGuard;

// From here on a signal calls `remove` before it ends the program. There is one guard at a time.
bool pack_guard_start(PackGuard *guard, void (*remove)(void *what), void *what, const char *outcome,
                      Error *error);

// While held, no signal takes effect; where `done`, none removes anything any more.
void pack_guard_hold(PackGuard *guard);
void pack_guard_release(PackGuard *guard, bool done);

// Signals are as they were. Suits a guard that is all zero too.
void pack_guard_end(PackGuard *guard);

#ifdef __cplusplus
}
#endif
#endif
