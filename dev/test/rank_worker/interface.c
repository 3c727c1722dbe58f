// What crosses between ranks arrives where it should; see worker.h.
#include "dev/test/rank_worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 1000

// Two arrays of a block for each rank, on the host and in the memory that the queue works on.
typedef struct {
    const Subject *subject;
    Collectives *queue;
    size_t bytes;
    double *data, *other;
    void *data_there, *other_there;
} Exchange;

// A value that says which rank, block and element it comes from.
static double mark(int rank, int block, int64_t i) {
    return 1e6 * rank + 1e4 * block + (double)i;
}

static void fill(double *data, int rank, int blocks) {
    for (int b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < COUNT; i++) data[b * COUNT + i] = mark(rank, b, i);
    }
}

static void put(Exchange *e) {
    e->subject->put(e->data_there, e->data, e->bytes);
    e->subject->put(e->other_there, e->other, e->bytes);
}

static void wait_and_get(Exchange *e, const char *what) {
    collectives_wait(e->queue, what);
    e->subject->get(e->data, e->data_there, e->bytes);
    e->subject->get(e->other, e->other_there, e->bytes);
}

// Sum over the group's ranks of what each has in this place.
static double sum_of_marks(int ranks, int block, int64_t i) {
    double sum = 0;
    for (int r = 0; r < ranks; r++) sum += mark(r, block, i);
    return sum;
}

static void check_sums(Exchange *e) {
    const double *data = e->data;
    fill(e->data, e->queue->rank, 1);
    put(e);
    collectives_all_reduce(e->queue, e->data_there, COUNT, ELEMENT_F64);
    wait_and_get(e, "all-reduce");
    for (int64_t i = 0; i < COUNT; i++) {
        expect(e->queue->ranks, data[i] == sum_of_marks(e->queue->size, 0, i), "all-reduce: element %d is %f",
               (int)i, data[i]);
    }
    fill(e->data, e->queue->rank, e->queue->size);
    put(e);
    collectives_reduce_scatter(e->queue, e->data_there, COUNT, ELEMENT_F64);
    collectives_progress(e->queue);
    wait_and_get(e, "reduce-scatter");
    for (int64_t i = 0; i < COUNT; i++) {
        double got = data[e->queue->rank * COUNT + i];
        expect(e->queue->ranks, got == sum_of_marks(e->queue->size, e->queue->rank, i),
               "reduce-scatter: element %d is %f", (int)i, got);
    }
}

// Sums that are added to what a rank has, of which the first is waited for alone.
static void check_shares(Exchange *e) {
    int blocks = e->queue->size, own = e->queue->rank;
    double *share_there = (double *)e->subject->take(2 * COUNT * sizeof *share_there);
    double *share = (double *)alloc_or_exit(2 * COUNT, sizeof *share);
    for (int i = 0; i < 2 * COUNT; i++) share[i] = 0.5;
    e->subject->put(share_there, share, 2 * COUNT * sizeof *share);
    collectives_wait_marked(e->queue, "nothing");
    fill(e->data, own, blocks);
    fill(e->other, own, blocks);
    put(e);
    collectives_add_share(e->queue, share_there, e->data_there, COUNT, ELEMENT_F64);
    collectives_mark(e->queue);
    collectives_add_share(e->queue, share_there + COUNT, e->other_there, COUNT, ELEMENT_F64);
    collectives_wait_marked(e->queue, "the first share");
    // Its place is free, and what comes there joins no sum.
    memset(e->data, 0xff, e->bytes);
    e->subject->put(e->data_there, e->data, e->bytes);
    e->subject->get(share, share_there, COUNT * sizeof *share);
    for (int64_t i = 0; i < COUNT; i++)
        expect(e->queue->ranks, share[i] == 0.5 + sum_of_marks(blocks, own, i), "the first share: %f",
               share[i]);
    collectives_wait(e->queue, "the second share");
    e->subject->get(share, share_there, 2 * COUNT * sizeof *share);
    for (int64_t i = 0; i < 2 * COUNT; i++)
        expect(e->queue->ranks, share[i] == 0.5 + sum_of_marks(blocks, own, i % COUNT), "a share: %f",
               share[i]);
    free(share);
    e->subject->release(share_there);
}

