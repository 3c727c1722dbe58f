// FP8 operands of matrix products: 8-bit floating point under a scale for each block of values. The readable
// twin of what a GPU multiplies.
//
// The values stay in an array of `real`, each what its code stands for: code times scale, in float32. A scale
// is the block's largest magnitude over that of the format. So the largest value is met exactly, which powers
// of two would not do: where a few large values make up most of a sum, that lessens its error by a third
// (dev/results/fp8.md).
#ifndef CPU_FP8_H
#define CPU_FP8_H

#include "core/engine/fp8_rule.h"
#include "cpu/real.h"

#ifdef __cplusplus
extern "C" {
#endif

// Exponent and mantissa bits. e4m3 ends at 448, e5m2 at 57,344.
typedef enum { FP8_E4M3, FP8_E5M2 } Fp8Format;

// The nearest value of the format, of two as near that with an even code; beyond the largest, the largest.
// NaN stays NaN.
float fp8_round(Fp8Format format, float x);

// The scale of a block by its largest magnitude, at least 2^-126; NaN where that is none or infinite.
float fp8_scale(Fp8Format format, float largest);

// The values that share a scale, in a row-major matrix whose columns are a multiple of FP8_BLOCK. Blocks lie
// along the terms of the sum: (1, 128) where a product sums over columns, (128, 1) where it sums over rows. A
// square one serves either way. The last block of rows may be shorter.
typedef enum { FP8_ALONG_COLUMNS, FP8_ALONG_ROWS, FP8_SQUARE } Fp8Blocks;

// out = in as FP8, both (rows, cols). A block with a value that is not finite is NaN, so that none is hidden.
void fp8_quantize(real *out, const real *in, int64_t rows, int64_t cols, Fp8Format format, Fp8Blocks blocks);

#ifdef __cplusplus
}
#endif
#endif
