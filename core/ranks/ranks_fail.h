// The end of the job where a rank fails by itself.
#ifndef CORE_RANKS_RANKS_FAIL_H
#define CORE_RANKS_RANKS_FAIL_H

#include "core/base/error.h"
#include "core/ranks/ranks_type.h"

#ifdef __cplusplus
extern "C" {
#endif

// Prints one line that names this rank, its host, the step and the cause, and takes all ranks down, whatever
// they are doing. Alone it is error_exit.
void ranks_fail(const Ranks *ranks, const Error *error) __attribute__((noreturn));

// Does so where an MPI call has failed.
void ranks_mpi_check(const Ranks *ranks, int code, const char *what);

// The host's name of a rank.
const char *ranks_host(const Ranks *ranks, int rank);

#ifdef __cplusplus
}
#endif
#endif
