// A pseudorandom order of 0 ... n-1 that no table holds: any place of it is computed by itself.
#ifndef CORE_BASE_PERMUTATION_H
#define CORE_BASE_PERMUTATION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What stands at `place` in the order of n numbers, 0 <= place < n, that (seed, stream) stand for. Each of
// 0 ... n-1 stands at one place.
int64_t permutation_at(uint64_t seed, uint64_t stream, int64_t n, int64_t place);

#ifdef __cplusplus
}
#endif
#endif
