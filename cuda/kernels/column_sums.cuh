// Gradients of vectors that every row of a tensor is multiplied by or added to: thread blocks sum slices of
// the rows, here the slices are added up. In a fixed order, so that the sums have the same bits every run.
#ifndef CUDA_COLUMN_SUMS_CUH
#define CUDA_COLUMN_SUMS_CUH

#include "cuda/device/common.cuh"

// Slices at most: eight thread blocks for each of an H200's 132 multiprocessors, as many as it runs at once
// of rmsnorm's. A constant, so that the order of a sum does not depend on the GPU.
#define COLUMN_SLICES 1056

static inline int64_t column_slices(int64_t rows) {
    return rows < COLUMN_SLICES ? rows : COLUMN_SLICES;
}

// to (C) += the sum over the slices of partial (slices, C), C a multiple of 8
void column_sums(float *to, const float *partial, int slices, int64_t C, cudaStream_t stream);

#endif
