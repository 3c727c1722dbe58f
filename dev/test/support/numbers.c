// Numbers for tests; see numbers.h.
#include "dev/test/support/numbers.h"

#include "core/base/error.h"
#include "core/base/random.h"

#include <math.h>

int64_t numbers_between(uint64_t stream, uint64_t index, int64_t low, int64_t high) {
    return low + (int64_t)(random_bits(2, stream, index) % (uint64_t)(high - low + 1));
}

// The sum of four 16-bit uniform numbers: near enough to a normal, at the cost of one draw.
void numbers_fill(float *x, int64_t count, uint64_t stream, double std) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = random_bits(1, stream, (uint64_t)i);
        double sum = 0;
        for (int part = 0; part < 4; part++) sum += (double)(bits >> (16 * part) & 0xffff) + 0.5;
        x[i] = (float)((sum / 65536 - 2) * sqrt(3.0) * std);
    }
}

float *numbers_new(int64_t count, uint64_t stream, double std) {
    float *x = (float *)alloc_or_exit((size_t)count, sizeof *x);
    numbers_fill(x, count, stream, std);
    return x;
}

double *numbers_zeros(int64_t count) {
    return (double *)alloc_or_exit((size_t)count, sizeof(double));
}

double numbers_error(const float *got, const double *want, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return difference == 0 ? 0 : sqrt(difference / norm);
}

double numbers_dot(const float *a, const float *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)a[i] * b[i];
    return sum;
}

bool numbers_zero(const float *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (x[i] != 0) return false;
    }
    return true;
}
