// Collectives: how tensors travel between ranks. One interface; MPI over host memory stands behind it for the
// CPU engine (core/ranks/collectives_mpi.c), NCCL over device memory for the CUDA engine.
//
// Every operation is queued and may go on while the caller computes. It reads what the caller (on the GPU:
// the caller's stream) wrote before the call; until collectives_wait its buffers must not be touched, and its
// result is there after that (on the GPU: for what is queued on the caller's stream then). A queue belongs to
// a group of ranks, and its operations are made by all of them in the same order; an engine opens a second
// queue where some should not wait for others. Failures end the job (ranks_fail): nothing here returns an
// error. Counts are of elements; through MPI they are at most INT32_MAX, but for
// what goes from one rank to another, which has no limit.
#ifndef CORE_RANKS_COLLECTIVES_H
#define CORE_RANKS_COLLECTIVES_H

#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { ELEMENT_F32, ELEMENT_F64, ELEMENT_BF16 } Element;

typedef struct Collectives Collectives;

typedef struct {
    const char *name; // "mpi", "nccl"
    void (*all_reduce)(Collectives *queue, void *data, int64_t count, Element type);
    void (*reduce_scatter)(Collectives *queue, void *data, int64_t count, Element type);
    void (*add_share)(Collectives *queue, void *share, void *data, int64_t count, Element type);
    void (*all_gather)(Collectives *queue, void *data, int64_t count, Element type);
    void (*all_to_all)(Collectives *queue, void *out, const void *in, int64_t count, Element type);
    void (*shift)(Collectives *queue, int by, void *out, const void *in, int64_t count, Element type);
    void (*send)(Collectives *queue, int to, const void *data, int64_t count, Element type);
    void (*receive)(Collectives *queue, int from, void *data, int64_t count, Element type);
    void (*progress)(Collectives *queue);
    void (*mark)(Collectives *queue);
    void (*wait_marked)(Collectives *queue, const char *what);
    void (*wait)(Collectives *queue, const char *what);
    void (*destroy)(Collectives *queue);
} CollectivesApi;

// All of a table: functions are called `prefix`_ and the field's name.
#define COLLECTIVES_API(name_, prefix)                                                                 \
    {                                                                                                  \
        .name = (name_), .all_reduce = prefix##_all_reduce, .reduce_scatter = prefix##_reduce_scatter, \
        .add_share = prefix##_add_share, .all_gather = prefix##_all_gather,                            \
        .all_to_all = prefix##_all_to_all, .shift = prefix##_shift, .send = prefix##_send,             \
        .receive = prefix##_receive, .progress = prefix##_progress, .mark = prefix##_mark,             \
        .wait_marked = prefix##_wait_marked, .wait = prefix##_wait, .destroy = prefix##_destroy,       \
    }

// First member of every queue's own structure.
struct Collectives {
    const CollectivesApi *api;
    Ranks *ranks;
    int rank, size; // of the queue's group
};

// A queue of a group over host memory; its ranks open it together, after ranks_group. It never fails.
Collectives *collectives_mpi(Ranks *ranks, RankGroup group);

// What every kind of queue begins with.
static inline void collectives_join(Collectives *queue, const CollectivesApi *api, Ranks *ranks,
                                    RankGroup group) {
    queue->api = api;
    queue->ranks = ranks;
    queue->rank = group == RANKS_ALL ? ranks->rank : ranks->context_rank;
    queue->size = group == RANKS_ALL ? ranks->size : ranks->context_size;
}

static inline void collectives_destroy(Collectives *queue) {
    if (queue) queue->api->destroy(queue);
}

static inline int64_t element_size(Element type) {
    return type == ELEMENT_F64 ? 8 : type == ELEMENT_F32 ? 4 : 2;
}

// data (count) = its sum over the ranks. Sums are of F32 and F64, on the GPU of BF16 too.
static inline void collectives_all_reduce(Collectives *queue, void *data, int64_t count, Element type) {
    queue->api->all_reduce(queue, data, count, type);
}

// data (ranks, count): block r of rank r = the sum of that block over the ranks; the other blocks are
// undefined afterwards.
static inline void collectives_reduce_scatter(Collectives *queue, void *data, int64_t count, Element type) {
    queue->api->reduce_scatter(queue, data, count, type);
}

// share (count) += what collectives_reduce_scatter gives this rank; data is undefined afterwards. Of F32 and
// F64.
static inline void collectives_add_share(Collectives *queue, void *share, void *data, int64_t count,
                                         Element type) {
    queue->api->add_share(queue, share, data, count, type);
}

// data (ranks, count): block r = block r of rank r.
static inline void collectives_all_gather(Collectives *queue, void *data, int64_t count, Element type) {
    queue->api->all_gather(queue, data, count, type);
}

// in, out (ranks, count): block r of out = this rank's block of rank r's in. in and out must not overlap.
static inline void collectives_all_to_all(Collectives *queue, void *out, const void *in, int64_t count,
                                          Element type) {
    queue->api->all_to_all(queue, out, in, count, type);
}

// out (count) = in of the rank `by` before this one in the group; where there is none, out stays as it is.
static inline void collectives_shift(Collectives *queue, int by, void *out, const void *in, int64_t count,
                                     Element type) {
    queue->api->shift(queue, by, out, in, count, type);
}

// From this rank to rank `to` of the group, which receives it.
static inline void collectives_send(Collectives *queue, int to, const void *data, int64_t count,
                                    Element type) {
    queue->api->send(queue, to, data, count, type);
}
static inline void collectives_receive(Collectives *queue, int from, void *data, int64_t count,
                                       Element type) {
    queue->api->receive(queue, from, data, count, type);
}

// Lets queued operations go on: MPI has no thread of its own to do so. Called between pieces of computing.
static inline void collectives_progress(Collectives *queue) {
    queue->api->progress(queue);
}

// Remembers what is queued by now; collectives_wait_marked then waits for that alone. Without a mark it waits
// for nothing.
static inline void collectives_mark(Collectives *queue) {
    queue->api->mark(queue);
}
static inline void collectives_wait_marked(Collectives *queue, const char *what) {
    queue->api->wait_marked(queue, what);
}

// Until all queued operations are complete. `what` is for the message when another rank does not come.
static inline void collectives_wait(Collectives *queue, const char *what) {
    queue->api->wait(queue, what);
}

#ifdef __cplusplus
}
#endif
#endif
