// Saves beside training: the thread, and the agreement of the ranks; see saver.h.
#include "core/checkpoint/saver.h"

#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/checkpoint_stages.h"
#include "core/base/clock.h"
#include "core/base/signals.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct Saver {
    Ranks *ranks; // NULL for one
    bool beside;
    CheckpointWork work;
    bool under_way; // from saver_begin until all stages are done, or one has failed
    double began, waited;

    // The thread's, from start_stage until it is joined.
    int stage; // the next one
    bool ok;   // of those done
    Error error;
    double ended;

    pthread_t thread;
    bool threaded; // there is one to be joined
    pthread_mutex_t lock;
    bool idle; // it has nothing more to do; under the lock
};

// Whether it holds for all ranks.
static bool all_of(Ranks *ranks, bool holds) {
    double count = holds;
    if (ranks) ranks_sum(ranks, &count, 1);
    return count == ranks_count(ranks);
}

Saver *saver_create(Engine *engine, bool beside) {
    Saver *saver = (Saver *)alloc_or_exit(1, sizeof *saver);
    saver->ranks = engine->config.ranks;
    pthread_mutex_init(&saver->lock, NULL);
    saver->beside = all_of(saver->ranks, beside);
    if (saver->beside) saver->work.snapshot = snapshot_create(engine, true);
    if (saver->beside && !all_of(saver->ranks, saver->work.snapshot != NULL)) {
        warn("no host memory for a copy of weights and moments: training waits while checkpoints are saved");
        snapshot_free(saver->work.snapshot);
        saver->beside = false;
    }
    if (!saver->beside) saver->work.snapshot = snapshot_create(engine, false);
    return saver;
}

void saver_free(Saver *saver) {
    if (!saver) return;
    if (saver->threaded) pthread_join(saver->thread, NULL);
    json_decref(saver->work.state.settings);
    snapshot_free(saver->work.snapshot);
    pthread_mutex_destroy(&saver->lock);
    free(saver);
}

// ---- The thread

// Alone all stages that are left; of several ranks one, for the next needs that of the others.
static void *work_on(void *argument) {
    Saver *saver = (Saver *)argument;
    do {
        saver->ok = checkpoint_stage(&saver->work, saver->stage, &saver->error);
        saver->stage++;
    } while (saver->ok && !ranks_many(saver->ranks) && saver->stage < CHECKPOINT_STAGES);
    saver->ended = now();
    pthread_mutex_lock(&saver->lock);
    saver->idle = true;
    pthread_mutex_unlock(&saver->lock);
    return NULL;
}

static void start_stage(Saver *saver) {
    saver->idle = false;
    saver->threaded = saver->beside && signals_thread(&saver->thread, work_on, saver);
    if (!saver->threaded) work_on(saver);
}

static bool is_idle(Saver *saver) {
    pthread_mutex_lock(&saver->lock);
    bool idle = saver->idle;
    pthread_mutex_unlock(&saver->lock);
    return idle;
}

// ---- Saves

void saver_begin(Saver *saver, const char *run, const TrainerState *state, int64_t context,
                 const ModelOrigin *origin, int64_t keep) {
    assert(!saver->under_way && snapshot_engine(saver->work.snapshot)->config.training);
    CheckpointWork *work = &saver->work;
    saver->began = now();
    work->run = run;
    work->context = context;
    work->origin = origin;
    work->keep = keep;
    json_decref(work->state.settings);
    work->state = *state;
    work->state.settings = json_deep_copy(state->settings); // jansson's counts are no matter for two threads
    checkpoint_list_files(work);
    snapshot_take(work->snapshot);
    saver->under_way = true;
    saver->stage = 0;
    start_stage(saver);
    saver->waited = now() - saver->began;
}

// Ends the stage that this rank has begun, and begins the next if there is one.
static bool next_stage(Saver *saver, Error *error) {
    if (saver->threaded) pthread_join(saver->thread, NULL);
    saver->threaded = false;
    if (!saver->ok) *error = saver->error;
    if (!ranks_agree(saver->ranks, saver->ok, error)) {
        checkpoint_abandon(&saver->work);
        saver->under_way = false;
        return false;
    }
    if (ranks_many(saver->ranks) && saver->stage == STAGE_PUBLISH) {
        checkpoint_share_digests(&saver->work, saver->ranks);
    }
    saver->under_way = saver->stage < CHECKPOINT_STAGES;
    if (saver->under_way) start_stage(saver);
    return true;
}

bool saver_tend(Saver *saver, bool wait, SaveReport *report, Error *error) {
    memset(report, 0, sizeof *report);
    if (!saver->under_way) return true;
    double since = now(), patience = saver->ranks ? saver->ranks->patience : 0;
    if (saver->ranks) saver->ranks->patience = RANKS_LONG_PATIENCE;
    bool ok = true;
    while (ok && saver->under_way && (wait || !saver->beside || all_of(saver->ranks, is_idle(saver))))
        ok = next_stage(saver, error);
    if (saver->ranks) saver->ranks->patience = patience;
    saver->waited += now() - since;
    if (!ok || saver->under_way) return ok;
    report->done = true;
    report->step = saver->work.state.step;
    report->seconds = saver->ended - saver->began;
    report->waited = saver->waited;
    return true;
}

bool checkpoint_save(Engine *engine, const char *run, const TrainerState *state, int64_t context,
                     const ModelOrigin *origin, Error *error) {
    SaveReport report;
    Saver *saver = saver_create(engine, false);
    saver_begin(saver, run, state, context, origin, 0);
    bool ok = saver_tend(saver, true, &report, error);
    saver_free(saver);
    return ok;
}
