// What the files that call MPI share: core/ranks*.c and core/collectives_mpi.c.
#ifndef CORE_RANKS_MPI_H
#define CORE_RANKS_MPI_H

#define OMPI_SKIP_MPICXX 1
#include "ranks.h"

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RANK_HOST_SIZE 64

// Who a rank is.
typedef struct {
    char host[RANK_HOST_SIZE];
    int64_t process;      // its id ...
    uint64_t process_set; // ... among those that see each other: host and pid namespace
} RankIdentity;

// What the watch of one rank says to another: a question, or the answer to it.
typedef struct {
    int64_t number;       // of the question
    int64_t milliseconds; // for which the rank that answers has waited itself
} RankWord;

struct RankConnection {
    MPI_Comm all, context;
    RankIdentity *identities; // of every rank
    // The watch (core/ranks_watch.c): questions and answers travel apart from all else.
    MPI_Comm watch;
    RankWord question;       // this rank's last one
    RankWord *answers;       // of every rank: its last answer to us
    RankWord *echoes;        // what is being answered to every rank
    double questioned_until; // somebody has asked, and will speak ...
    double yields_until;     // ... before this rank, which is a higher one
};

// Ends the job where an MPI call has failed.
void ranks_mpi_check(const Ranks *ranks, int code, const char *what);

// Waits for requests under the watch.
void ranks_mpi_wait(Ranks *ranks, MPI_Request *requests, int count, const char *what);

#ifdef __cplusplus
}
#endif
#endif