static void check_copies(Exchange *e) {
    const double *data = e->data, *other = e->other;
    memset(e->data, 0, e->bytes);
    for (int64_t i = 0; i < COUNT; i++)
        e->data[e->queue->rank * COUNT + i] = mark(e->queue->rank, e->queue->rank, i);
    put(e);
    collectives_all_gather(e->queue, e->data_there, COUNT, ELEMENT_F64);
    wait_and_get(e, "all-gather");
    for (int64_t i = 0; i < e->queue->size * COUNT; i++) {
        int r = (int)(i / COUNT);
        expect(e->queue->ranks, data[i] == mark(r, r, i % COUNT), "all-gather: element %d is %f", (int)i,
               data[i]);
    }
    fill(e->data, e->queue->rank, e->queue->size);
    put(e);
    collectives_all_to_all(e->queue, e->other_there, e->data_there, COUNT, ELEMENT_F64);
    wait_and_get(e, "all-to-all");
    for (int64_t i = 0; i < e->queue->size * COUNT; i++) {
        double want = mark((int)(i / COUNT), e->queue->rank, i % COUNT);
        expect(e->queue->ranks, other[i] == want, "all-to-all: element %d is %f", (int)i, other[i]);
    }
}

static void check_neighbours(Exchange *e) {
    for (int by = -1; by <= 1; by += 2) {
        fill(e->data, e->queue->rank, 1);
        for (int64_t i = 0; i < COUNT; i++) e->other[i] = -1;
        put(e);
        collectives_shift(e->queue, by, e->other_there, e->data_there, COUNT, ELEMENT_F64);
        wait_and_get(e, "shift");
        bool has = e->queue->rank - by >= 0 && e->queue->rank - by < e->queue->size;
        for (int64_t i = 0; i < COUNT; i++) {
            expect(e->queue->ranks, e->other[i] == (has ? mark(e->queue->rank - by, 0, i) : -1),
                   "shift by %d: element %d is %f", by, (int)i, e->other[i]);
        }
    }
    // Round the group, each adding one.
    e->data[0] = e->queue->rank == 0 ? 0 : -1;
    put(e);
    if (e->queue->rank > 0) collectives_receive(e->queue, e->queue->rank - 1, e->data_there, 1, ELEMENT_F64);
    wait_and_get(e, "the token");
    e->data[0]++;
    put(e);
    if (e->queue->rank + 1 < e->queue->size)
        collectives_send(e->queue, e->queue->rank + 1, e->data_there, 1, ELEMENT_F64);
    wait_and_get(e, "the token");
    expect(e->queue->ranks, e->data[0] == e->queue->rank + 1, "the token is %f", e->data[0]);
}

// The rank by which a group meets over NCCL.
static void expect_first(Ranks *ranks, int first) {
    expect(ranks, ranks->context_first == first, "the group's first rank is %d, not %d", ranks->context_first,
           first);
}

// The first and the last rank make a group, and each other one is its own.
static void check_marks(Exchange *e, Ranks *ranks) {
    Error error;
    int P = ranks->context_size, last = ranks->size - 1, number = ranks->rank == last ? 1 : 0;
    ranks_split_by(ranks, ranks->rank == last ? 0 : ranks->rank);
    ranks_group(ranks);
    e->queue = e->subject->open_queue(ranks, RANKS_CONTEXT);
    int size = ranks->rank == 0 || ranks->rank == last ? 2 : 1;
    expect(ranks, e->queue->size == size && e->queue->rank == number, "rank %d of a group of %d",
           e->queue->rank, e->queue->size);
    expect_first(ranks, size == 2 ? 0 : ranks->rank);
    check_sums(e);
    check_shares(e);
    check_copies(e);
    collectives_destroy(e->queue);
    expect(ranks, ranks_split(ranks, P, &error), "the split of before");
    expect_first(ranks, ranks->rank / P * P);
    ranks_group(ranks);
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

void scenario_interface(Ranks *ranks, const Subject *subject) {
    Exchange e;
    memset(&e, 0, sizeof e);
    e.subject = subject;
    e.bytes = (size_t)(ranks->size * COUNT) * sizeof *e.data;
    e.data = (double *)alloc_or_exit(e.bytes, 1);
    e.other = (double *)alloc_or_exit(e.bytes, 1);
    e.data_there = subject->take(e.bytes);
    e.other_there = subject->take(e.bytes);
    Collectives *queues[2]; // both at a time, as an engine has them
    for (int g = 0; g < 2; g++) {
        size_t before = subject->free_memory ? subject->free_memory() : 0;
        e.queue = queues[g] = subject->open_queue(ranks, (RankGroup)g);
        check_sums(&e);
        check_shares(&e);
        check_copies(&e);
        check_neighbours(&e);
        if (subject->free_memory && ranks->rank == 0)
            printf("a queue of %d has taken %.0f MB\n", e.queue->size,
                   1e-6 * (double)(before - subject->free_memory()));
    }
    check_marks(&e, ranks);
    check_host(ranks);
    subject->release(e.data_there);
    subject->release(e.other_there);
    free(e.data);
    free(e.other);
    for (int g = 0; g < 2; g++) collectives_destroy(queues[g]);
}
