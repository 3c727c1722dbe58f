// FP8 operands; see fp8.h.
#include "cpu/fp8.h"

#include <float.h>

typedef struct {
    int mantissa; // bits
    int lowest;   // exponent of the smallest normal value; below it values are as far apart as there
    float most;   // the largest
} Format;

static const Format formats[] = {{3, -6, 448}, {2, -14, 57344}};

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float power_of_two(int exponent) {
    return float_of((uint32_t)(exponent + 127) << 23);
}

// To a power of two that is 2^23 times the distance of the format's values around x, float32 adds x rounded
// to that distance, ties to even.
static inline float round_to(const Format *format, float x) {
    float size = fabsf(x);
    int exponent = (int)(bits_of(size) >> 23) - 127;
    if (exponent < format->lowest) exponent = format->lowest;
    if (exponent > 20) exponent = 20; // beyond every format
    float shift = power_of_two(exponent - format->mantissa + 23);
    float rounded = (size + shift) - shift;
    rounded = rounded > format->most ? format->most : rounded;
    return copysignf(rounded, x);
}

float fp8_round(Fp8Format format, float x) {
    return round_to(&formats[format], x);
}

float fp8_scale(Fp8Format format, float largest) {
    float scale = largest / formats[format].most;
    if (!isfinite(largest)) return NAN;
    return scale < FLT_MIN ? FLT_MIN : scale;
}

// ---- blocks

// A strip is FP8_BLOCK columns of the rows of one block.   in, out: first of the strip, in rows of `cols`
typedef struct {
    const real *in;
    real *out;
    int64_t rows, cols;
} Strip;

// The largest magnitude of each column and of all, as the bits of a float32: in their order NaN is above all.
static uint32_t largest_bits(uint32_t *columns, const Strip *strip) {
    uint32_t all = 0;
    for (int c = 0; c < FP8_BLOCK; c++) columns[c] = 0;
    for (int64_t r = 0; r < strip->rows; r++) {
        const real *row = strip->in + r * strip->cols;
        for (int c = 0; c < FP8_BLOCK; c++) {
            uint32_t bits = bits_of(fabsf((float)row[c]));
            columns[c] = bits > columns[c] ? bits : columns[c];
        }
    }
    for (int c = 0; c < FP8_BLOCK; c++) all = columns[c] > all ? columns[c] : all;
    return all;
}

static void quantize_strip(const Strip *strip, Fp8Format format, bool by_column) {
    uint32_t columns[FP8_BLOCK], all = largest_bits(columns, strip);
    float scales[FP8_BLOCK], inverse[FP8_BLOCK];
    for (int c = 0; c < FP8_BLOCK; c++) {
        scales[c] = fp8_scale(format, float_of(by_column ? columns[c] : all));
        inverse[c] = 1 / scales[c];
    }
    for (int64_t r = 0; r < strip->rows; r++) {
        const real *in = strip->in + r * strip->cols;
        real *out = strip->out + r * strip->cols;
        for (int c = 0; c < FP8_BLOCK; c++)
            out[c] = round_to(&formats[format], (float)in[c] * inverse[c]) * scales[c];
    }
}

void fp8_quantize(real *out, const real *in, int64_t rows, int64_t cols, Fp8Format format, Fp8Blocks blocks) {
    int64_t height = blocks == FP8_ALONG_COLUMNS ? 1 : FP8_BLOCK, across = cols / FP8_BLOCK;
    int64_t strips = (rows + height - 1) / height * across;
#pragma omp parallel for
    for (int64_t i = 0; i < strips; i++) {
        int64_t row = i / across * height, at = row * cols + i % across * FP8_BLOCK;
        Strip strip = {in + at, out + at, rows - row < height ? rows - row : height, cols};
        quantize_strip(&strip, format, blocks == FP8_ALONG_ROWS);
    }
}
