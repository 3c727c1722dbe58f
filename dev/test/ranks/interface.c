// What crosses between ranks arrives where it should; see worker.h.
#include "core/collectives.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 1000

// A value that says which rank, block and element it comes from.
static double mark(int rank, int block, int64_t i) {
    return 1e6 * rank + 1e4 * block + (double)i;
}

static void fill(double *data, int rank, int blocks) {
    for (int b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < COUNT; i++) data[b * COUNT + i] = mark(rank, b, i);
    }
}

// Sum over the group's ranks of what each has in this place.
static double sum_of_marks(int ranks, int block, int64_t i) {
    double sum = 0;
    for (int r = 0; r < ranks; r++) sum += mark(r, block, i);
    return sum;
}

static void check_sums(Collectives *queue, RankGroup group, int own, int size, double *data) {
    fill(data, own, 1);
    collectives_all_reduce(queue, group, data, COUNT, ELEMENT_F64);
    collectives_wait(queue, "all-reduce");
    for (int64_t i = 0; i < COUNT; i++) {
        expect(queue->ranks, data[i] == sum_of_marks(size, 0, i), "all-reduce: element %d is %f", (int)i,
               data[i]);
    }
    fill(data, own, size);
    collectives_reduce_scatter(queue, group, data, COUNT, ELEMENT_F64);
    collectives_progress(queue);
    collectives_wait(queue, "reduce-scatter");
    for (int64_t i = 0; i < COUNT; i++) {
        double got = data[own * COUNT + i];
        expect(queue->ranks, got == sum_of_marks(size, own, i), "reduce-scatter: element %d is %f", (int)i,
               got);
    }
}

static void check_copies(Collectives *queue, RankGroup group, int own, int size, double *data,
                         double *other) {
    memset(data, 0, (size_t)(size * COUNT) * sizeof *data);
    for (int64_t i = 0; i < COUNT; i++) data[own * COUNT + i] = mark(own, own, i);
    collectives_all_gather(queue, group, data, COUNT, ELEMENT_F64);
    fill(other, own, 1);
    collectives_broadcast(queue, group, other, COUNT, ELEMENT_F64);
    collectives_wait(queue, "all-gather and broadcast");
    for (int64_t i = 0; i < size * COUNT; i++) {
        int r = (int)(i / COUNT);
        expect(queue->ranks, data[i] == mark(r, r, i % COUNT), "all-gather: element %d is %f", (int)i,
               data[i]);
    }
    for (int64_t i = 0; i < COUNT; i++) {
        expect(queue->ranks, other[i] == mark(0, 0, i), "broadcast: element %d is %f", (int)i, other[i]);
    }
    fill(data, own, size);
    collectives_all_to_all(queue, group, other, data, COUNT, ELEMENT_F64);
    collectives_wait(queue, "all-to-all");
    for (int64_t i = 0; i < size * COUNT; i++) {
        double want = mark((int)(i / COUNT), own, i % COUNT);
        expect(queue->ranks, other[i] == want, "all-to-all: element %d is %f", (int)i, other[i]);
    }
}

static void check_neighbours(Collectives *queue, RankGroup group, int own, int size, double *data,
                             double *other) {
    for (int by = -1; by <= 1; by += 2) {
        fill(data, own, 1);
        for (int64_t i = 0; i < COUNT; i++) other[i] = -1;
        collectives_shift(queue, group, by, other, data, COUNT, ELEMENT_F64);
        collectives_wait(queue, "shift");
        bool has = own - by >= 0 && own - by < size;
        for (int64_t i = 0; i < COUNT; i++) {
            expect(queue->ranks, other[i] == (has ? mark(own - by, 0, i) : -1),
                   "shift by %d: element %d is %f", by, (int)i, other[i]);
        }
    }
    // Round the group, each adding one.
    double token = own == 0 ? 0 : -1;
    if (own > 0) collectives_receive(queue, group, own - 1, &token, 1, ELEMENT_F64);
    collectives_wait(queue, "the token");
    token++;
    if (own + 1 < size) collectives_send(queue, group, own + 1, &token, 1, ELEMENT_F64);
    collectives_wait(queue, "the token");
    expect(queue->ranks, token == own + 1, "the token is %f", token);
}

static void check_host(Ranks *ranks) {
    double sums[2] = {ranks->rank + 1.0, 0.5};
    ranks_sum(ranks, sums, 2);
    expect(ranks, sums[0] == ranks->size * (ranks->size + 1) / 2.0 && sums[1] == 0.5 * ranks->size,
           "sums %f, %f", sums[0], sums[1]);
    int64_t number = 5 + ranks->rank;
    ranks_broadcast(ranks, &number, sizeof number);
    expect(ranks, number == 5, "broadcast gave %d", (int)number);

    Error error;
    char want[64];
    expect(ranks, ranks_agree(ranks, true, &error) && !ranks->agreed, "all are well");
    error_set(&error, STATUS_DATA, "no shard");
    expect(ranks, !ranks_agree(ranks, ranks->rank != 1, &error), "rank 1 is not well");
    snprintf(want, sizeof want, "rank 1 on %s: no shard", ranks_host(ranks, 1));
    expect(ranks, error.status == STATUS_DATA && strcmp(error.message, want) == 0 && ranks->agreed,
           "told: %s", error.message);
    error_set(&error, STATUS_MEMORY, "none has room");
    expect(ranks, !ranks_agree(ranks, false, &error) && strcmp(error.message, "none has room") == 0,
           "told: %s", error.message);
    ranks->agreed = false;
    expect(ranks, ranks_compare(ranks, "the same", 7, &error), "equal hashes");
    expect(ranks, !ranks_compare(ranks, "the build", ranks->rank == ranks->size - 1 ? 8 : 7, &error),
           "unlike");
    snprintf(want, sizeof want, "the build of rank %d on ", ranks->size - 1);
    expect(ranks, strncmp(error.message, want, strlen(want)) == 0, "told: %s", error.message);
    ranks->agreed = false;
}

void scenario_interface(Ranks *ranks) {
    Collectives *queue = collectives_mpi(ranks);
    double *data = (double *)alloc_or_exit((size_t)(ranks->size * COUNT), sizeof *data);
    double *other = (double *)alloc_or_exit((size_t)(ranks->size * COUNT), sizeof *other);
    for (int g = 0; g < 2; g++) {
        RankGroup group = (RankGroup)g;
        int own = group == RANKS_ALL ? ranks->rank : ranks->rank % ranks->context_size;
        int size = group == RANKS_ALL ? ranks->size : ranks->context_size;
        check_sums(queue, group, own, size, data);
        check_copies(queue, group, own, size, data, other);
        check_neighbours(queue, group, own, size, data, other);
    }
    check_host(ranks);
    free(data);
    free(other);
    collectives_destroy(queue);
}
