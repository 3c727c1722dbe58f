// One rank of a test: finds its scenario and runs it; see worker.h.
#include "dev/test/rank_worker/worker.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void expect(Ranks *ranks, bool right, const char *format, ...) {
    if (right) return;
    Error error;
    va_list arguments;
    va_start(arguments, format);
    error.status = 1;
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    ranks_fail(ranks, &error);
}

// A rank that does not come to the sum: the last one stays away, stopped as a whole.
void scenario_hang(Ranks *ranks, const Subject *subject) {
    double one = 1;
    (void)subject;
    ranks->patience = IMPATIENT;
    ranks->step = 7;
    ranks_sum(ranks, &one, 1);
    if (ranks->rank == ranks->size - 1) raise(SIGSTOP);
    ranks_sum(ranks, &one, 1);
}

void scenario_die(Ranks *ranks, const Subject *subject) {
    double one = 1;
    (void)subject;
    ranks->step = 3;
    ranks_sum(ranks, &one, 1);
    if (ranks->rank == ranks->size - 1) raise(SIGKILL);
    ranks_sum(ranks, &one, 1);
}

// Connecting with a rank that never comes: the last one stands still before MPI begins. Seconds that it may
// take.
static double connect_seconds(const char *scenario) {
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (strcmp(scenario, "absent") != 0) return RANKS_CONNECT_SECONDS;
    if (rank && atoi(rank) == 2) raise(SIGSTOP);
    return 2;
}

int worker_main(int argc, char **argv, const Subject *subject) {
    static const struct {
        const char *name;
        void (*run)(Ranks *ranks, const Subject *subject);
    } scenarios[] = {
        {"interface", scenario_interface},
        {"data", scenario_data},
        {"context", scenario_context},
        {"shares", scenario_shares},
        {"checkpoint", scenario_checkpoint},
        {"hang", scenario_hang},
        {"die", scenario_die},
        {"update-hangs", scenario_update_hangs},
        {"update-dies", scenario_update_dies},
    };
    Ranks ranks;
    Error error;
    if (!ranks_open(&ranks, true, connect_seconds(argc > 1 ? argv[1] : ""), &error)) error_exit(&error);
    int64_t context = argc > 2 ? atoi(argv[2]) : 1;
    if (!ranks_agree(&ranks, ranks_split(&ranks, context, &error), &error)) ranks_exit(&ranks, &error);
    ranks_group(&ranks);
    bool ready = !subject->prepare || subject->prepare(&ranks, &error);
    if (!ranks_agree(&ranks, ready, &error)) ranks_exit(&ranks, &error);
    size_t i = 0, count = sizeof scenarios / sizeof *scenarios;
    while (argc > 1 && i < count && strcmp(scenarios[i].name, argv[1]) != 0) i++;
    expect(&ranks, argc > 1 && i < count, "no such scenario");
    scenarios[i].run(&ranks, subject);
    if (ranks.rank == 0)
        printf("%s: right on %d ranks, %d a sequence\n", argv[1], ranks.size, ranks.context_size);
    ranks_close(&ranks);
    return 0;
}
