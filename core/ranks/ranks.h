// Ranks: the processes of one run, on one host or many, and what they tell each other about the run.
//
// A program under mpirun or srun is one of W ranks. P of them (--cp), neighbours in number, hold slices of
// the same sequences; the W / P groups of such ranks work on different sequences. A program that was started
// by itself is one rank, and then nothing here touches MPI. Tensors travel through core/ranks/collectives.h;
// here are small things on the host, on which every rank waits for all others: agreement on errors, sums,
// comparisons.
//
// Failures of the connection do not come back to the caller: they end the job with one message that names
// rank, host, step and cause (ranks_fail). So does a rank that the others have waited for too long, or that
// is gone.
#ifndef CORE_RANKS_RANKS_H
#define CORE_RANKS_RANKS_H

#include "core/ranks/ranks_fail.h"
#include "core/ranks/ranks_type.h"
#include "core/ranks/ranks_watch.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Beginning and end

// Connects with the other ranks where mpirun or srun started several (core/ranks/launcher.h), else is one
// rank, without MPI. `together` false: they have nothing to tell each other, and are counted only. Error
// (status 2) where the launcher's ranks would not find each other, if it can be, before MPI begins. What does
// not end within `connecting` seconds ends the process (core/ranks/ranks_guard.h).
bool ranks_open(Ranks *ranks, bool together, double connecting, Error *error);

// Says who works on which sequences, `context_size` ranks on each. Error (status 2) with the valid values.
// When all ranks have done so, they connect with those of their sequences by ranks_group.
bool ranks_split(Ranks *ranks, int64_t context_size, Error *error);
// Groups ranks of equal marks instead, which need not be neighbours, nor as many in each group: for measures.
void ranks_split_by(Ranks *ranks, int mark);
void ranks_group(Ranks *ranks);

// Rank 0 of `size` ranks that are not there, `per_host` on each host, for planning; ranks_split follows.
void ranks_imagine(Ranks *ranks, int64_t size, int64_t per_host);

// Waits for all ranks and parts from them.
void ranks_close(Ranks *ranks);

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

#ifdef __cplusplus
}
#endif
#endif
