// What the files that call MPI share; see ranks_mpi.h.
#include "core/ranks/ranks_mpi.h"

#include "core/ranks/ranks_watch.h"

void ranks_mpi_wait(Ranks *ranks, MPI_Request *requests, int count, const char *what) {
    RanksWait wait = ranks_wait_begin(what);
    for (;;) {
        int done;
        ranks_mpi_check(ranks, MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE), what);
        if (done) return;
        ranks_wait_tick(ranks, &wait);
    }
}
