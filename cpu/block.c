// One pre-norm decoder block: x + attention(norm x), then that + SwiGLU(norm of that); see block.h.
#include "cpu/block.h"

#include "core/engine/context.h"

typedef struct {
    int64_t rows, C, H, KV, D, F;
} Sizes;

static Sizes sizes_of(const Pass *pass) {
    const ModelConfig *m = pass->model;
    Sizes sizes = {pass->B * pass->N, m->dim, m->n_heads, m->n_kv_heads, m->head_dim, m->ffn_dim};
    return sizes;
}

// Decoding reads few rows, which nothing is compared with.
static Places places_of(const Pass *pass) {
    Places places = {pass->B, pass->N, pass->cached ? UNPLACED : pass->position};
    return places;
}

static void add(real *out, const real *a, int64_t count) {
#pragma omp parallel for simd
    for (int64_t i = 0; i < count; i++) out[i] += a[i];
}

// Query, key/value, as attention reads them.
static Rows query_rows(real *data, const Pass *pass) {
    return rows_token_major(data, pass->N, pass->model->n_heads, pass->model->head_dim, 1);
}
static Rows key_rows(real *data, const Pass *pass) {
    const ModelConfig *m = pass->model;
    return rows_token_major(data, pass->N, m->n_kv_heads, m->head_dim, m->n_heads / m->n_kv_heads);
}

// Attention of new tokens over the cached ones and themselves.
static void cached_attention(CpuBlockActivations *acts, const CpuBlockScratch *scratch, const Pass *pass,
                             const Sizes *s) {
    int64_t width = s->KV * s->D, n_k = pass->position + pass->N;
    real *cache_k = scratch->cache_k + pass->cache_skip, *cache_v = scratch->cache_v + pass->cache_skip;
    memcpy(cache_k + pass->position * width, acts->k, (size_t)(s->rows * width) * sizeof(real));
    memcpy(cache_v + pass->position * width, acts->v, (size_t)(s->rows * width) * sizeof(real));
    cpu_sdpa_forward(query_rows(acts->attention, pass), NULL, query_rows(acts->q, pass),
                     key_rows(cache_k, pass), key_rows(cache_v, pass), 1, s->H, pass->N, n_k, s->D);
}

// q, k and v as the projections write them: kept as they are, or exchanged before they are kept.
static real *fresh_q(const CpuBlockActivations *acts, const CpuBlockScratch *scratch, const Pass *pass) {
    return pass->ranks > 1 ? scratch->exchanged_q : acts->q;
}
static real *fresh_k(const CpuBlockActivations *acts, const CpuBlockScratch *scratch, const Pass *pass) {
    return pass->ranks > 1 ? scratch->exchanged_k : acts->k;
}
static real *fresh_v(const CpuBlockActivations *acts, const CpuBlockScratch *scratch, const Pass *pass) {
    return pass->ranks > 1 ? scratch->exchanged_v : acts->v;
}

// This rank's heads of all tokens: of queries, and of keys or values.
static Rows exchanged_queries(real *data, const Pass *pass) {
    const ModelConfig *m = pass->model;
    return rows_token_major(data, pass->N * pass->ranks, m->n_heads / pass->ranks, m->head_dim, 1);
}
static Rows exchanged_keys(real *data, const Pass *pass) {
    const ModelConfig *m = pass->model;
    int64_t P = pass->ranks, heads = context_heads(m->n_kv_heads, P);
    return rows_token_major(data, pass->N * P, heads / P, m->head_dim, m->n_heads / heads);
}

// Dense attention of sequences that ranks share.
static void shared_attention(CpuBlockActivations *acts, const CpuBlockScratch *scratch, Rows out, Rows q,
                             Rows k, Rows v, const Pass *pass, const Sizes *s) {
    const CpuCp *cp = scratch->cp;
    int64_t all = pass->N * pass->ranks;
    cpu_context_all_to_all(cp, acts->q, q, pass->B, pass->N, s->H, s->D);
    cpu_context_all_to_all(cp, acts->k, k, pass->B, pass->N, s->KV, s->D);
    cpu_context_all_to_all(cp, acts->v, v, pass->B, pass->N, s->KV, s->D);
    cpu_sdpa_forward(exchanged_queries(acts->exchanged_out, pass), acts->lse,
                     exchanged_queries(acts->q, pass), exchanged_keys(acts->k, pass),
                     exchanged_keys(acts->v, pass), pass->B, s->H / pass->ranks, all, all, s->D);
    cpu_context_return(cp, out, acts->exchanged_out, pass->B, pass->N, s->H, s->D);
}

