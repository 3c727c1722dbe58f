// Whether the BLAS computes what it should on this processor, and the same on all ranks.
//
// Some builds of OpenBLAS choose kernels that are wrong, or do not exist, on processors newer than they are.
#ifndef CPU_BLAS_CHECK_H
#define CPU_BLAS_CHECK_H

#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// Holds a product of every kind that the engine asks for against plain loops, which takes milliseconds. Error
// (status 4) where one is wrong, or where a kernel dies of an instruction that the processor lacks: with the
// library, its core type, and what mends it; or where its buffers find no room. From here on each call of the
// BLAS is one thread.
bool blas_check(Error *error);

// To be called first. Where address space is limited the process ends without OpenBLAS's own end, which waits
// for threads: those that found no room for a buffer never come.
void blas_end_under_limit(void);

// "OpenBLAS 0.3.21 with kernels for Haswell"
void blas_describe(char *text, size_t size);

// Warns where ranks have other versions or core types than the first: sums are then rounded in other ways.
void blas_compare(Ranks *ranks);

#ifdef __cplusplus
}
#endif
#endif
