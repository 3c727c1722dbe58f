// What the GPU tests draw random numbers with: element i of a tensor is a function of a seed and i, the same
// on the host and on the GPU.
#ifndef TEST_GPU_MIX_CUH
#define TEST_GPU_MIX_CUH

#include <stdint.h>

// 64 bits that look random, each of all of x.
static inline __host__ __device__ uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

#endif
