// Ranks: the processes of one run, on one host or many, and what they tell each other about the run.
//
// A program under mpirun or srun is one of W ranks. P of them (--cp), neighbours in number, hold slices of
// the same sequences; the W / P groups of such ranks work on different sequences. A program that was started
// by itself is one rank, and then nothing here touches MPI. Tensors travel through core/collectives.h; here
// are small things on the host, on which every rank waits for all others: agreement on errors, sums,
// comparisons.
//
// Failures of the connection do not come back to the caller: they end the job with one message that names
// rank, host, step and cause (ranks_fail). So does a rank that the others have waited for too long, or that
// is gone.
#ifndef CORE_RANKS_H
#define CORE_RANKS_H

#include "error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RANKS_LONG_PATIENCE 1800.0 // seconds: while files are read or written

// Who takes part: all ranks, or those that share this rank's sequences.
typedef enum { RANKS_ALL, RANKS_CONTEXT } RankGroup;

typedef struct RankConnection RankConnection; // what MPI needs, core/ranks_mpi.h

typedef struct {
    int rank, size;                 // among all, W
    int local_rank, local_size;     // among those of this host
    int context_rank, context_size; // P: slice context_rank of each sequence lies here; rank % P
    int data_rank, data_size;       // W / P: which sequences; rank / P
    int64_t step;                   // the update that is being worked on, for messages
    double patience;                // seconds that one rank waits for the others
    bool agreed;                    // every rank holds the same error: ranks_agree has failed
    RankConnection *connection;     // NULL: alone, or only imagined
} Ranks;

// ---- Beginning and end

// Connects with the other ranks where mpirun or srun started the program (seen in the environment), else is
// one rank. Error (status 2) where the launcher's ranks do not find each other.
bool ranks_open(Ranks *ranks, Error *error);

// Says who works on which sequences, `context_size` ranks on each. Error (status 2) with the valid values.
// When all ranks have done so, they connect with those of their sequences by ranks_group.
bool ranks_split(Ranks *ranks, int64_t context_size, Error *error);
void ranks_group(Ranks *ranks);

// Rank 0 of `size` ranks that are not there, `per_host` on each host, for planning; ranks_split follows.
void ranks_imagine(Ranks *ranks, int64_t size, int64_t per_host);

// Waits for all ranks and parts from them.
void ranks_close(Ranks *ranks);

// Prints one line that names this rank, its host, the step and the cause, and takes all ranks down, whatever
// they are doing. Alone it is error_exit.
void ranks_fail(const Ranks *ranks, const Error *error) __attribute__((noreturn));

// The end of a program that cannot go on: an error on which all ranks agreed is printed once, and all leave
// with its status; any other takes the job down as ranks_fail does.
void ranks_exit(Ranks *ranks, const Error *error) __attribute__((noreturn));

// ---- What all ranks do together; each call must be made by all of them in the same order

// Whether all ranks are well. ranks may be NULL. Where one is not, every rank gets false and the error of the
// first such one, with its number and host where not all have failed.
bool ranks_agree(Ranks *ranks, bool ok, Error *error);

// Likewise, behind work on which ranks wait for each other: an error that this one alone may know (any but
// that of what is not finite) takes the job down at once, for the others may not come here any more.
bool ranks_agree_worked(Ranks *ranks, bool ok, Error *error);

// Adds up over the ranks, in their order, so that every rank has the same bits.
void ranks_sum(Ranks *ranks, double *values, int count);

// `all` receives the `size` bytes of every rank, in their order.
void ranks_gather(Ranks *ranks, const void *mine, size_t size, void *all);

// Gives rank 0's bytes to all.
void ranks_broadcast(Ranks *ranks, void *bytes, size_t size);

// Holds a hash against that of rank 0. Error (status 2) on all ranks: "`what` of rank 1 on HOST differs ...".
bool ranks_compare(Ranks *ranks, const char *what, uint64_t hash, Error *error);

// ---- Helpers

// The GPU of this rank among `devices` that it sees: the one of its number on the host, or the only one.
// Error (status 2) where the host has more ranks than GPUs.
bool ranks_device(const Ranks *ranks, int devices, int *device, Error *error);

// The MPI library that this program was built with, and its version.
const char *ranks_library(void);

// The host's name of a rank.
const char *ranks_host(const Ranks *ranks, int rank);

static inline bool ranks_many(const Ranks *ranks) {
    return ranks && ranks->size > 1;
}
static inline int ranks_count(const Ranks *ranks) {
    return ranks ? ranks->size : 1;
}
static inline int ranks_context(const Ranks *ranks) {
    return ranks ? ranks->context_size : 1;
}
static inline bool ranks_first(const Ranks *ranks) {
    return !ranks || ranks->rank == 0;
}

// ---- The watch over waits (core/ranks_watch.c)

// One wait for other ranks. Whatever waits calls ranks_wait_tick in its loop: it yields the processor, and
// ends the job when a rank of this host is gone or `patience` is over; the message then names the ranks that
// do not wait with the others.
typedef struct {
    const char *what; // "the sum of the gradients"
    double since, asked, looked;
    int64_t ticks;
    int gone; // looks that have found a rank gone
} RanksWait;

RanksWait ranks_wait_begin(const char *what);
void ranks_wait_tick(Ranks *ranks, RanksWait *wait);

// What is waited for has come nearer: patience begins anew.
void ranks_wait_renew(RanksWait *wait);

#ifdef __cplusplus
}
#endif
#endif
