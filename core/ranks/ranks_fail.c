// The end of the job where a rank fails by itself; see ranks_fail.h.
#include "core/ranks/ranks_fail.h"

#include "core/base/console.h"
#include "core/ranks/launcher.h"
#include "core/ranks/ranks_connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *ranks_host(const Ranks *ranks, int rank) {
    return ranks->connection && ranks->connection->identities ? ranks->connection->identities[rank].host
                                                              : "this host";
}

void ranks_fail(const Ranks *ranks, const Error *error) {
    if (!ranks->connection) error_exit(error);
    char step[32] = "";
    if (ranks->step > 0) snprintf(step, sizeof step, ", step %lld", (long long)ranks->step);
    fflush(stdout);
    fprintf(stderr, "train_gpt_lighthouse: error: rank %d on %s%s: %s\n", ranks->rank,
            ranks_host(ranks, ranks->rank), step, error->message);
    fflush(stderr);
    console_settle(); // MPI_Abort may end this process at once
    launcher_reads(STDERR_FILENO);
    MPI_Abort(MPI_COMM_WORLD, error->status);
    exit(error->status);
}

void ranks_mpi_check(const Ranks *ranks, int code, const char *what) {
    if (code == MPI_SUCCESS) return;
    Error error;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    error_set(&error, STATUS_RANKS, "%s failed: %.400s", what, text);
    ranks_fail(ranks, &error);
}
