// Linear layers: tiles of the result, each one single-threaded BLAS call, spread over the cores.
#include "cpu/cpu.h"

#include "core/base/error.h"

#include <stdlib.h>

// Edge of a tile of an extent: about a quarter of it, so that a small matrix still feeds several cores,
// between 64 and 256, where BLAS runs near its full rate.
static int64_t tile_edge(int64_t extent) {
    int64_t edge = (extent / 4 + 63) / 64 * 64;
    return edge < 64 ? 64 : edge > 256 ? 256 : edge;
}

// ---- forward

// A piece of a sequence between two multiples of ROW_TILE, or what of it is there.
typedef struct {
    int64_t row;    // its first among all rows
    int64_t skip;   // how far behind the multiple that is
    int64_t height; // rows
} Piece;

static int64_t pieces_of_sequence(Places places) {
    return (places.first + places.N - 1) / ROW_TILE - places.first / ROW_TILE + 1;
}

static Piece piece_at(Places places, int64_t index) {
    int64_t each = pieces_of_sequence(places), end = places.first + places.N;
    int64_t cut = (places.first / ROW_TILE + index % each) * ROW_TILE;
    int64_t from = cut > places.first ? cut : places.first;
    int64_t to = cut + ROW_TILE < end ? cut + ROW_TILE : end;
    Piece piece = {index / each * places.N + from - places.first, from - cut, to - from};
    return piece;
}

// c (height, width), rows of n elements, = a (height, k) b^T, b: (width, k)
static void product(real *c, int64_t n, const real *a, const real *b, int64_t height, int64_t width,
                    int64_t k) {
    real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)height, (int)width, (int)k, 1, a, (int)k, b,
              (int)k, 0, c, (int)n);
}

// A piece that is not whole, in a call of a whole one's size: zeros stand for the rows that are missing.
static void padded_product(real *c, int64_t n, const real *a, const real *b, Piece piece, int64_t width,
                           int64_t k) {
    real *whole = (real *)alloc_or_exit((size_t)(ROW_TILE * (k + width)), sizeof *whole);
    real *out = whole + ROW_TILE * k;
    memcpy(whole + piece.skip * k, a, (size_t)(piece.height * k) * sizeof *a);
    product(out, width, whole, b, ROW_TILE, width, k);
    for (int64_t i = 0; i < piece.height; i++) {
        memcpy(c + i * n, out + (piece.skip + i) * width, (size_t)width * sizeof *c);
    }
    free(whole);
}

void cpu_matmul_forward(real *out, const real *in, const real *weight, Places places, int64_t n_in,
                        int64_t n_out) {
    bool placed = places.first != UNPLACED;
    if (!placed) places.first = 0;
    int64_t tile_n = tile_edge(n_out), tiles_n = (n_out + tile_n - 1) / tile_n;
    int64_t tiles = places.B * pieces_of_sequence(places) * tiles_n;
#pragma omp parallel for schedule(dynamic)
    for (int64_t tile = 0; tile < tiles; tile++) {
        Piece piece = piece_at(places, tile / tiles_n);
        int64_t j = tile % tiles_n * tile_n, width = n_out - j < tile_n ? n_out - j : tile_n;
        const real *a = in + piece.row * n_in, *b = weight + j * n_in;
        real *c = out + piece.row * n_out + j;
        if (placed && piece.height < ROW_TILE) {
            padded_product(c, n_out, a, b, piece, width, n_in);
        } else {
            product(c, n_out, a, b, piece.height, width, n_in);
        }
    }
}

// ---- backward

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

void cpu_matmul_backward_input(real *din, const real *dout, const real *weight, int64_t rows, int64_t n_in,
                               int64_t n_out, bool accumulate) {
    tiled_gemm(din, dout, weight, false, false, rows, n_in, n_out, accumulate ? 1 : 0);
}

void cpu_matmul_backward_weight(real *dweight, const real *dout, const real *in, int64_t rows, int64_t n_in,
                                int64_t n_out) {
    tiled_gemm(dweight, dout, in, true, false, n_out, n_in, rows, 1);
}
