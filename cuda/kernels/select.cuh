// Which entries Lighthouse gathers, and in which order.
#ifndef CUDA_SELECT_CUH
#define CUDA_SELECT_CUH

#include "cuda/kernels/score.cuh"

// Entries (B, H, S) in post-order and their rows, positions (B, H, E), from the scores of all levels.
void select_entries(CudaContext *context, int32_t *entries, int32_t *positions, LighthouseScores scores,
                    const LighthouseShape *shape);

// Entries given from outside: copies them and makes their positions. forced: (B, H, S), on the GPU
void force_entries(CudaContext *context, int32_t *entries, int32_t *positions, const int32_t *forced,
                   const LighthouseShape *shape);

#endif
