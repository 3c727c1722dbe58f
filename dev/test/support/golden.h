// Golden cases: their inputs, made again from a seed, and their files. dev/test/golden/README.md gives the
// formats.
#ifndef TEST_GOLDEN_H
#define TEST_GOLDEN_H

#include "core/model/hierarchy.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

double golden_uniform(uint32_t seed, uint32_t stream, uint32_t index);
double golden_z(uint32_t seed, uint32_t stream, uint32_t row, uint32_t col, uint32_t cols);
// To bfloat16 by way of float32, each to nearest even, as float.
float golden_bf16(double x);

typedef struct {
    LighthouseConfig config;
    uint32_t seed;
    int64_t N, H, D, S;
    Hierarchy hierarchy;
    float *q, *k, *v, *dout;           // (N, H, D)
    float *gate;                       // (N, H)
    float *score_q, *score_k;          // (H, E)
    int32_t *entries;                  // (H, S)
    float *out, *dq, *dk, *dv;         // (n_rows, H, D): rows 3, 10, 17, ...
    double *out_sum, *dq_sum, *dv_sum; // (H, D)
    int64_t n_rows;
} GoldenLayer;

// Reads a folder of a layer case and makes its inputs; false with a message on standard error.
bool golden_layer_open(GoldenLayer *layer, const char *folder);
void golden_layer_close(GoldenLayer *layer);

// ||a - b|| / ||b||; NaN when either holds one.
double relative_error(const float *a, const float *b, int64_t count);
// The kept rows of a whole result, and its sum over all rows.   x: (N, H, D)
double golden_rows_error(const GoldenLayer *layer, const float *x, const float *rows);
double golden_sum_error(const GoldenLayer *layer, const float *x, const double *sum);

#ifdef __cplusplus
}
#endif
#endif
