// Several threads at one job, ended by the first error of any.
#ifndef CORE_WORKERS_H
#define CORE_WORKERS_H

#include "error.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Workers Workers;

// What each thread does, once. False, with the error set, stops the others.
typedef bool WorkerFunction(Workers *workers, void *job, Error *error);

struct Workers {
    pthread_mutex_t lock;   // over what the threads share
    pthread_cond_t changed; // broadcast where a thread may wait for a change of that
    bool stopped;           // one has failed: the others end as soon as they see it
    Error error;            // the first
    WorkerFunction *work;
    void *job;
};

// Runs `work` in `count` threads and waits for all of them. Gives the first error; status 4 where the threads
// cannot be started.
bool workers_run(int count, WorkerFunction *work, void *job, Error *error);

#ifdef __cplusplus
}
#endif
#endif
