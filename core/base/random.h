// Random numbers that depend on nothing but (seed, stream, index): no state, any order, any machine.
#ifndef CORE_BASE_RANDOM_H
#define CORE_BASE_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// 64 random bits: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) keyed by
// the seed, with stream and index as its counter.
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);

// In [0, 1), 53 bits.
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

// Standard normal, drawn again until |x| <= cut (cut > 0; use HUGE_VAL for none). Computed with IEEE basic
// operations alone, no libm, so that every machine gets the same bits.
double random_normal(uint64_t seed, uint64_t stream, uint64_t index, double cut);

#ifdef __cplusplus
}
#endif
#endif
