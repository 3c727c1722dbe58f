// The update on the GPU: norm of all gradients, clipping, AdamW; the twin is cpu/adamw.c. The norm and the
// factor that it gives stay on the GPU, so that the host waits for nothing in between.
#ifndef CUDA_ADAMW_CUH
#define CUDA_ADAMW_CUH

#include "core/engine/engine.h"
#include "cuda/device/common.cuh"

// What the norm decides.
typedef struct {
    double norm;
    float factor; // on the gradients, by clipping; NaN where nothing may change: the norm is not finite, or
                  // too large
} GradientNorm;

#define SQUARES_SLICES 1024

// Flat arrays are aligned to 16 bytes and a multiple of 4 elements long.

// The sum of squares in SQUARES_SLICES parts, in float64 and in a fixed order; `add`: to what is there.
//   gradient: (count), partial: (SQUARES_SLICES)
void cuda_gradient_squares(double *partial, const float *gradient, int64_t count, bool add,
                           cudaStream_t stream);

// result: the Euclidean norm whose square is the sum of these parts, and the factor that clips it to `clip`
// (0: none).   most_norm: as of AdamW; squares: (count)
void gradient_norm(GradientNorm *result, const double *squares, int count, double clip, double most_norm,
                   cudaStream_t stream);

// One step over the flat arrays, with the gradients times norm->factor; they are zero afterwards, and nothing
// else has changed where that factor is NaN.   weight, gradient, moment1, moment2: (count) float32; copy:
// (count) bf16
void cuda_adamw_update(float *weight, bf16 *copy, float *gradient, float *moment1, float *moment2,
                       const GradientNorm *norm, int64_t count, const AdamW *a, cudaStream_t stream);

// to = from, rounded.   (count)
void round_to_bf16(bf16 *to, const float *from, int64_t count, cudaStream_t stream);

#endif
