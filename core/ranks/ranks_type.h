// What a rank knows of itself and of the others.
#ifndef CORE_RANKS_RANKS_TYPE_H
#define CORE_RANKS_RANKS_TYPE_H

#include <stdbool.h>
#include <stdint.h>

#define RANKS_LONG_PATIENCE   1800.0 // seconds: while files are read or written
#define RANKS_CONNECT_SECONDS 300.0  // until all hosts have started their ranks, and these have connected

// Who takes part: all ranks, or those that share this rank's sequences.
typedef enum { RANKS_ALL, RANKS_CONTEXT } RankGroup;

typedef struct RankConnection RankConnection; // what MPI needs, core/ranks/ranks_connection.h

typedef struct {
    int rank, size;                 // among all, W
    int local_rank, local_size;     // among those of this host
    int host;                       // the first rank on this host
    int context_rank, context_size; // P: slice context_rank of each sequence lies here; rank % P
    int context_first;              // among all: the first of these P
    int data_rank, data_size;       // W / P: which sequences; rank / P
    int64_t step;                   // the update that is being worked on, for messages
    double patience;                // seconds that one rank waits for the others ...
    double connecting;              // ... and that connecting may take
    bool agreed;                    // every rank holds the same error: ranks_agree has failed
    RankConnection *connection;     // NULL: alone, or only imagined
} Ranks;

static inline bool ranks_many(const Ranks *ranks) {
    return ranks && ranks->size > 1;
}
static inline int ranks_count(const Ranks *ranks) {
    return ranks ? ranks->size : 1;
}
static inline int ranks_rank(const Ranks *ranks) {
    return ranks ? ranks->rank : 0;
}
static inline int ranks_context(const Ranks *ranks) {
    return ranks ? ranks->context_size : 1;
}
static inline bool ranks_first(const Ranks *ranks) {
    return !ranks || ranks->rank == 0;
}

#endif