static void shared_attention_backward(CpuBlockActivations *acts, CpuBlockScratch *scratch, Rows dq, Rows dk,
                                      Rows dv, Rows dout, const Pass *pass, const Sizes *s) {
    const CpuCp *cp = scratch->cp;
    cpu_context_all_to_all(cp, scratch->exchanged_out, dout, pass->B, pass->N, s->H, s->D);
    cpu_sdpa_backward(
        exchanged_queries(scratch->exchanged_q, pass), exchanged_keys(scratch->exchanged_k, pass),
        exchanged_keys(scratch->exchanged_v, pass), exchanged_queries(scratch->exchanged_out, pass),
        exchanged_queries(acts->exchanged_out, pass), acts->lse, exchanged_queries(acts->q, pass),
        exchanged_keys(acts->k, pass), exchanged_keys(acts->v, pass), scratch->sdpa, pass->B,
        s->H / pass->ranks, pass->N * pass->ranks, s->D);
    cpu_context_return(cp, dq, scratch->exchanged_q, pass->B, pass->N, s->H, s->D);
    cpu_context_return(cp, dk, scratch->exchanged_k, pass->B, pass->N, s->KV, s->D);
    cpu_context_return(cp, dv, scratch->exchanged_v, pass->B, pass->N, s->KV, s->D);
}

static void attention_forward(CpuBlockActivations *acts, CpuBlockScratch *scratch,
                              const CpuBlockWeights *weights, const Pass *pass, const Sizes *s) {
    Rows out = query_rows(acts->attention, pass), q = query_rows(fresh_q(acts, scratch, pass), pass);
    Rows k = key_rows(fresh_k(acts, scratch, pass), pass), v = key_rows(fresh_v(acts, scratch, pass), pass);
    if (pass->cached) {
        cached_attention(acts, scratch, pass, s);
    } else if (pass->lighthouse) {
        if (lighthouse_scorer(&pass->lighthouse->config)->gates) {
            gla_gate(scratch->gla_gate, acts->attention_normed, weights->gla_weight, weights->gla_bias,
                     places_of(pass), s->C, s->H);
        }
        lighthouse_forward(out, &acts->lighthouse, &scratch->lighthouse, q, k, v, scratch->gla_gate,
                           pass->forced, pass->lighthouse);
    } else if (pass->ranks > 1) {
        shared_attention(acts, scratch, out, q, k, v, pass, s);
    } else {
        cpu_sdpa_forward(out, acts->lse, q, k, v, pass->B, s->H, pass->N, pass->N, s->D);
    }
}

static Part attention_part(const Pass *pass) {
    return pass->lighthouse ? PART_LIGHTHOUSE : PART_DENSE_ATTENTION;
}

static void attention_backward(CpuBlockActivations *acts, CpuBlockScratch *scratch, const Pass *pass,
                               const Sizes *s) {
    Rows dq = query_rows(scratch->dq, pass), dk = key_rows(scratch->dk, pass),
         dv = key_rows(scratch->dv, pass);
    Rows dout = query_rows(scratch->dattention, pass);
    if (pass->lighthouse) {
        lighthouse_backward(dq, dk, dv, dout, &acts->lighthouse, &scratch->lighthouse, pass->lighthouse);
    } else if (pass->ranks > 1) {
        shared_attention_backward(acts, scratch, dq, dk, dv, dout, pass, s);
    } else {
        cpu_sdpa_backward(dq, dk, dv, dout, query_rows(acts->attention, pass), acts->lse,
                          query_rows(acts->q, pass), key_rows(acts->k, pass), key_rows(acts->v, pass),
                          scratch->sdpa, pass->B, s->H, pass->N, s->D);
    }
}

// Queries and keys, or their gradients, to their positions or back.
static void turn(real *q, real *k, const CpuBlockScratch *scratch, const Pass *pass, const Sizes *s,
                 void (*rope)(real *x, const real *cosines, const real *sines, int64_t B, int64_t N,
                              int64_t heads, int64_t D, int64_t first)) {
    if (pass->no_rope) return;
    rope(q, scratch->cosines, scratch->sines, pass->B, pass->N, s->H, s->D, pass->position);
    rope(k, scratch->cosines, scratch->sines, pass->B, pass->N, s->KV, s->D, pass->position);
}

