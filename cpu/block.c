// One pre-norm decoder block: x + attention(norm x), then that + SwiGLU(norm of that); see block.h.
#include "cpu/block.h"

typedef struct {
    int64_t rows, C, H, KV, D, F;
} Sizes;

static Sizes sizes_of(const BlockPass *pass) {
    const ModelConfig *m = pass->model;
    Sizes sizes = {pass->B * pass->N, m->dim, m->n_heads, m->n_kv_heads, m->head_dim, m->ffn_dim};
    return sizes;
}

static void add(real *out, const real *a, int64_t count) {
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) out[i] += a[i];
}

// Query, key/value, as attention reads them.
static Rows query_rows(real *data, const BlockPass *pass) {
    return rows_token_major(data, pass->N, pass->model->n_heads, pass->model->head_dim, 1);
}
static Rows key_rows(real *data, const BlockPass *pass) {
    const ModelConfig *m = pass->model;
    return rows_token_major(data, pass->N, m->n_kv_heads, m->head_dim, m->n_heads / m->n_kv_heads);
}

// Attention of new tokens over the cached ones and themselves.
static void cached_attention(BlockActivations *acts, const BlockPass *pass, const Sizes *s) {
    int64_t width = s->KV * s->D, n_k = pass->position + pass->N;
    memcpy(pass->cache_k + pass->position * width, acts->k, (size_t)(s->rows * width) * sizeof(real));
    memcpy(pass->cache_v + pass->position * width, acts->v, (size_t)(s->rows * width) * sizeof(real));
    sdpa_forward(query_rows(acts->attention, pass), NULL, query_rows(acts->q, pass),
                 key_rows(pass->cache_k, pass), key_rows(pass->cache_v, pass), 1, s->H, pass->N, n_k, s->D);
}

// q, k and v as the projections write them: kept as they are, or traded before they are kept.
static real *fresh_q(const BlockActivations *acts, const BlockScratch *scratch, const BlockPass *pass) {
    return pass->split ? scratch->trade_q : acts->q;
}
static real *fresh_k(const BlockActivations *acts, const BlockScratch *scratch, const BlockPass *pass) {
    return pass->split ? scratch->trade_k : acts->k;
}
static real *fresh_v(const BlockActivations *acts, const BlockScratch *scratch, const BlockPass *pass) {
    return pass->split ? scratch->trade_v : acts->v;
}

// This rank's heads of all tokens: of queries, and of keys or values.
static Rows traded_queries(real *data, const BlockPass *pass) {
    const ModelConfig *m = pass->model;
    return rows_token_major(data, pass->N * pass->split->size, m->n_heads / pass->split->size, m->head_dim,
                            1);
}
static Rows traded_keys(real *data, const BlockPass *pass) {
    const ModelConfig *m = pass->model;
    return rows_token_major(data, pass->N * pass->split->size, m->n_kv_heads / pass->split->size, m->head_dim,
                            m->n_heads / m->n_kv_heads);
}

// Dense attention of sequences that ranks share.
static void shared_attention(BlockActivations *acts, Rows out, Rows q, Rows k, Rows v, const BlockPass *pass,
                             const Sizes *s) {
    const ContextSplit *split = pass->split;
    int64_t all = pass->N * split->size;
    context_trade(split, acts->q, q, pass->B, pass->N, s->H, s->D);
    context_trade(split, acts->k, k, pass->B, pass->N, s->KV, s->D);
    context_trade(split, acts->v, v, pass->B, pass->N, s->KV, s->D);
    sdpa_forward(traded_queries(acts->traded_out, pass), acts->lse, traded_queries(acts->q, pass),
                 traded_keys(acts->k, pass), traded_keys(acts->v, pass), pass->B, s->H / split->size, all,
                 all, s->D);
    context_return(split, out, acts->traded_out, pass->B, pass->N, s->H, s->D);
}

