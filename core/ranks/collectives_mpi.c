// Collectives over host memory by MPI's non-blocking operations; see collectives.h.
#include "core/ranks/collectives.h"
#include "core/ranks/ranks_mpi.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (INT64_C(1) << 30) // of one message

// A result that MPI delivers elsewhere than it belongs: MPI lets no reduce-scatter end within its input.
typedef struct {
    void *to, *from;
    int64_t count;
    Element type;
    bool adds;
} Delivery;

typedef struct {
    Collectives base;
    MPI_Comm comm; // of the group, and of this queue alone
    MPI_Request *requests;
    int count, capacity;
    Delivery *deliveries;
    int n_deliveries, delivery_capacity;
    int marked, marked_deliveries; // so many of the first
} MpiQueue;

static MpiQueue *queue_of(Collectives *queue) {
    return (MpiQueue *)queue;
}

static MPI_Datatype sum_type(Element type) {
    assert(type == ELEMENT_F32 || type == ELEMENT_F64);
    return type == ELEMENT_F64 ? MPI_DOUBLE : MPI_FLOAT;
}

// ---- The queue

// Room for n more of `size` bytes in a list that holds count.
static void *list_grow(void *list, int count, int *capacity, int n, size_t size) {
    if (count + n <= *capacity) return list;
    *capacity = 2 * (count + n);
    void *grown = alloc_or_exit((size_t)*capacity, size);
    if (count > 0) memcpy(grown, list, (size_t)count * size);
    free(list);
    return grown;
}

// A place for one more request.
static MPI_Request *next_request(MpiQueue *q) {
    // NOLINTNEXTLINE(bugprone-sizeof-expression) a request is a pointer here, and the list is of such
    q->requests = (MPI_Request *)list_grow(q->requests, q->count, &q->capacity, 1, sizeof *q->requests);
    return &q->requests[q->count++];
}

static void queued(const MpiQueue *q, int code, const char *what) {
    ranks_mpi_check(q->base.ranks, code, what);
}

// MPI counts in int.
static int int_count(const MpiQueue *q, int64_t count) {
    Error error;
    if (count <= INT_MAX) return (int)count;
    error_set(&error, STATUS_USAGE,
              "an operation between ranks has %lld elements a rank, and MPI counts up to %d; use more ranks",
              (long long)count, INT_MAX);
    ranks_fail(q->base.ranks, &error);
}

static void mpi_progress(Collectives *queue) {
    MpiQueue *q = queue_of(queue);
    int done;
    if (q->count > 0) queued(q, MPI_Testall(q->count, q->requests, &done, MPI_STATUSES_IGNORE), "progress");
}

static void add_float(float *sum, const float *terms, int64_t count) {
    for (int64_t i = 0; i < count; i++) sum[i] += terms[i];
}
static void add_double(double *sum, const double *terms, int64_t count) {
    for (int64_t i = 0; i < count; i++) sum[i] += terms[i];
}

static void deliver(const Delivery *d) {
    if (!d->adds) {
        memcpy(d->to, d->from, (size_t)(d->count * element_size(d->type)));
    } else if (d->type == ELEMENT_F64) {
        add_double((double *)d->to, (const double *)d->from, d->count);
    } else {
        add_float((float *)d->to, (const float *)d->from, d->count);
    }
    free(d->from);
}

// Until the first requests are complete, and the first deliveries made; the others move up.
static void wait_for_first(MpiQueue *q, int requests, int deliveries, const char *what) {
    if (requests > 0) ranks_mpi_wait(q->base.ranks, q->requests, requests, what);
    q->count -= requests;
    // NOLINTNEXTLINE(bugprone-sizeof-expression) as above
    if (q->count > 0) memmove(q->requests, q->requests + requests, (size_t)q->count * sizeof *q->requests);
    for (int i = 0; i < deliveries; i++) deliver(&q->deliveries[i]);
    q->n_deliveries -= deliveries;
    if (q->n_deliveries > 0) {
        memmove(q->deliveries, q->deliveries + deliveries, (size_t)q->n_deliveries * sizeof *q->deliveries);
    }
    q->marked = q->marked_deliveries = 0;
}

static void mpi_mark(Collectives *queue) {
    MpiQueue *q = queue_of(queue);
    q->marked = q->count;
    q->marked_deliveries = q->n_deliveries;
}

static void mpi_wait_marked(Collectives *queue, const char *what) {
    MpiQueue *q = queue_of(queue);
    wait_for_first(q, q->marked, q->marked_deliveries, what);
}

static void mpi_wait(Collectives *queue, const char *what) {
    MpiQueue *q = queue_of(queue);
    wait_for_first(q, q->count, q->n_deliveries, what);
}

// ---- Sums

