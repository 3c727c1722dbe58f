// The kernels; see column_sums.cuh.
#include "cuda/kernels/column_sums.cuh"

#include <assert.h>

#define COLUMN_SUM_WIDTH \
    8 // columns of a thread block: as many as the 32 bytes hold that memory gives at once
#define COLUMN_SUM_LANES 128 // of a column

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

void column_sums(float *to, const float *partial, int slices, int64_t C, cudaStream_t stream) {
    assert(C % COLUMN_SUM_WIDTH == 0);
    column_sums_kernel<<<(unsigned)(C / COLUMN_SUM_WIDTH), dim3(COLUMN_SUM_WIDTH, COLUMN_SUM_LANES), 0,
                         stream>>>(to, partial, slices, (int)C);
    CUDA_CHECK(cudaGetLastError());
}
