// The kernels; see rmsnorm.cuh.
#include "cuda/kernels/rmsnorm.cuh"

#include <assert.h>

// One thread block takes rows blockIdx.x, + gridDim.x, ...; a thread holds the same VECTORS vectors
// of 8 columns of each: vector threadIdx.x, + blockDim.x, ...

// The vectors of one row that are this thread's; zeros behind the row's end.
template <int VECTORS>
static inline __device__ void row_load(Bf16x8 (&to)[VECTORS], const bf16 *row /* (C) */, int n_vectors) {
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        int vector = threadIdx.x + v * blockDim.x;
        if (vector < n_vectors) {
            to[v] = ((const Bf16x8 *)row)[vector];
        } else {
            to[v] = Bf16x8();
        }
    }
}

template <int VECTORS>
static inline __device__ void weights_load(float (&to)[VECTORS][8], const float *weight /* (C) */,
                                           int n_vectors) {
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        int vector = threadIdx.x + v * blockDim.x;
#pragma unroll
        for (int i = 0; i < 8; i++) to[v][i] = vector < n_vectors ? weight[vector * 8 + i] : 0;
    }
}

// The next row's loads are under way while this one's sum is made.
template <int VECTORS>
static __global__ void rmsnorm_forward_kernel(bf16 *out,           // (rows, C)
                                              const bf16 *x,       // (rows, C)
                                              const float *weight, // (C)
                                              int64_t rows, int C, float eps) {
    int n_vectors = C / 8;
    float w[VECTORS][8];
    Bf16x8 x_row[VECTORS], x_next[VECTORS];
    weights_load(w, weight, n_vectors);
    row_load(x_next, x + blockIdx.x * (int64_t)C, n_vectors);
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
#pragma unroll
        for (int v = 0; v < VECTORS; v++) x_row[v] = x_next[v];
        if (row + gridDim.x < rows) row_load(x_next, x + (row + gridDim.x) * C, n_vectors);
        float squares[1] = {0}, values[8];
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            unpack(values, x_row[v]);
#pragma unroll
            for (int i = 0; i < 8; i++) squares[0] += values[i] * values[i];
        }
        block_sum(squares);
        float rstd = rsqrtf(squares[0] / C + eps);
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            int vector = threadIdx.x + v * blockDim.x;
            unpack(values, x_row[v]);
#pragma unroll
            for (int i = 0; i < 8; i++) values[i] = w[v][i] * (values[i] * rstd);
            if (vector < n_vectors) ((Bf16x8 *)(out + row * C))[vector] = pack(values);
        }
    }
}

// With n = x rstd: dn = w dy, dx += rstd (dn - n mean(dn n)); each block adds dy n of its rows for dweight.
template <int VECTORS>
static __global__ void rmsnorm_backward_kernel(bf16 *dx,            // (rows, C), added to
                                               bf16 *normed,        // (rows, C), may be dout
                                               float *partial,      // (gridDim.x, C)
                                               const bf16 *dout,    // (rows, C)
                                               const bf16 *x,       // (rows, C)
                                               const float *weight, // (C)
                                               int64_t rows, int C, float eps) {
    int n_vectors = C / 8;
    float w[VECTORS][8], dw[VECTORS][8] = {};
    weights_load(w, weight, n_vectors);
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        Bf16x8 x_row[VECTORS], dout_row[VECTORS], dx_row[VECTORS];
        row_load(x_row, x + row * C, n_vectors);
        row_load(dout_row, dout + row * C, n_vectors);
        row_load(dx_row, dx + row * C, n_vectors);
        float sums[2] = {0, 0}, n[8], dy[8], d[8]; // of x^2, of w dy x
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            unpack(n, x_row[v]);
            unpack(dy, dout_row[v]);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                sums[0] += n[i] * n[i];
                sums[1] += w[v][i] * dy[i] * n[i];
            }
        }
        block_sum(sums);
        float rstd = rsqrtf(sums[0] / C + eps), mean = sums[1] * rstd / C;
#pragma unroll
        for (int v = 0; v < VECTORS; v++) {
            int vector = threadIdx.x + v * blockDim.x;
            unpack(n, x_row[v]);
            unpack(dy, dout_row[v]);
            unpack(d, dx_row[v]);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                n[i] *= rstd;
                d[i] += rstd * (w[v][i] * dy[i] - n[i] * mean);
                dw[v][i] += dy[i] * n[i];
                n[i] *= w[v][i];
            }
            if (vector < n_vectors) {
                ((Bf16x8 *)(dx + row * C))[vector] = pack(d);
                ((Bf16x8 *)(normed + row * C))[vector] = pack(n);
            }
        }
    }
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        int vector = threadIdx.x + v * blockDim.x;
        if (vector >= n_vectors) continue;
#pragma unroll
        for (int i = 0; i < 8; i++) partial[blockIdx.x * (int64_t)C + vector * 8 + i] = dw[v][i];
    }
}

// ---- Launchers.

// Thread blocks of the forward at most: sixteen for each of an H200's 132 multiprocessors.
#define RMSNORM_FORWARD_BLOCKS 2112

// How many vectors a thread holds, 1 or 2, and how many threads a row takes.
typedef struct {
    int vectors, threads;
} RmsnormShape;

static inline RmsnormShape rmsnorm_shape(int64_t C) {
    RmsnormShape shape;
    assert(C % 8 == 0 && C <= 16384);
    shape.vectors = C <= 256 ? 1 : 2;
    shape.threads = 32 * (int)ceil_div(C, 256 * shape.vectors);
    return shape;
}

void cuda_rmsnorm_forward(bf16 *out, const bf16 *x, const float *weight, int64_t rows, int64_t C, double eps,
                          cudaStream_t stream) {
    RmsnormShape shape = rmsnorm_shape(C);
    auto kernel = shape.vectors == 1 ? rmsnorm_forward_kernel<1> : rmsnorm_forward_kernel<2>;
    unsigned blocks = (unsigned)(rows < RMSNORM_FORWARD_BLOCKS ? rows : RMSNORM_FORWARD_BLOCKS);
    kernel<<<blocks, shape.threads, 0, stream>>>(out, x, weight, rows, (int)C, (float)eps);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_rmsnorm_backward(bf16 *dx, float *dweight, bf16 *normed, float *partial, const bf16 *dout,
                           const bf16 *x, const float *weight, int64_t rows, int64_t C, double eps,
                           cudaStream_t stream) {
    RmsnormShape shape = rmsnorm_shape(C);
    auto kernel = shape.vectors == 1 ? rmsnorm_backward_kernel<1> : rmsnorm_backward_kernel<2>;
    int slices = (int)column_slices(rows);
    kernel<<<slices, shape.threads, 0, stream>>>(dx, normed, partial, dout, x, weight, rows, (int)C,
                                                 (float)eps);
    CUDA_CHECK(cudaGetLastError());
    column_sums(dweight, partial, slices, C, stream);
}