static void mpi_all_reduce(Collectives *queue, void *data, int64_t count, Element type) {
    MpiQueue *q = queue_of(queue);
    int n = int_count(q, count);
    queued(q, MPI_Iallreduce(MPI_IN_PLACE, data, n, sum_type(type), MPI_SUM, q->comm, next_request(q)),
           "all-reduce");
}

// This rank's block of the sum goes `to`, or is added there.
static void sum_block(MpiQueue *q, void *to, bool adds, void *data, int64_t count, Element type) {
    int n = int_count(q, count);
    q->deliveries = (Delivery *)list_grow(q->deliveries, q->n_deliveries, &q->delivery_capacity, 1,
                                          sizeof *q->deliveries);
    Delivery *delivery = &q->deliveries[q->n_deliveries++];
    delivery->from = alloc_or_exit((size_t)(count * element_size(type)), 1);
    delivery->to = to;
    delivery->count = count;
    delivery->type = type;
    delivery->adds = adds;
    queued(
        q,
        MPI_Ireduce_scatter_block(data, delivery->from, n, sum_type(type), MPI_SUM, q->comm, next_request(q)),
        "reduce-scatter");
}

static void mpi_reduce_scatter(Collectives *queue, void *data, int64_t count, Element type) {
    char *own = (char *)data + queue->rank * count * element_size(type);
    sum_block(queue_of(queue), own, false, data, count, type);
}

static void mpi_add_share(Collectives *queue, void *share, void *data, int64_t count, Element type) {
    sum_block(queue_of(queue), share, true, data, count, type);
}

// ---- Copies

static void mpi_all_gather(Collectives *queue, void *data, int64_t count, Element type) {
    MpiQueue *q = queue_of(queue);
    // In units of whole elements: the count of one rank is what has to fit an int.
    MPI_Datatype unit = type == ELEMENT_F64 ? MPI_DOUBLE : type == ELEMENT_F32 ? MPI_FLOAT : MPI_UINT16_T;
    queued(q,
           MPI_Iallgather(MPI_IN_PLACE, 0, unit, data, int_count(q, count), unit, q->comm, next_request(q)),
           "all-gather");
}

static void mpi_send(Collectives *queue, int to, const void *data, int64_t count, Element type) {
    MpiQueue *q = queue_of(queue);
    int64_t bytes = count * element_size(type);
    for (int64_t at = 0; at < bytes; at += PIECE_BYTES) {
        int n = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
        queued(q, MPI_Isend((const char *)data + at, n, MPI_BYTE, to, 0, q->comm, next_request(q)), "send");
    }
}

static void mpi_receive(Collectives *queue, int from, void *data, int64_t count, Element type) {
    MpiQueue *q = queue_of(queue);
    int64_t bytes = count * element_size(type);
    for (int64_t at = 0; at < bytes; at += PIECE_BYTES) {
        int n = (int)(bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES);
        queued(q, MPI_Irecv((char *)data + at, n, MPI_BYTE, from, 0, q->comm, next_request(q)), "receive");
    }
}

static void mpi_all_to_all(Collectives *queue, void *out, const void *in, int64_t count, Element type) {
    int size = queue->size, own = queue->rank;
    int64_t block = count * element_size(type);
    for (int i = 1; i < size; i++) { // each rank begins with another partner
        int from = (own - i + size) % size;
        mpi_receive(queue, from, (char *)out + from * block, count, type);
    }
    for (int i = 1; i < size; i++) {
        int to = (own + i) % size;
        mpi_send(queue, to, (const char *)in + to * block, count, type);
    }
    memcpy((char *)out + own * block, (const char *)in + own * block, (size_t)block);
}

static void mpi_shift(Collectives *queue, int by, void *out, const void *in, int64_t count, Element type) {
    int size = queue->size, own = queue->rank;
    if (own - by >= 0 && own - by < size) mpi_receive(queue, own - by, out, count, type);
    if (own + by >= 0 && own + by < size) mpi_send(queue, own + by, in, count, type);
}

// ---- Opening

static void mpi_destroy(Collectives *queue) {
    MpiQueue *q = queue_of(queue);
    if (queue->ranks->connection) {
        mpi_wait(queue, "the end of a queue");
        MPI_Comm_free(&q->comm);
    }
    free(q->requests);
    free(q->deliveries);
    free(q);
}

Collectives *collectives_mpi(Ranks *ranks, RankGroup group) {
    static const CollectivesApi api = COLLECTIVES_API("mpi", mpi);
    MpiQueue *q = (MpiQueue *)alloc_or_exit(1, sizeof *q);
    collectives_join(&q->base, &api, ranks, group);
    if (ranks->connection) {
        MPI_Comm comm = group == RANKS_ALL ? ranks->connection->all : ranks->connection->context;
        MPI_Request request;
        queued(q, MPI_Comm_idup(comm, &q->comm, &request), "opening a queue");
        ranks_mpi_wait(ranks, &request, 1, "opening a queue");
    }
    return &q->base;
}