static void shared_attention_backward(BlockActivations *acts, BlockScratch *scratch, Rows dq, Rows dk,
                                      Rows dv, Rows dout, const BlockPass *pass, const Sizes *s) {
    const ContextSplit *split = pass->split;
    context_trade(split, scratch->trade_out, dout, pass->B, pass->N, s->H, s->D);
    sdpa_backward(traded_queries(scratch->trade_q, pass), traded_keys(scratch->trade_k, pass),
                  traded_keys(scratch->trade_v, pass), traded_queries(scratch->trade_out, pass),
                  traded_queries(acts->traded_out, pass), acts->lse, traded_queries(acts->q, pass),
                  traded_keys(acts->k, pass), traded_keys(acts->v, pass), scratch->sdpa, pass->B,
                  s->H / split->size, pass->N * split->size, s->D);
    context_return(split, dq, scratch->trade_q, pass->B, pass->N, s->H, s->D);
    context_return(split, dk, scratch->trade_k, pass->B, pass->N, s->KV, s->D);
    context_return(split, dv, scratch->trade_v, pass->B, pass->N, s->KV, s->D);
}

static void attention_forward(BlockActivations *acts, BlockScratch *scratch, const BlockWeights *weights,
                              const BlockPass *pass, const Sizes *s) {
    Rows out = query_rows(acts->attention, pass), q = query_rows(fresh_q(acts, scratch, pass), pass);
    Rows k = key_rows(fresh_k(acts, scratch, pass), pass), v = key_rows(fresh_v(acts, scratch, pass), pass);
    if (pass->cache_k) {
        cached_attention(acts, pass, s);
    } else if (pass->lighthouse) {
        if (pass->lighthouse->config.scorer == SCORER_GLA) {
            gla_gate(scratch->gla_gate, acts->attention_normed, weights->gla_weight, weights->gla_bias,
                     s->rows, s->C, s->H);
        }
        lighthouse_forward(out, &acts->lighthouse, &scratch->lighthouse, q, k, v, scratch->gla_gate,
                           pass->imposed, pass->lighthouse);
    } else if (pass->split) {
        shared_attention(acts, out, q, k, v, pass, s);
    } else {
        sdpa_forward(out, acts->lse, q, k, v, pass->B, s->H, pass->N, pass->N, s->D);
    }
}

static Part attention_part(const BlockPass *pass) {
    return pass->lighthouse ? PART_LIGHTHOUSE : PART_DENSE_ATTENTION;
}

static void attention_backward(BlockActivations *acts, BlockScratch *scratch, const BlockPass *pass,
                               const Sizes *s) {
    Rows dq = query_rows(scratch->dq, pass), dk = key_rows(scratch->dk, pass),
         dv = key_rows(scratch->dv, pass);
    Rows dout = query_rows(scratch->dattention, pass);
    if (pass->lighthouse) {
        lighthouse_backward(dq, dk, dv, dout, &acts->lighthouse, &scratch->lighthouse, pass->lighthouse);
    } else if (pass->split) {
        shared_attention_backward(acts, scratch, dq, dk, dv, dout, pass, s);
    } else {
        sdpa_backward(dq, dk, dv, dout, query_rows(acts->attention, pass), acts->lse,
                      query_rows(acts->q, pass), key_rows(acts->k, pass), key_rows(acts->v, pass),
                      scratch->sdpa, pass->B, s->H, pass->N, s->D);
    }
}

void block_forward(real *x_out, const real *x, const BlockWeights *weights, BlockActivations *acts,
                   BlockScratch *scratch, const BlockPass *pass) {
    Sizes s = sizes_of(pass);
    double eps = pass->model->norm_eps;
    PartClock *clock = pass->clock;
    part_begin(clock, PART_ELEMENTWISE);
    rmsnorm_forward(acts->attention_normed, acts->attention_rstd, x, weights->attention_norm, s.rows, s.C,
                    eps);
    real *q = fresh_q(acts, scratch, pass), *k = fresh_k(acts, scratch, pass),
         *v = fresh_v(acts, scratch, pass);
    part_begin(clock, PART_PRODUCTS);
    matmul_forward(q, acts->attention_normed, weights->q, s.rows, s.C, s.H * s.D);
    matmul_forward(k, acts->attention_normed, weights->k, s.rows, s.C, s.KV * s.D);
    matmul_forward(v, acts->attention_normed, weights->v, s.rows, s.C, s.KV * s.D);
    part_begin(clock, PART_ELEMENTWISE);
    rope_forward(q, scratch->cosines, scratch->sines, pass->B, pass->N, s.H, s.D, pass->position);
    rope_forward(k, scratch->cosines, scratch->sines, pass->B, pass->N, s.KV, s.D, pass->position);
    part_begin(clock, attention_part(pass));
    attention_forward(acts, scratch, weights, pass, &s);
    part_begin(clock, PART_PRODUCTS);
    matmul_forward(acts->mid, acts->attention, weights->o, s.rows, s.H * s.D, s.C);
    part_begin(clock, PART_ELEMENTWISE);
    add(acts->mid, x, s.rows * s.C);

    rmsnorm_forward(acts->ffn_normed, acts->ffn_rstd, acts->mid, weights->ffn_norm, s.rows, s.C, eps);
    part_begin(clock, PART_PRODUCTS);
    matmul_forward(acts->gate, acts->ffn_normed, weights->gate, s.rows, s.C, s.F);
    matmul_forward(acts->up, acts->ffn_normed, weights->up, s.rows, s.C, s.F);
    part_begin(clock, PART_ELEMENTWISE);
    swiglu_forward(acts->act, acts->gate, acts->up, s.rows * s.F);
    part_begin(clock, PART_PRODUCTS);
    matmul_forward(x_out, acts->act, weights->down, s.rows, s.F, s.C);
    part_begin(clock, PART_ELEMENTWISE);
    add(x_out, acts->mid, s.rows * s.C);
}

