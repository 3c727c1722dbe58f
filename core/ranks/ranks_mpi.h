// What the files that call MPI share.
#ifndef CORE_RANKS_RANKS_MPI_H
#define CORE_RANKS_RANKS_MPI_H

#include "core/ranks/ranks_connection.h"
#include "core/ranks/ranks_fail.h"

#ifdef __cplusplus
extern "C" {
#endif

// Waits for requests under the watch.
void ranks_mpi_wait(Ranks *ranks, MPI_Request *requests, int count, const char *what);

#ifdef __cplusplus
}
#endif
#endif
