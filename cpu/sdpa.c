// Causal softmax attention in tiles: scores exist for TILE queries by TILE keys at a time, each product one
// BLAS call.
#include "cpu/cpu.h"

#include <assert.h>

#define TILE  128
#define MAX_D 128

static int64_t minimum(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Queries start … start + rows - 1 see key j up to `last_key` of the first query, one more for each next
// query.
static int64_t visible_keys(int64_t last_key, int64_t row, int64_t first_key, int64_t width) {
    int64_t count = last_key + row - first_key + 1;
    return count < 0 ? 0 : minimum(count, width);
}

// ---- forward: one task a tile of queries, keys from the first to the last visible

typedef struct {
    real scores[TILE * TILE];
    real out[TILE * MAX_D];
    real highest[TILE];
    double sum[TILE];
} ForwardTile;

// Turns a row of scores into exponentials relative to the highest score so far and rescales what is summed
// already.
static void softmax_row(ForwardTile *tile, int64_t row, int64_t visible, int64_t width, int64_t D) {
    real *scores = tile->scores + row * TILE, *out = tile->out + row * D;
    real old = tile->highest[row], highest = old, sum = 0;
#pragma omp simd reduction(max : highest)
    for (int64_t j = 0; j < visible; j++) highest = scores[j] > highest ? scores[j] : highest;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < visible; j++) {
        scores[j] = real_exp(scores[j] - highest);
        sum += scores[j];
    }
    for (int64_t j = visible; j < width; j++) scores[j] = 0;
    real rescale = real_exp(old - highest);
    tile->highest[row] = highest;
    tile->sum[row] = tile->sum[row] * rescale + sum;
    for (int64_t d = 0; d < D; d++) out[d] *= rescale;
}

static void forward_tile(Rows out, real *lse, Rows q, Rows k, Rows v, int64_t b, int64_t h, int64_t start,
                         int64_t n_q, int64_t n_k, int64_t D) {
    ForwardTile tile;
    int64_t rows = minimum(TILE, n_q - start), last_key = n_k - n_q + start;
    for (int64_t i = 0; i < rows; i++) tile.highest[i] = -HUGE_VALF, tile.sum[i] = 0;
    memset(tile.out, 0, sizeof tile.out);

    for (int64_t key = 0; key < last_key + rows; key += TILE) {
        int64_t width = minimum(TILE, n_k - key);
        real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)width, (int)D,
                  1 / (real)sqrt((double)D), cpu_rows_at(q, b, h, start), (int)q.row,
                  cpu_rows_at(k, b, h, key), (int)k.row, 0, tile.scores, TILE);
        for (int64_t i = 0; i < rows; i++) {
            softmax_row(&tile, i, visible_keys(last_key, i, key, width), width, D);
        }
        real_gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)D, (int)width, 1, tile.scores,
                  TILE, cpu_rows_at(v, b, h, key), (int)v.row, 1, tile.out, (int)D);
    }
    for (int64_t i = 0; i < rows; i++) {
        real scale = (real)(1 / tile.sum[i]), *row = cpu_rows_at(out, b, h, start + i);
        for (int64_t d = 0; d < D; d++) row[d] = tile.out[i * D + d] * scale;
        if (lse) lse[i] = (real)((double)tile.highest[i] + log(tile.sum[i]));
    }
}

void cpu_sdpa_forward(Rows out, real *lse, Rows q, Rows k, Rows v, int64_t B, int64_t H, int64_t n_q,
                      int64_t n_k, int64_t D) {
    assert(D <= MAX_D && n_k >= n_q);
    int64_t tiles = (n_q + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < tiles * B * H; task++) {
        int64_t start = (tiles - 1 - task / (B * H)) * TILE; // the longest rows first
        int64_t b = task % (B * H) / H, h = task % H;
        forward_tile(out, lse ? lse + (b * H + h) * n_q + start : NULL, q, k, v, b, h, start, n_q, n_k, D);
    }
}

// ---- backward: one task some tiles of keys of one key/value head, for which it sums dk and dv over all
// queries that see them. dq of a query comes from all keys: each task adds into its own partial copy, and
// these are summed in order last.

// Tasks a key/value head: enough in all to feed many cores, few enough to bound the partial copies of dq.
static int64_t backward_parts(int64_t B, int64_t H, int64_t share, int64_t n) {
    int64_t parts = 16 / (B * (H / share)), tiles = (n + TILE - 1) / TILE;
    parts = parts < 1 ? 1 : parts > 8 ? 8 : parts;
    return minimum(parts, tiles);
}

int64_t sdpa_backward_workspace(int64_t B, int64_t H, int64_t share, int64_t n, int64_t D) {
    return B * H * n *
           (backward_parts(B, H, share, n) * D + 1); // partial dq, and dot(dout, out) of every row
}

typedef struct {
    real p[TILE * TILE];  // probabilities
    real ds[TILE * TILE]; // gradient of the scores
    real dk[TILE * MAX_D], dv[TILE * MAX_D];
} BackwardTile;

