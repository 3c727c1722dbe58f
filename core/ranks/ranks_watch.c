// The watch over waits for other ranks: nobody waits for ever for one that is gone or hangs; see
// ranks_watch.h.
//
// A rank whose patience is over asks all others. Those that wait too, whatever for, answer at once from their
// loops, and say for how long; after a moment the ones that have not answered are the cause. Where all have,
// but one has not waited long, it is on its way, and is asked again. The lowest rank that asks speaks.
#include "core/ranks/ranks_watch.h"

#include "core/base/clock.h"
#include "core/ranks/ranks_connection.h"
#include "core/ranks/ranks_fail.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_SECONDS   0.2  // between looks at the other ranks
#define ANSWER_SECONDS 2.0  // that others have to answer
#define LAST_SECONDS   20.0 // after which a rank that left the word to another speaks itself
#define SPIN_TICKS     200  // before the processor is left to others for longer

enum { TAG_QUESTION = 1, TAG_ANSWER = 2 };

RanksWait ranks_wait_begin(const char *what) {
    RanksWait wait = {what, now(), 0, 0, 0, 0};
    wait.looked = wait.since;
    return wait;
}

// ---- Ranks that are gone

// Whether a process has ended: it is no more, or only its status is left to be read.
static bool process_gone(int64_t process) {
    if (kill((pid_t)process, 0) != 0) return errno == ESRCH;
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)process);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = 0;
    const char *name_end = strrchr(line, ')');
    return name_end && strncmp(name_end, ") Z", 3) == 0;
}

// Of the ranks that share a process table, the first that lives speaks for one that is gone.
static void look_for_gone(Ranks *ranks, RanksWait *wait) {
    const RankIdentity *all = ranks->connection->identities;
    int gone = -1, speaker = -1;
    for (int r = 0; r < ranks->size; r++) {
        if (all[r].process_set != all[ranks->rank].process_set) continue;
        if (process_gone(all[r].process)) {
            gone = r;
        } else if (speaker < 0) {
            speaker = r;
        }
    }
    // At the second look: until then a question that explains it may come.
    if (gone < 0 || speaker != ranks->rank || ++wait->gone < 2) return;
    Error error;
    error_set(&error, STATUS_RANKS, "rank %d on %s (process %lld) died while this one waited for %s", gone,
              all[gone].host, (long long)all[gone].process, wait->what);
    ranks_fail(ranks, &error);
}

// ---- Questions and answers

// Releases what has gone; a rank that hangs may leave some on their way for long.
static void clear_letters(RankConnection *c) {
    for (RankLetter **at = &c->letters; *at;) {
        RankLetter *letter = *at;
        int gone = 0;
        MPI_Test(&letter->request, &gone, MPI_STATUS_IGNORE);
        if (!gone) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        free(letter);
    }
}

void ranks_watch_end(RankConnection *connection) {
    clear_letters(connection);
}

static void post(Ranks *ranks, const RankWord *word, int to, int tag) {
    RankConnection *c = ranks->connection;
    RankLetter *letter = (RankLetter *)alloc_or_exit(1, sizeof *letter);
    letter->word = *word;
    letter->next = c->letters;
    c->letters = letter;
    ranks_mpi_check(ranks, MPI_Isend(&letter->word, 2, MPI_INT64_T, to, tag, c->watch, &letter->request),
                    "the watch");
}

static void ask(Ranks *ranks) {
    RankConnection *c = ranks->connection;
    c->question.number++;
    for (int r = 0; r < ranks->size; r++) {
        if (r != ranks->rank) post(ranks, &c->question, r, TAG_QUESTION);
    }
}

static void hear(Ranks *ranks, const RanksWait *wait) {
    RankConnection *c = ranks->connection;
    clear_letters(c);
    for (;;) {
        int there;
        RankWord word;
        MPI_Status status;
        ranks_mpi_check(ranks, MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, c->watch, &there, &status),
                        "the watch");
        if (!there) return;
        int from = status.MPI_SOURCE;
        int code = MPI_Recv(&word, 2, MPI_INT64_T, from, status.MPI_TAG, c->watch, MPI_STATUS_IGNORE);
        ranks_mpi_check(ranks, code, "the watch");
        if (status.MPI_TAG == TAG_ANSWER) {
            c->answers[from] = word;
        } else {
            RankWord echo = {word.number, (int64_t)(1e3 * (now() - wait->since))};
            c->questioned_until = now() + LAST_SECONDS;
            if (from < ranks->rank) c->yields_until = now() + LAST_SECONDS;
            post(ranks, &echo, from, TAG_ANSWER);
        }
    }
}

// The message of a wait that has lasted too long; none where a rank is on its way.
static void accuse(const Ranks *ranks, RanksWait *wait) {
    const RankConnection *c = ranks->connection;
    int silent = 0, first = -1;
    bool coming = false;
    for (int r = ranks->size - 1; r >= 0; r--) {
        if (r == ranks->rank) continue;
        if (c->answers[r].number == c->question.number) {
            coming = coming || 1e-3 * (double)c->answers[r].milliseconds < ranks->patience / 4;
            continue;
        }
        first = r;
        silent++;
    }
    if (silent == 0 && coming) {
        wait->asked = 0;
        return;
    }
    Error error;
    double seconds = now() - wait->since;
    if (silent == 0) {
        error_set(&error, STATUS_RANKS, "all ranks wait for each other, this one for %.0f s for %s", seconds,
                  wait->what);
    } else {
        char more[32] = "";
        if (silent > 1) snprintf(more, sizeof more, " and %d more", silent - 1);
        error_set(
            &error, STATUS_RANKS,
            "rank %d on %s%s hangs: it has not come to %s for %.0f s (--watchdog sets how long to wait)",
            first, ranks_host(ranks, first), more, wait->what, seconds);
    }
    ranks_fail(ranks, &error);
}

void ranks_wait_renew(RanksWait *wait) {
    wait->since = now();
    wait->asked = 0;
}

void ranks_wait_tick(Ranks *ranks, RanksWait *wait) {
    if (wait->ticks++ < SPIN_TICKS) {
        sched_yield();
    } else {
        struct timespec moment = {0, 50000};
        nanosleep(&moment, NULL);
    }
    double time = now();
    if (!ranks->connection || !ranks->connection->identities || time - wait->looked < LOOK_SECONDS) return;
    wait->looked = time;
    hear(ranks, wait);
    // A rank that was stopped, and asked for, finds the others gone when it goes on: it is no judge of that.
    if (time > ranks->connection->questioned_until) look_for_gone(ranks, wait);
    if (time - wait->since < ranks->patience) return;
    if (wait->asked == 0) {
        ask(ranks);
        wait->asked = time;
    }
    bool speaks = time > ranks->connection->yields_until;
    if (time - wait->asked > ANSWER_SECONDS && speaks) accuse(ranks, wait);
}
