// Several threads at one job, ended by the first error of any.
#ifndef CORE_BASE_WORKERS_H
#define CORE_BASE_WORKERS_H

#include "core/base/error.h"

#include <pthread.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Workers Workers;

// What each thread does, once. False, with the error set, stops the others.
typedef bool WorkerFunction(Workers *workers, void *job, Error *error);

struct Workers {
    int count;
    pthread_mutex_t lock;   // over what the threads share
    pthread_cond_t changed; // for a thread that waits for a change of that; broadcast when one has failed
    bool stopped;           // one has failed: the others end as soon as they see it
    Error error;            // the first
    int64_t turn;           // whose it is
    pthread_cond_t *turns;  // turn t is waited for at t % count: nobody is woken for another's
    WorkerFunction *work;
    void *job;
};

// Runs `work` in `count` threads and waits for all of them. Gives the first error; status 4 where the threads
// cannot be started.
bool workers_run(int count, WorkerFunction *work, void *job, Error *error);

// Turns, where order matters: they are numbered from 0, and a thread has no more than one at a time. Waits
// for one; false where another thread has failed.
bool workers_wait_for_turn(Workers *workers, int64_t turn);
void workers_end_turn(Workers *workers);

#ifdef __cplusplus
}
#endif
#endif
