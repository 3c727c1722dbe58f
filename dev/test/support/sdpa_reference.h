// Causal attention and its gradients in float64, straight from the formulas: what the GPU is held against.
#ifndef TEST_SUPPORT_SDPA_REFERENCE_H
#define TEST_SUPPORT_SDPA_REFERENCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t batch, n_heads, n_kv_heads, rows, dim;
    double *q, *dout, *out, *dq; // (B, H, N, D)
    double *k, *v, *dk, *dv;     // (B, KV, N, D)
    double *stats;               // (B, H, N) log-sum-exp of each row's scaled scores
    double *dk_heads, *dv_heads; // (B, H, N, D) before the sum over the query heads of a group
} SdpaReference;

// All zero; the caller fills q, k, v and dout.
SdpaReference sdpa_reference_create(int64_t batch, int64_t n_heads, int64_t n_kv_heads, int64_t rows,
                                    int64_t dim);
void sdpa_reference_free(SdpaReference *r);

// Everything else from q, k, v and dout.
void sdpa_reference_compute(SdpaReference *r);

// One query row against keys and values 0 ... last; returns the log-sum-exp.
double sdpa_reference_row(const double *q, // (D)
                          const double *k, // (last + 1, D)
                          const double *v, // (last + 1, D)
                          int64_t last, int64_t dim,
                          double *p,    // (last + 1) probabilities
                          double *out); // (D)

// Gradients of one query row from its probabilities and output. Those of keys and values from `first` on are
// added.
void sdpa_reference_row_backward(const double *q,    // (D)
                                 const double *k,    // (last + 1, D)
                                 const double *v,    // (last + 1, D)
                                 const double *p,    // (last + 1)
                                 const double *out,  // (D)
                                 const double *dout, // (D)
                                 int64_t first, int64_t last, int64_t dim,
                                 double *dq,  // (D)
                                 double *dk,  // (last + 1 - first, D)
                                 double *dv); // (last + 1 - first, D)

#ifdef __cplusplus
}
#endif
#endif
