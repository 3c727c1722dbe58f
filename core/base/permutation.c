// A pseudorandom permutation; see permutation.h.
//
// A Feistel network permutes the numbers of 2b bits: each round adds (by exclusive or) to one half of the
// bits a random function of the other half, which can be undone, whatever the function is. Numbers of n and
// more are permuted again until one below n comes out: the cycle that a number below n is on leads there
// (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
#include "core/base/permutation.h"

#include "core/base/random.h"

#include <assert.h>

#define ROUNDS     8
#define LEAST_BITS 2 // of a half: with one bit too few orders would come out

// The fewest bits whose square of values holds n.
static int half_bits(int64_t n) {
    int bits = LEAST_BITS;
    while (bits < 31 && (INT64_C(1) << 2 * bits) < n) bits++;
    return bits;
}

static uint64_t network(uint64_t seed, uint64_t stream, int bits, uint64_t value) {
    uint64_t mask = (UINT64_C(1) << bits) - 1, left = value >> bits, right = value & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t mixed = left ^ (random_bits(seed, stream, round << 32 | right) & mask);
        left = right;
        right = mixed;
    }
    return left << bits | right;
}

int64_t permutation_at(uint64_t seed, uint64_t stream, int64_t n, int64_t place) {
    assert(0 <= place && place < n && n <= INT64_C(1) << 62);
    int bits = half_bits(n);
    uint64_t value = (uint64_t)place;
    do value = network(seed, stream, bits, value);
    while (value >= (uint64_t)n);
    return (int64_t)value;
}
