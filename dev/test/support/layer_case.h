// Lighthouse layers on random shapes, with inputs, buffers and one forward pass done.
#ifndef TEST_SUPPORT_LAYER_CASE_H
#define TEST_SUPPORT_LAYER_CASE_H

#include "cpu/cpu.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char name[160]; // the shape in words, for messages
    LighthouseShape shape;
    bool ties;               // scores are rounded so coarsely that most of them tie
    int64_t N, S, E;         // tokens, selected entries, entries
    int64_t heads, kv_heads; // B H and B KV, all batches
    float *q, *k, *v, *dout; // (B, N, H or KV, D)
    float *gate;             // (B, N, H)
    float *out;              // (B, N, H, D)
    LighthouseRows rows;
    LighthouseScratch scratch;
    int32_t *entries; // (B, H, S) what the pass selected, to force later
    void *arena;
} LayerCase;

#define LAYER_CASES 36

// Case `index` of LAYER_CASES: every p in 2, 4, 8 with every L in 2, 3, 4 and every scorer; the rest is
// random. The pass scores, rounds the scores where they shall tie, selects, orders, gathers, attends and
// scatters.
void layer_case_create(LayerCase *c, int index);
void layer_case_free(LayerCase *c);

// How q, dout or out lie, and k and v.
Rows layer_case_queries(const LayerCase *c, float *x);
Rows layer_case_keys(const LayerCase *c, float *x);

// The layer's forward pass into `out`; with `forced` on the entries of the first pass.
void layer_case_forward(LayerCase *c, float *out, bool forced);

// Row of head `head` (of B H) and token t in a tensor laid out as q.
static inline int64_t layer_case_row(const LayerCase *c, int64_t head, int64_t t) {
    return (head / c->shape.H * c->N + t) * c->shape.H + head % c->shape.H;
}

#ifdef __cplusplus
}
#endif
#endif
