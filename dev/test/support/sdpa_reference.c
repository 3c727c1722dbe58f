// Causal attention in float64; see sdpa_reference.h.
#include "sdpa_reference.h"

#include "core/base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *doubles(int64_t count) {
    return (double *)alloc_or_exit((size_t)count, sizeof(double));
}

static double dot(const double *a, const double *b, int64_t count) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static void add(double *a, double factor, const double *b, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) a[i] += factor * b[i];
}

double sdpa_reference_row(const double *q, const double *k, const double *v, int64_t last, int64_t dim,
                          double *p, double *out) {
    double scale = 1 / sqrt((double)dim), highest = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= last; j++) {
        p[j] = scale * dot(q, k + j * dim, dim);
        highest = fmax(highest, p[j]);
    }
    for (int64_t j = 0; j <= last; j++) {
        p[j] = exp(p[j] - highest);
        sum += p[j];
    }
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int64_t j = 0; j <= last; j++) {
        p[j] /= sum;
        add(out, p[j], v + j * dim, dim);
    }
    return highest + log(sum);
}

void sdpa_reference_row_backward(const double *q, const double *k, const double *v, const double *p,
                                 const double *out, const double *dout, int64_t first, int64_t last,
                                 int64_t dim, double *dq, double *dk, double *dv) {
    double scale = 1 / sqrt((double)dim), delta = dot(dout, out, dim);
    memset(dq, 0, (size_t)dim * sizeof *dq);
    for (int64_t j = 0; j <= last; j++) {
        double dscore = p[j] * (dot(dout, v + j * dim, dim) - delta) * scale;
        add(dq, dscore, k + j * dim, dim);
        if (j < first) continue;
        add(dk + (j - first) * dim, dscore, q, dim);
        add(dv + (j - first) * dim, p[j], dout, dim);
    }
}

SdpaReference sdpa_reference_create(int64_t batch, int64_t n_heads, int64_t n_kv_heads, int64_t rows,
                                    int64_t dim) {
    SdpaReference r;
    r.batch = batch, r.n_heads = n_heads, r.n_kv_heads = n_kv_heads, r.rows = rows, r.dim = dim;
    int64_t count = batch * n_heads * rows * dim, kv_count = batch * n_kv_heads * rows * dim;
    r.q = doubles(count), r.dout = doubles(count), r.out = doubles(count), r.dq = doubles(count);
    r.k = doubles(kv_count), r.v = doubles(kv_count), r.dk = doubles(kv_count), r.dv = doubles(kv_count);
    r.dk_heads = doubles(count), r.dv_heads = doubles(count), r.stats = doubles(count / dim);
    return r;
}

void sdpa_reference_free(SdpaReference *r) {
    double *all[] = {r->q,  r->dout, r->out,   r->dq,       r->k,       r->v,
                     r->dk, r->dv,   r->stats, r->dk_heads, r->dv_heads};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// Query head `head`, counted through all sequences.
static void compute_head(SdpaReference *r, int64_t head) {
    int64_t group = r->n_heads / r->n_kv_heads, dim = r->dim;
    int64_t at = head * r->rows * dim, kv = head / group * r->rows * dim;
    double *p = doubles(r->rows);
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t row = at + i * dim;
        r->stats[row / dim] = sdpa_reference_row(r->q + row, r->k + kv, r->v + kv, i, dim, p, r->out + row);
        sdpa_reference_row_backward(r->q + row, r->k + kv, r->v + kv, p, r->out + row, r->dout + row, 0, i,
                                    dim, r->dq + row, r->dk_heads + at, r->dv_heads + at);
    }
    free(p);
}

void sdpa_reference_compute(SdpaReference *r) {
    int64_t heads = r->batch * r->n_heads, group = r->n_heads / r->n_kv_heads, size = r->rows * r->dim;
#pragma omp parallel for
    for (int64_t head = 0; head < heads; head++) compute_head(r, head);
    for (int64_t head = 0; head < heads; head++) {
        add(r->dk + head / group * size, 1, r->dk_heads + head * size, size);
        add(r->dv + head / group * size, 1, r->dv_heads + head * size, size);
    }
}