// Queries, keys or values of the normed input.
static void project(real *out, const CpuBlockActivations *acts, const CpuBlockScratch *scratch,
                    const real *weight, const real *bias, const Pass *pass, int64_t heads) {
    Sizes s = sizes_of(pass);
    cpu_linear_forward(&scratch->fp8, out, acts->attention_normed, weight, places_of(pass), s.C, heads * s.D);
    if (bias) cpu_bias_forward(out, bias, s.rows, heads * s.D);
}

// Norms each head of x (rows, heads, D) in place, and keeps what it was.
static void head_norm(real *x, real *before, real *rstd, const real *weight, const Pass *pass,
                      int64_t heads) {
    Sizes s = sizes_of(pass);
    if (!weight) return;
    memcpy(before, x, (size_t)(s.rows * heads * s.D) * sizeof *x);
    cpu_rmsnorm_forward(x, rstd, before, weight, s.rows * heads, s.D, pass->model->norm_eps);
}

// Turns the gradient of normed heads into that of heads before the norm.
static void head_norm_backward(real *dx, real *dweight, CpuBlockScratch *scratch, const real *before,
                               const real *rstd, const real *weight, const Pass *pass, int64_t heads) {
    Sizes s = sizes_of(pass);
    size_t bytes = (size_t)(s.rows * heads * s.D) * sizeof *dx;
    if (!weight) return;
    memset(scratch->dhead, 0, bytes);
    cpu_rmsnorm_backward(scratch->dhead, dweight, scratch->norm, dx, before, weight, rstd, s.rows * heads,
                         s.D);
    memcpy(dx, scratch->dhead, bytes);
}

// From the gradients of q, k and v as attention read them to those of the products.
static void heads_backward(const CpuBlockWeights *weights, CpuBlockWeights *gradients,
                           CpuBlockActivations *acts, CpuBlockScratch *scratch, const Pass *pass) {
    Sizes s = sizes_of(pass);
    turn(scratch->dq, scratch->dk, scratch, pass, &s, cpu_rope_backward);
    head_norm_backward(scratch->dq, gradients->q_norm, scratch, acts->q_before, acts->q_rstd, weights->q_norm,
                       pass, s.H);
    head_norm_backward(scratch->dk, gradients->k_norm, scratch, acts->k_before, acts->k_rstd, weights->k_norm,
                       pass, s.KV);
    if (!weights->q_bias) return;
    cpu_bias_backward(gradients->q_bias, scratch->dq, s.rows, s.H * s.D);
    cpu_bias_backward(gradients->k_bias, scratch->dk, s.rows, s.KV * s.D);
    cpu_bias_backward(gradients->v_bias, scratch->dv, s.rows, s.KV * s.D);
}

void cpu_block_forward(real *x_out, const real *x, const CpuBlockWeights *weights, CpuBlockActivations *acts,
                       CpuBlockScratch *scratch, const Pass *pass) {
    Sizes s = sizes_of(pass);
    Places places = places_of(pass);
    double eps = pass->model->norm_eps;
    PartClock *clock = scratch->clock;
    part_begin(clock, PART_ELEMENTWISE);
    cpu_rmsnorm_forward(acts->attention_normed, acts->attention_rstd, x, weights->attention_norm, s.rows, s.C,
                        eps);
    real *q = fresh_q(acts, scratch, pass), *k = fresh_k(acts, scratch, pass),
         *v = fresh_v(acts, scratch, pass);
    part_begin(clock, PART_PRODUCTS);
    project(q, acts, scratch, weights->q, weights->q_bias, pass, s.H);
    project(k, acts, scratch, weights->k, weights->k_bias, pass, s.KV);
    project(v, acts, scratch, weights->v, weights->v_bias, pass, s.KV);
    part_begin(clock, PART_ELEMENTWISE);
    head_norm(q, acts->q_before, acts->q_rstd, weights->q_norm, pass, s.H);
    head_norm(k, acts->k_before, acts->k_rstd, weights->k_norm, pass, s.KV);
    turn(q, k, scratch, pass, &s, cpu_rope_forward);
    part_begin(clock, attention_part(pass));
    attention_forward(acts, scratch, weights, pass, &s);
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_forward(&scratch->fp8, acts->mid, acts->attention, weights->o, places, s.H * s.D, s.C);
    part_begin(clock, PART_ELEMENTWISE);
    add(acts->mid, x, s.rows * s.C);

    cpu_rmsnorm_forward(acts->ffn_normed, acts->ffn_rstd, acts->mid, weights->ffn_norm, s.rows, s.C, eps);
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_forward(&scratch->fp8, acts->gate, acts->ffn_normed, weights->gate, places, s.C, s.F);
    cpu_linear_forward(&scratch->fp8, acts->up, acts->ffn_normed, weights->up, places, s.C, s.F);
    part_begin(clock, PART_ELEMENTWISE);
    cpu_swiglu_forward(acts->act, acts->gate, acts->up, s.rows * s.F);
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_forward(&scratch->fp8, x_out, acts->act, weights->down, places, s.F, s.C);
    part_begin(clock, PART_ELEMENTWISE);
    add(x_out, acts->mid, s.rows * s.C);
}

