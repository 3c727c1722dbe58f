// The number the CPU engine computes in: float32, or float64 in the build that tests hold gradients against.
#ifndef CPU_REAL_H
#define CPU_REAL_H

#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef LIGHTHOUSE_DOUBLE
typedef double real;
#define real_gemm cblas_dgemm
#define real_sqrt sqrt
#define real_exp  exp
#else
typedef float real;
#define real_gemm cblas_sgemm
#define real_sqrt sqrtf
#define real_exp  fast_exp
#endif

// e^x to 2 ulp from -87 to 88, and as at these ends beyond them: 2^n e^r with n = round(x / ln 2) and a
// polynomial in r. NaN stays NaN. Plain arithmetic, so that compilers vectorise loops over it and every
// machine gets the same bits.
static inline float fast_exp(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    // 1.5 * 2^23: the fraction is rounded away, and n is in the lowest bits.
    float shifted = x * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693145752f - n * 1.42860677e-6f;
    float e = 1.38888889e-3f;
    e = e * r + 8.33333333e-3f;
    e = e * r + 4.16666667e-2f;
    e = e * r + 1.66666667e-1f;
    e = e * r + 0.5f;
    e = e * r + 1.0f;
    e = e * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return e * power;
}

#endif
