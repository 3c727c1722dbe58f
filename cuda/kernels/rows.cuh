// How the rows of a tensor (b, h, n) lie on the GPU; the twin of Rows in cpu/rows.h.
#ifndef CUDA_ROWS_CUH
#define CUDA_ROWS_CUH

#include "cuda/device/common.cuh"
#include "sdpa.cuh"

// Strides in elements, multiples of 8, and the data aligned to 16 bytes; `share` query heads read one head.
typedef struct {
    bf16 *data;
    int64_t batch, head, row;
    int share;
} CudaRows;

// Heads `first`, first + 1, ... of a packed tensor (B, N, heads, D), each shared by `share` query heads.
static inline CudaRows cuda_rows_packed(bf16 *data, int64_t N, int64_t heads, int64_t first, int64_t D,
                                        int64_t share) {
    CudaRows rows = {data + first * D, N * heads * D, D, heads * D, (int)share};
    return rows;
}

#ifdef __CUDACC__
// Elements 8 lane ... 8 lane + 7 of row n; h is always a query head.
static inline __device__ Bf16x8 *cuda_rows_at(const CudaRows &rows, int64_t b, int h, int64_t n, int lane) {
    return (Bf16x8 *)(rows.data + b * rows.batch + h / rows.share * rows.head + n * rows.row) + lane;
}
#endif

#endif
