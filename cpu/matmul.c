// Linear layers: tiles of the result, each one single-threaded BLAS call, spread over the cores.
#include "cpu/cpu.h"

// Edge of a tile of an extent: about a quarter of it, so that a small matrix still feeds several cores,
// between 64 and 256, where BLAS runs near its full rate.
static int64_t tile_edge(int64_t extent) {
    int64_t edge = (extent / 4 + 63) / 64 * 64;
    return edge < 64 ? 64 : edge > 256 ? 256 : edge;
}

// c (m, n) = alpha-free product of op(a) and op(b) with inner extent k, plus beta c
static void tiled_gemm(real *c, const real *a, const real *b, bool transpose_a, bool transpose_b, int64_t m,
                       int64_t n, int64_t k, real beta) {
    int64_t tile_m = tile_edge(m), tile_n = tile_edge(n);
    int64_t tiles_n = (n + tile_n - 1) / tile_n, tiles = (m + tile_m - 1) / tile_m * tiles_n;
    int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
#pragma omp parallel for schedule(dynamic)
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t i = tile / tiles_n * tile_m, j = tile % tiles_n * tile_n;
        int64_t height = m - i < tile_m ? m - i : tile_m, width = n - j < tile_n ? n - j : tile_n;
        real_gemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                  transpose_b ? CblasTrans : CblasNoTrans, (int)height, (int)width, (int)k, 1,
                  transpose_a ? a + i : a + i * k, (int)lda, transpose_b ? b + j * k : b + j, (int)ldb, beta,
                  c + i * n + j, (int)n);
    }
}

void matmul_forward(real *out, const real *in, const real *weight, int64_t rows, int64_t n_in,
                    int64_t n_out) {
    tiled_gemm(out, in, weight, false, true, rows, n_out, n_in, 0);
}

void matmul_backward_input(real *din, const real *dout, const real *weight, int64_t rows, int64_t n_in,
                           int64_t n_out, bool accumulate) {
    tiled_gemm(din, dout, weight, false, false, rows, n_in, n_out, accumulate ? 1 : 0);
}

void matmul_backward_weight(real *dweight, const real *dout, const real *in, int64_t rows, int64_t n_in,
                            int64_t n_out) {
    tiled_gemm(dweight, dout, in, true, false, n_out, n_in, rows, 1);
}
