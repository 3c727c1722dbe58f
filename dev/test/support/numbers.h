// Numbers for tests of the CPU engine: random inputs, and errors by norm against a float64 reference.
#ifndef TEST_SUPPORT_NUMBERS_H
#define TEST_SUPPORT_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// An integer in [low, high].
int64_t numbers_between(uint64_t stream, uint64_t index, int64_t low, int64_t high);

// Fills x with bell-shaped numbers of mean 0 and this standard deviation.
void numbers_fill(float *x, int64_t count, uint64_t stream, double std);
// New memory filled so; release with free().
float *numbers_new(int64_t count, uint64_t stream, double std);

// New zeroed memory; release with free().
double *numbers_zeros(int64_t count);

// ||got - want|| / ||want||; NaN when either holds one, infinite when only `want` is zero.
double numbers_error(const float *got, const double *want, int64_t count);

// In float64.
double numbers_dot(const float *a, const float *b, int64_t count);

// Whether all are exactly zero.
bool numbers_zero(const float *x, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
