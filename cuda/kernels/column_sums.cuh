// Gradients of vectors that every row of a tensor is multiplied by or added to: thread blocks sum slices of
// the rows, here the slices are added up. In a fixed order, so that the sums have the same bits every run.
#ifndef CUDA_COLUMN_SUMS_CUH
#define CUDA_COLUMN_SUMS_CUH

#include "cuda/device/common.cuh"

#include <assert.h>

#define COLUMN_SUM_WIDTH \
    8 // columns of a thread block: as many as the 32 bytes hold that memory gives at once
#define COLUMN_SUM_LANES 128 // of a column

// Slices at most: eight thread blocks for each of an H200's 132 multiprocessors, as many as it runs at once
// of rmsnorm's. A constant, so that the order of a sum does not depend on the GPU.
#define COLUMN_SLICES 1056

static inline int64_t column_slices(int64_t rows) {
    return rows < COLUMN_SLICES ? rows : COLUMN_SLICES;
}

// Lane y of a column takes slices y, y + 128, ..., then the lanes are added up pairwise.
static __global__ void column_sums_kernel(float *to,            // (C), added to
                                          const float *partial, // (slices, C)
                                          int slices, int C) {
    __shared__ float sums[COLUMN_SUM_LANES][COLUMN_SUM_WIDTH];
    int c = blockIdx.x * COLUMN_SUM_WIDTH + threadIdx.x;
    float sum = 0;
#pragma unroll 8
    for (int slice = threadIdx.y; slice < slices; slice += COLUMN_SUM_LANES)
        sum += partial[slice * (int64_t)C + c];
    sums[threadIdx.y][threadIdx.x] = sum;
    for (int half = COLUMN_SUM_LANES / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y + half][threadIdx.x];
    }
    if (threadIdx.y == 0) to[c] += sums[0][threadIdx.x];
}

// to (C) += the sum over the slices of partial (slices, C), C a multiple of 8
static inline void column_sums(float *to, const float *partial, int slices, int64_t C, cudaStream_t stream) {
    assert(C % COLUMN_SUM_WIDTH == 0);
    column_sums_kernel<<<(unsigned)(C / COLUMN_SUM_WIDTH), dim3(COLUMN_SUM_WIDTH, COLUMN_SUM_LANES), 0,
                         stream>>>(to, partial, slices, (int)C);
    CUDA_CHECK(cudaGetLastError());
}

#endif
