// What MPI needs of a rank, and the watch.
#ifndef CORE_RANKS_RANKS_CONNECTION_H
#define CORE_RANKS_RANKS_CONNECTION_H

#define OMPI_SKIP_MPICXX 1
#include "core/ranks/ranks_type.h"

#include <mpi.h>

#define RANK_HOST_SIZE 64

// Who a rank is.
typedef struct {
    char host[RANK_HOST_SIZE];
    uint64_t machine;     // the host and its boot: hosts may share a name
    int64_t process;      // its id ...
    uint64_t process_set; // ... among those that see each other: host, its boot, pid namespace
} RankIdentity;

// What the watch of one rank says to another: a question, or the answer to it.
typedef struct {
    int64_t number;       // of the question
    int64_t milliseconds; // for which the rank that answers has waited itself
} RankWord;

// A word on its way to another rank; MPI owns it until it has gone.
typedef struct RankLetter {
    RankWord word;
    MPI_Request request;
    struct RankLetter *next;
} RankLetter;

struct RankConnection {
    MPI_Comm all, context;
    RankIdentity *identities; // of every rank
    // The watch (core/ranks/ranks_watch.c): questions and answers travel apart from all else.
    MPI_Comm watch;
    RankWord question;       // this rank's last one
    RankWord *answers;       // of every rank: its last answer to us
    RankLetter *letters;     // on their way
    double questioned_until; // somebody has asked, and will speak ...
    double yields_until;     // ... before this rank, which is a higher one
};

#endif
