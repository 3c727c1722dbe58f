// Context parallelism in the CPU engine: rows of a sequence that lie on P ranks, exchanged for heads; see
// core/engine/context.h.
#ifndef CPU_CONTEXT_H
#define CPU_CONTEXT_H

#include "core/ranks/collectives.h"
#include "core/engine/parts.h"
#include "cpu/real.h"
#include "cpu/rows.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef LIGHTHOUSE_DOUBLE
#define ELEMENT_REAL ELEMENT_F64
#else
#define ELEMENT_REAL ELEMENT_F32
#endif

// This rank's place among those that share its sequences.
typedef struct {
    Collectives *queue;
    PartClock *clock;
    int64_t size, index; // P, and which slice lies here
    real *packed;        // room for one sequence's slice of all heads
} CpuCp;

// Until all that is queued has come; the clock tells how long that took.
void cpu_context_wait(const CpuCp *cp, const char *what);

// whole (B, n P, own, D) = rows of the whole sequences for this rank's share of the heads. slice: n rows here
// of `heads` heads, counted as they are stored; own = context_heads(heads, P) / P.
void cpu_context_all_to_all(const CpuCp *cp, real *whole, Rows slice, int64_t B, int64_t n, int64_t heads,
                            int64_t D);
// The way back: slice = this rank's rows of all heads; of a head that several ranks have, the sum of theirs
// in the order of ranks.
void cpu_context_return(const CpuCp *cp, Rows slice, const real *whole, int64_t B, int64_t n, int64_t heads,
                        int64_t D);

#ifdef __cplusplus
}
#endif
#endif
