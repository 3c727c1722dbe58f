// Several threads at one job; see workers.h.
#include "core/base/workers.h"

#include <stdlib.h>
#include <string.h>

static void stop(Workers *workers, const Error *error) {
    pthread_mutex_lock(&workers->lock);
    if (!workers->stopped) workers->error = *error;
    workers->stopped = true;
    pthread_cond_broadcast(&workers->changed);
    for (int i = 0; i < workers->count; i++) pthread_cond_signal(&workers->turns[i]);
    pthread_mutex_unlock(&workers->lock);
}

static void *run(void *argument) {
    Workers *workers = (Workers *)argument;
    Error error;
    if (!workers->work(workers, workers->job, &error)) stop(workers, &error);
    return NULL;
}

bool workers_run(int count, WorkerFunction *work, void *job, Error *error) {
    Workers workers;
    memset(&workers, 0, sizeof workers);
    workers.count = count;
    workers.work = work;
    workers.job = job;
    pthread_mutex_init(&workers.lock, NULL);
    pthread_cond_init(&workers.changed, NULL);
    workers.turns = (pthread_cond_t *)alloc_or_exit((size_t)count, sizeof(pthread_cond_t));
    for (int i = 0; i < count; i++) pthread_cond_init(&workers.turns[i], NULL);
    pthread_t *threads = (pthread_t *)alloc_or_exit((size_t)count, sizeof *threads);
    int started = 0, code = 0;
    while (started < count && (code = pthread_create(&threads[started], NULL, run, &workers)) == 0) started++;
    if (code != 0) {
        Error failure;
        error_set(&failure, STATUS_MEMORY, "cannot start %d threads: %s; use fewer with --threads", count,
                  strerror(code));
        stop(&workers, &failure);
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    if (workers.stopped) *error = workers.error;
    for (int i = 0; i < count; i++) pthread_cond_destroy(&workers.turns[i]);
    free(workers.turns);
    pthread_cond_destroy(&workers.changed);
    pthread_mutex_destroy(&workers.lock);
    free(threads);
    return !workers.stopped;
}

bool workers_wait_for_turn(Workers *workers, int64_t turn) {
    pthread_mutex_lock(&workers->lock);
    while (workers->turn != turn && !workers->stopped) {
        pthread_cond_wait(&workers->turns[turn % workers->count], &workers->lock);
    }
    bool ok = !workers->stopped;
    pthread_mutex_unlock(&workers->lock);
    return ok;
}

void workers_end_turn(Workers *workers) {
    pthread_mutex_lock(&workers->lock);
    workers->turn++;
    pthread_cond_signal(&workers->turns[workers->turn % workers->count]);
    pthread_mutex_unlock(&workers->lock);
}
