// Scores of the gla scorer on the GPU; its twin is cpu/gla.c. gla.cu says how.
#ifndef CUDA_GLA_CUH
#define CUDA_GLA_CUH

#include "cuda/kernels/context.cuh"
#include "cuda/kernels/score.cuh"

#define GLA_SEGMENT 4096 // tokens of a subsequence

// gate (rows, H) = logsigmoid(x weight^T + bias) / 16.   x: (rows, C), C a multiple of 8; weight: (H, C);
// bias: (H)
void cuda_gla_gate(CudaContext *context, float *gate, const bf16 *x, const float *weight, const float *bias,
                   int64_t rows, int64_t C, int64_t H);

static inline int64_t gla_segments(int64_t N, int64_t dilation) {
    return ceil_div(N / dilation, GLA_SEGMENT);
}

// What one rank hands on to the next of those that share the sequences.
typedef struct {
    const CudaCp *cp;      // NULL: whole sequences are here
    float *before, *after; // (2, B, H, dilation, D, D)
} GlaHanded;

// Base scores of both sides.   gate: (B, N, H); states: (2, B, H, dilation, segments, D, D); decays: (2, B,
// H, dilation, segments); both unused by one segment of whole sequences
bool gla_scores(CudaContext *context, LighthouseScores scores, CudaRows q, CudaRows k, CudaRows v,
                const float *gate, float *states, double *decays, const GlaHanded *handed,
                const LighthouseShape *shape, Error *error);

#endif
