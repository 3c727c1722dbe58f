// Rotary position embedding (Su et al., 2021) in the rotate-half layout of Hugging Face's Llama: element i of
// the first half of a head turns with element i of the second by position * frequency i.
#include "cpu/cpu.h"

void cpu_rope_table(real *cosines, real *sines, int64_t N, int64_t D, const RopeFrequencies *frequencies) {
#pragma omp parallel for
    for (int64_t n = 0; n < N; n++) {
        for (int64_t i = 0; i < D / 2; i++) {
            double angle = (double)n * frequencies->inverse[i];
            cosines[n * (D / 2) + i] = (real)(cos(angle) * frequencies->attention_factor);
            sines[n * (D / 2) + i] = (real)(sin(angle) * frequencies->attention_factor);
        }
    }
}

// Turns every head of x by `direction` (1 or -1) times its angle.
static void rotate(real *x, const real *cosines, const real *sines, int64_t B, int64_t N, int64_t heads,
                   int64_t D, int64_t first, real direction) {
    int64_t half = D / 2;
#pragma omp parallel for
    for (int64_t row = 0; row < B * N; row++) {
        const real *cosine = cosines + (first + row % N) * half, *sine = sines + (first + row % N) * half;
        for (int64_t h = 0; h < heads; h++) {
            real *low = x + (row * heads + h) * D, *high = low + half;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                real a = low[i], b = high[i], s = direction * sine[i];
                low[i] = a * cosine[i] - b * s;
                high[i] = b * cosine[i] + a * s;
            }
        }
    }
}

void cpu_rope_forward(real *x, const real *cosines, const real *sines, int64_t B, int64_t N, int64_t heads,
                      int64_t D, int64_t first) {
    rotate(x, cosines, sines, B, N, heads, D, first, 1);
}

void cpu_rope_backward(real *dx, const real *cosines, const real *sines, int64_t B, int64_t N, int64_t heads,
                       int64_t D, int64_t first) {
    rotate(dx, cosines, sines, B, N, heads, D, first, -1);
}