void cpu_block_backward(real *dx, const real *x, const CpuBlockWeights *weights, CpuBlockWeights *gradients,
                        CpuBlockActivations *acts, CpuBlockScratch *scratch, const Pass *pass) {
    Sizes s = sizes_of(pass);
    PartClock *clock = scratch->clock;
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_backward_weight(&scratch->fp8, gradients->down, dx, acts->act, s.rows, s.F, s.C);
    cpu_linear_backward_input(&scratch->fp8, scratch->dact, dx, weights->down, s.rows, s.F, s.C, false);
    part_begin(clock, PART_ELEMENTWISE);
    cpu_swiglu_backward(scratch->dgate, scratch->dup, scratch->dact, acts->gate, acts->up, s.rows * s.F);
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_backward_weight(&scratch->fp8, gradients->gate, scratch->dgate, acts->ffn_normed, s.rows, s.C,
                               s.F);
    cpu_linear_backward_weight(&scratch->fp8, gradients->up, scratch->dup, acts->ffn_normed, s.rows, s.C,
                               s.F);
    cpu_linear_backward_input(&scratch->fp8, scratch->dnormed, scratch->dgate, weights->gate, s.rows, s.C,
                              s.F, false);
    cpu_linear_backward_input(&scratch->fp8, scratch->dnormed, scratch->dup, weights->up, s.rows, s.C, s.F,
                              true);
    part_begin(clock, PART_ELEMENTWISE);
    cpu_rmsnorm_backward(dx, gradients->ffn_norm, scratch->norm, scratch->dnormed, acts->mid,
                         weights->ffn_norm, acts->ffn_rstd, s.rows, s.C);

    part_begin(clock, PART_PRODUCTS);
    cpu_linear_backward_weight(&scratch->fp8, gradients->o, dx, acts->attention, s.rows, s.H * s.D, s.C);
    cpu_linear_backward_input(&scratch->fp8, scratch->dattention, dx, weights->o, s.rows, s.H * s.D, s.C,
                              false);
    part_begin(clock, attention_part(pass));
    attention_backward(acts, scratch, pass, &s);
    part_begin(clock, PART_ELEMENTWISE);
    heads_backward(weights, gradients, acts, scratch, pass);
    part_begin(clock, PART_PRODUCTS);
    cpu_linear_backward_weight(&scratch->fp8, gradients->q, scratch->dq, acts->attention_normed, s.rows, s.C,
                               s.H * s.D);
    cpu_linear_backward_weight(&scratch->fp8, gradients->k, scratch->dk, acts->attention_normed, s.rows, s.C,
                               s.KV * s.D);
    cpu_linear_backward_weight(&scratch->fp8, gradients->v, scratch->dv, acts->attention_normed, s.rows, s.C,
                               s.KV * s.D);
    cpu_linear_backward_input(&scratch->fp8, scratch->dnormed, scratch->dq, weights->q, s.rows, s.C,
                              s.H * s.D, false);
    cpu_linear_backward_input(&scratch->fp8, scratch->dnormed, scratch->dk, weights->k, s.rows, s.C,
                              s.KV * s.D, true);
    cpu_linear_backward_input(&scratch->fp8, scratch->dnormed, scratch->dv, weights->v, s.rows, s.C,
                              s.KV * s.D, true);
    part_begin(clock, PART_ELEMENTWISE);
    cpu_rmsnorm_backward(dx, gradients->attention_norm, scratch->norm, scratch->dnormed, x,
                         weights->attention_norm, acts->attention_rstd, s.rows, s.C);
}