void block_backward(real *dx, const real *x, const BlockWeights *weights, BlockWeights *gradients,
                    BlockActivations *acts, BlockScratch *scratch, const BlockPass *pass) {
    Sizes s = sizes_of(pass);
    PartClock *clock = pass->clock;
    part_begin(clock, PART_PRODUCTS);
    matmul_backward_weight(gradients->down, dx, acts->act, s.rows, s.F, s.C);
    matmul_backward_input(scratch->dact, dx, weights->down, s.rows, s.F, s.C, false);
    part_begin(clock, PART_ELEMENTWISE);
    swiglu_backward(scratch->dgate, scratch->dup, scratch->dact, acts->gate, acts->up, s.rows * s.F);
    part_begin(clock, PART_PRODUCTS);
    matmul_backward_weight(gradients->gate, scratch->dgate, acts->ffn_normed, s.rows, s.C, s.F);
    matmul_backward_weight(gradients->up, scratch->dup, acts->ffn_normed, s.rows, s.C, s.F);
    matmul_backward_input(scratch->dnormed, scratch->dgate, weights->gate, s.rows, s.C, s.F, false);
    matmul_backward_input(scratch->dnormed, scratch->dup, weights->up, s.rows, s.C, s.F, true);
    part_begin(clock, PART_ELEMENTWISE);
    rmsnorm_backward(dx, gradients->ffn_norm, scratch->norm, scratch->dnormed, acts->mid, weights->ffn_norm,
                     acts->ffn_rstd, s.rows, s.C);

    part_begin(clock, PART_PRODUCTS);
    matmul_backward_weight(gradients->o, dx, acts->attention, s.rows, s.H * s.D, s.C);
    matmul_backward_input(scratch->dattention, dx, weights->o, s.rows, s.H * s.D, s.C, false);
    part_begin(clock, attention_part(pass));
    attention_backward(acts, scratch, pass, &s);
    part_begin(clock, PART_ELEMENTWISE);
    rope_backward(scratch->dq, scratch->cosines, scratch->sines, pass->B, pass->N, s.H, s.D, pass->position);
    rope_backward(scratch->dk, scratch->cosines, scratch->sines, pass->B, pass->N, s.KV, s.D, pass->position);
    part_begin(clock, PART_PRODUCTS);
    matmul_backward_weight(gradients->q, scratch->dq, acts->attention_normed, s.rows, s.C, s.H * s.D);
    matmul_backward_weight(gradients->k, scratch->dk, acts->attention_normed, s.rows, s.C, s.KV * s.D);
    matmul_backward_weight(gradients->v, scratch->dv, acts->attention_normed, s.rows, s.C, s.KV * s.D);
    matmul_backward_input(scratch->dnormed, scratch->dq, weights->q, s.rows, s.C, s.H * s.D, false);
    matmul_backward_input(scratch->dnormed, scratch->dk, weights->k, s.rows, s.C, s.KV * s.D, true);
    matmul_backward_input(scratch->dnormed, scratch->dv, weights->v, s.rows, s.C, s.KV * s.D, true);
    part_begin(clock, PART_ELEMENTWISE);
    rmsnorm_backward(dx, gradients->attention_norm, scratch->norm, scratch->dnormed, x,
                     weights->attention_norm, acts->attention_rstd, s.rows, s.C);
}