typedef struct {
    Rows dout, q, k, v;
    const real *lse, *dot; // (B, H, n)
    int64_t H, n, D;
} BackwardInput;

// Adds what queries `start` … of head h contribute to the tile's dk, dv and to their own dq (rows of D).
static void backward_tile(BackwardTile *tile, real *dq, const BackwardInput *in, int64_t b, int64_t h,
                          int64_t start, int64_t key) {
    int64_t D = in->D, rows = minimum(TILE, in->n - start), width = minimum(TILE, in->n - key);
    const real *q = cpu_rows_at(in->q, b, h, start), *dout = cpu_rows_at(in->dout, b, h, start);
    const real *k = cpu_rows_at(in->k, b, h, key), *v = cpu_rows_at(in->v, b, h, key);
    const real *lse = in->lse + (b * in->H + h) * in->n + start;
    const real *dot = in->dot + (b * in->H + h) * in->n + start;
    real scale = 1 / (real)sqrt((double)D);

    real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)width, (int)D, scale, q,
              (int)in->q.row, k, (int)in->k.row, 0, tile->p, TILE);
    real_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)width, (int)D, 1, dout,
              (int)in->dout.row, v, (int)in->v.row, 0, tile->ds, TILE);
    for (int64_t i = 0; i < rows; i++) {
        int64_t visible = visible_keys(start, i, key, width);
        real *p = tile->p + i * TILE, *ds = tile->ds + i * TILE;
#pragma omp simd
        for (int64_t j = 0; j < visible; j++) {
            p[j] = real_exp(p[j] - lse[i]);
            ds[j] = p[j] * (ds[j] - dot[i]) * scale;
        }
        for (int64_t j = visible; j < width; j++) p[j] = ds[j] = 0;
    }
    real_gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)width, (int)D, (int)rows, 1, tile->p, TILE, dout,
              (int)in->dout.row, 1, tile->dv, (int)D);
    real_gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)width, (int)D, (int)rows, 1, tile->ds, TILE, q,
              (int)in->q.row, 1, tile->dk, (int)D);
    real_gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)D, (int)width, 1, tile->ds, TILE, k,
              (int)in->k.row, 1, dq, (int)D);
}

static void row_dots(real *dot, Rows dout, Rows out, int64_t B, int64_t H, int64_t n, int64_t D) {
#pragma omp parallel for
    for (int64_t row = 0; row < B * H * n; row++) {
        int64_t b = row / (H * n), h = row / n % H, i = row % n;
        const real *a = cpu_rows_at(dout, b, h, i), *c = cpu_rows_at(out, b, h, i);
        double sum = 0;
        for (int64_t d = 0; d < D; d++) sum += (double)a[d] * c[d];
        dot[row] = (real)sum;
    }
}

static void sum_partial(Rows dq, const real *partial, int64_t parts, int64_t B, int64_t H, int64_t n,
                        int64_t D) {
#pragma omp parallel for
    for (int64_t row = 0; row < B * H * n; row++) {
        real *out = cpu_rows_at(dq, row / (H * n), row / n % H, row % n);
        for (int64_t d = 0; d < D; d++) {
            real sum = 0;
            for (int64_t part = 0; part < parts; part++) sum += partial[(part * B * H * n + row) * D + d];
            out[d] = sum;
        }
    }
}

void cpu_sdpa_backward(Rows dq, Rows dk, Rows dv, Rows dout, Rows out, const real *lse, Rows q, Rows k,
                       Rows v, real *workspace, int64_t B, int64_t H, int64_t n, int64_t D) {
    int64_t share = k.share, groups = H / share, parts = backward_parts(B, H, share, n);
    real *partial = workspace, *dot = workspace + parts * B * H * n * D;
    BackwardInput in = {dout, q, k, v, lse, dot, H, n, D};
    row_dots(dot, dout, out, B, H, n, D);

#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < parts * B * groups; task++) {
        int64_t part = task / (B * groups), b = task % (B * groups) / groups, group = task % groups;
        real *dq_part = partial + ((part * B + b) * H + group * share) * n * D; // this group's heads
        memset(dq_part, 0, (size_t)(share * n * D) * sizeof *dq_part);
        for (int64_t key = part * TILE; key < n; key += parts * TILE) {
            BackwardTile tile;
            memset(tile.dk, 0, sizeof tile.dk);
            memset(tile.dv, 0, sizeof tile.dv);
            for (int64_t i = 0; i < share; i++) {
                for (int64_t start = key; start < n; start += TILE) {
                    backward_tile(&tile, dq_part + (i * n + start) * D, &in, b, group * share + i, start,
                                  key);
                }
            }
            for (int64_t j = 0; j < minimum(TILE, n - key); j++) {
                memcpy(cpu_rows_at(dk, b, group * share, key + j), tile.dk + j * D, (size_t)D * sizeof(real));
                memcpy(cpu_rows_at(dv, b, group * share, key + j), tile.dv + j * D, (size_t)D * sizeof(real));
            }
        }
    }
    sum_partial(dq, partial, parts, B, H, n, D);
}
