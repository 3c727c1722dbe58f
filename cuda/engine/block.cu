// One pre-norm decoder block: x + attention(norm x), then that + SwiGLU(norm of that); see block.cuh.
#include "cuda/engine/block.cuh"
#include "core/engine/context.h"
#include "cuda/kernels/bias.cuh"
#include "cuda/kernels/cached_attention.cuh"
#include "cuda/kernels/head_norm.cuh"
#include "cuda/kernels/rmsnorm.cuh"
#include "cuda/kernels/rope.cuh"
#include "cuda/kernels/swiglu.cuh"

#include <string.h>

typedef struct {
    int64_t rows, C, H, KV, D, F;
    int64_t HD, QKV;     // widths of the attention's output and of packed queries, keys and values
    int64_t own, own_kv; // heads that this rank attends with
} Sizes;

static Sizes sizes_of(const Pass *pass) {
    const ModelConfig *m = pass->model;
    Sizes s = {pass->B * pass->N, m->dim, m->n_heads, m->n_kv_heads, m->head_dim, m->ffn_dim, 0, 0, 0, 0};
    int64_t P = pass->ranks;
    s.own = s.H / P;
    s.own_kv = context_heads(s.KV, P) / P;
    s.HD = s.H * s.D;
    s.QKV = s.HD + 2 * s.KV * s.D;
    return s;
}

SdpaProblem block_sdpa_problem(const ModelConfig *m, int64_t batch, int64_t rows, int64_t ranks) {
    SdpaProblem problem;
    int64_t H = m->n_heads / ranks, KV = context_heads(m->n_kv_heads, ranks) / ranks;
    memset(&problem, 0, sizeof problem);
    problem.batch = batch;
    problem.n_heads = H;
    problem.n_kv_heads = KV;
    problem.rows = rows;
    problem.head_dim = m->head_dim;
    problem.q = problem.k = problem.v = sdpa_rows_first(H + 2 * KV, rows, m->head_dim);
    problem.out = sdpa_rows_first(H, rows, m->head_dim);
    return problem;
}

// ---- attention

// Queries, keys, values within a packed buffer (B, N, H + 2 KV, D).
static CudaRows query_rows(bf16 *qkv, const Pass *pass, const Sizes *s) {
    return cuda_rows_packed(qkv, pass->N, s->H + 2 * s->KV, 0, s->D, 1);
}
static CudaRows key_rows(bf16 *qkv, const Pass *pass, const Sizes *s) {
    return cuda_rows_packed(qkv, pass->N, s->H + 2 * s->KV, s->H, s->D, s->H / s->KV);
}
static CudaRows value_rows(bf16 *qkv, const Pass *pass, const Sizes *s) {
    return cuda_rows_packed(qkv, pass->N, s->H + 2 * s->KV, s->H + s->KV, s->D, s->H / s->KV);
}

// The workspace is planned for the configured batch and context; another shape of evaluation may want more.
static bool workspace_check(const CudaBlockScratch *scratch, const SdpaProblem *problem, SdpaPass pass,
                            const BlockTools *tools, Error *error) {
    size_t bytes;
    TRY(sdpa_workspace_bytes(tools->sdpa, problem, pass, &bytes, error));
    if (bytes <= scratch->sdpa_bytes) return true;
    return error_set(
        error, STATUS_MEMORY,
        "attention over %lld sequences of %lld tokens needs %.2f GB of workspace, %.2f GB are planned: "
        "use the shape that the engine was made for",
        (long long)problem->batch, (long long)problem->rows, bytes / 1e9, scratch->sdpa_bytes / 1e9);
}

// Elements of an exchanged row: this rank's heads.
static int64_t exchanged_width(const Pass *pass, int64_t heads, int64_t kv_heads) {
    int64_t P = pass->ranks, attended = kv_heads ? context_heads(kv_heads, P) : 0;
    return (heads + 2 * attended) / P * pass->model->head_dim;
}
// Where ranks' exchanges are packed from here on: in a buffer of (B, N, H + 2 attended, D) that is not
// needed.
static void pack_in(bf16 *room, const BlockTools *tools) {
    if (tools->cp && tools->cp->borrows) tools->cp->packed = room;
}
// Exchanges the tokens here of a tensor (B, N, heads + 2 kv_heads, D) for all tokens of this rank's heads.
static void exchange(bf16 *tensor, const Pass *pass, int64_t heads, int64_t kv_heads,
                     const BlockTools *tools) {
    const CudaCp *cp = tools->cp;
    int64_t D = pass->model->head_dim;
    cuda_context_pack(tools->context, cp, tensor, pass->B, pass->N, heads, kv_heads, D);
    cuda_context_all_to_all(cp, tensor, pass->B, pass->N, exchanged_width(pass, heads, kv_heads));
}
// The way back, from `exchanged` to `tensor`, which may be the same.
static void exchange_back(bf16 *tensor, const bf16 *exchanged, const Pass *pass, int64_t heads,
                          int64_t kv_heads, const BlockTools *tools) {
    const CudaCp *cp = tools->cp;
    int64_t D = pass->model->head_dim;
    cuda_context_return(cp, exchanged, pass->B, pass->N, exchanged_width(pass, heads, kv_heads));
    cuda_context_unpack(tools->context, cp, tensor, pass->B, pass->N, heads, kv_heads, D);
}

static bool dense_forward(CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                          const Sizes *s, const BlockTools *tools, Error *error) {
    int64_t ranks = pass->ranks, k = s->own * s->D, v = k + s->own_kv * s->D;
    SdpaProblem problem = block_sdpa_problem(pass->model, pass->B, pass->N * ranks, ranks);
    TRY(workspace_check(scratch, &problem, pass->keep ? SDPA_FORWARD_STATS : SDPA_FORWARD, tools, error));
    if (pass->ranks > 1) exchange(acts->qkv, pass, s->H, s->KV, tools);
    TRY(cuda_sdpa_forward(tools->sdpa, &problem, acts->qkv, acts->qkv + k, acts->qkv + v,
                          pass->ranks > 1 ? acts->exchanged_out : acts->attention,
                          pass->keep ? acts->lse : NULL, scratch->sdpa, scratch->sdpa_bytes, error));
    if (pass->ranks > 1) exchange_back(acts->attention, acts->exchanged_out, pass, s->H, 0, tools);
    return true;
}

// Where the gradient of attention's output comes to lie.
static bf16 *dattention_of(CudaBlockActivations *acts, const CudaBlockScratch *scratch) {
    return scratch->dattention ? scratch->dattention : acts->attention;
}

static bool dense_backward(CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                           const Sizes *s, const BlockTools *tools, Error *error) {
    bf16 *dattention = dattention_of(acts, scratch);
    int64_t ranks = pass->ranks, k = s->own * s->D, v = k + s->own_kv * s->D;
    SdpaProblem problem = block_sdpa_problem(pass->model, pass->B, pass->N * ranks, ranks);
    if (pass->ranks > 1) exchange(dattention, pass, s->H, 0, tools);
    TRY(cuda_sdpa_backward(tools->sdpa, &problem, acts->qkv, acts->qkv + k, acts->qkv + v,
                           pass->ranks > 1 ? acts->exchanged_out : acts->attention, dattention, acts->lse,
                           scratch->dqkv, scratch->dqkv + k, scratch->dqkv + v, scratch->sdpa,
                           scratch->sdpa_bytes, error));
    pack_in(acts->qkv, tools);
    if (pass->ranks > 1) exchange_back(scratch->dqkv, scratch->dqkv, pass, s->H, s->KV, tools);
    return true;
}

// Attention of new tokens over the cached ones and themselves. A prompt that starts the sequence is plain
// dense attention; so many tokens behind others are rare enough for the kernel that is meant for a few.
static bool cached_forward(CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                           const Sizes *s, const BlockTools *tools, Error *error) {
    const int64_t few = 32;
    bf16 *cache_k = scratch->cache_k + pass->cache_skip, *cache_v = scratch->cache_v + pass->cache_skip;
    cache_append(cache_k, cache_v, acts->qkv, pass->N, pass->position, s->H, s->KV, s->D,
                 tools->context->stream);
    if (pass->position == 0 && pass->N > few) return dense_forward(acts, scratch, pass, s, tools, error);
    cached_attention_forward(acts->attention, acts->qkv, cache_k, cache_v, pass->N, pass->position, s->H,
                             s->KV, s->D, tools->context->stream);
    return true;
}

// Whether cuda_rope_forward writes the scores.
static bool scored_by_rope(const Pass *pass) {
    return lighthouse_scorer(&pass->lighthouse->config)->with_rope && !pass->no_rope;
}

static bool has_gates(const Pass *pass) {
    return pass->lighthouse && lighthouse_scorer(&pass->lighthouse->config)->gates;
}

static bool attention_forward(CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                              const Sizes *s, const BlockTools *tools, Error *error) {
    if (pass->cached) return cached_forward(acts, scratch, pass, s, tools, error);
    if (!pass->lighthouse) return dense_forward(acts, scratch, pass, s, tools, error);
    bool scored = scored_by_rope(pass);
    return cuda_lighthouse_forward(
        tools->context, tools->sdpa, cuda_rows_packed(acts->attention, pass->N, s->H, 0, s->D, 1),
        &acts->lighthouse, &scratch->lighthouse, query_rows(acts->qkv, pass, s), key_rows(acts->qkv, pass, s),
        value_rows(acts->qkv, pass, s), has_gates(pass) ? scratch->gla_gate : NULL, scored, pass->forced,
        pass->lighthouse, error);
}

static Part attention_part(const Pass *pass) {
    return pass->lighthouse ? PART_LIGHTHOUSE : PART_DENSE_ATTENTION;
}

static bool attention_backward(CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                               const Sizes *s, const BlockTools *tools, Error *error) {
    if (!pass->lighthouse) return dense_backward(acts, scratch, pass, s, tools, error);
    return cuda_lighthouse_backward(tools->context, tools->sdpa, query_rows(scratch->dqkv, pass, s),
                                    key_rows(scratch->dqkv, pass, s), value_rows(scratch->dqkv, pass, s),
                                    cuda_rows_packed(dattention_of(acts, scratch), pass->N, s->H, 0, s->D, 1),
                                    &acts->lighthouse, &scratch->lighthouse, pass->lighthouse, error);
}

// ---- the block

// Rows [first, first + rows) of all, and where of what is kept theirs lies.
typedef struct {
    int64_t first, rows;
    bf16 *mid, *gate_up; // (rows, C), (rows, 2F)
} Tile;

static Tile tile_at(int64_t first, const CudaBlockActivations *acts, const CudaBlockScratch *scratch,
                    const Sizes *s) {
    int64_t left = s->rows - first, at = scratch->remakes ? 0 : first;
    Tile tile = {first, left < scratch->tile ? left : scratch->tile, acts->mid + at * s->C,
                 acts->gate_up + at * 2 * s->F};
    return tile;
}

// Queries, keys and values of a tile of the normed input, before their own norm; and the gates of `gla`.
static bool project(const Tile *tile, const bf16 *x, const CudaBlockWeights *weights,
                    CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass, const Sizes *s,
                    const BlockTools *tools, Error *error) {
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_rmsnorm_forward(scratch->normed, x + tile->first * s->C, weights->attention_norm, tile->rows, s->C,
                         pass->model->norm_eps, tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_forward(tools->matmul, acts->qkv + tile->first * s->QKV, scratch->normed, weights->qkv,
                            NULL, tile->rows, s->C, s->QKV, error));
    if (!has_gates(pass)) return true;
    cuda_part_begin(tools->clock, PART_LIGHTHOUSE);
    cuda_gla_gate(tools->context, scratch->gla_gate + tile->first * s->H, scratch->normed,
                  weights->gla_weight, weights->gla_bias, tile->rows, s->C, s->H);
    return true;
}

// Queries, keys and values of the normed input, turned to their positions, and their attention.
static bool attention_half(const bf16 *x, const CudaBlockWeights *weights, CudaBlockActivations *acts,
                           CudaBlockScratch *scratch, const Pass *pass, const Sizes *s,
                           const BlockTools *tools, Error *error) {
    LighthouseScores scores = {NULL, NULL};
    int64_t entries = 0;
    if (pass->lighthouse && scored_by_rope(pass) && !pass->forced) {
        scores = scratch->lighthouse.scores;
        entries = pass->lighthouse->hierarchy.n_entries;
    }
    for (int64_t first = 0; first < s->rows; first += scratch->tile) {
        Tile tile = tile_at(first, acts, scratch, s);
        TRY(project(&tile, x, weights, acts, scratch, pass, s, tools, error));
    }
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    if (weights->qkv_bias) {
        cuda_bias_forward(acts->qkv, weights->qkv_bias, s->rows, s->QKV, tools->context->stream);
    }
    if (weights->qk_norm) {
        cuda_head_norm_forward(acts->qkv, acts->qk, weights->qk_norm, s->rows, s->H, s->KV, s->D,
                               pass->model->norm_eps, tools->context->stream);
    }
    if (!pass->no_rope)
        cuda_rope_forward(acts->qkv, scratch->cosines, scratch->sines, scores, entries, pass->B, pass->N,
                          s->H, s->KV, s->D, pass->position, tools->context->stream);
    cuda_part_begin(tools->clock, attention_part(pass));
    pack_in(scratch->dqkv, tools);
    return attention_forward(acts, scratch, pass, s, tools, error);
}

// From the attention of a tile to its gates and ups.
static bool ffn_begin(const Tile *tile, const bf16 *x, const CudaBlockWeights *weights,
                      const CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                      const Sizes *s, const BlockTools *tools, Error *error) {
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_forward(tools->matmul, tile->mid, acts->attention + tile->first * s->HD, weights->o,
                            x + tile->first * s->C, tile->rows, s->HD, s->C, error));
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_rmsnorm_forward(scratch->normed, tile->mid, weights->ffn_norm, tile->rows, s->C,
                         pass->model->norm_eps, tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    return cuda_matmul_forward(tools->matmul, tile->gate_up, scratch->normed, weights->gate_up, NULL,
                               tile->rows, s->C, 2 * s->F, error);
}

// From there to the block's output.
static bool ffn_end(bf16 *x_out, const Tile *tile, const CudaBlockWeights *weights, CudaBlockScratch *scratch,
                    const Sizes *s, const BlockTools *tools, Error *error) {
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_swiglu_forward(scratch->act, tile->gate_up, tile->rows, s->F, tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    return cuda_matmul_forward(tools->matmul, x_out + tile->first * s->C, scratch->act, weights->down,
                               tile->mid, tile->rows, s->F, s->C, error);
}

// Until what lay where the output is to lie is on the host.
static void await_place(cudaEvent_t before_output, const BlockTools *tools) {
    if (!before_output) return;
    cuda_part_begin(tools->clock, PART_HOST);
    CUDA_CHECK(cudaStreamWaitEvent(tools->context->stream, before_output, 0));
}

bool cuda_block_forward(bf16 *x_out, cudaEvent_t before_output, const bf16 *x,
                        const CudaBlockWeights *weights, CudaBlockActivations *acts,
                        CudaBlockScratch *scratch, const Pass *pass, const BlockTools *tools, Error *error) {
    Sizes s = sizes_of(pass);
    TRY(attention_half(x, weights, acts, scratch, pass, &s, tools, error));
    if (!x_out && scratch->remakes) return true;
    for (int64_t first = 0; first < s.rows; first += scratch->tile) {
        Tile tile = tile_at(first, acts, scratch, &s);
        TRY(ffn_begin(&tile, x, weights, acts, scratch, pass, &s, tools, error));
        if (!x_out) continue;
        if (first == 0) await_place(before_output, tools);
        TRY(ffn_end(x_out, &tile, weights, scratch, &s, tools, error));
    }
    return true;
}

// The feed-forward half of a tile. Kernels that read what the forward read also give again what the forward
// made, in place of the gradient that they take: so the gradient of a product's input comes first, that of
// its weight after.   dx: of all rows
static bool ffn_backward(bf16 *dx, const Tile *tile, const CudaBlockWeights *weights,
                         const BlockGradients *gradients, CudaBlockScratch *scratch, const Pass *pass,
                         const Sizes *s, const BlockTools *tools, Error *error) {
    Matmul *matmul = tools->matmul;
    int64_t rows = tile->rows;
    dx += tile->first * s->C;
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_backward_input(matmul, scratch->act, dx, weights->down, rows, s->F, s->C, error));
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_swiglu_backward(scratch->act, tile->gate_up, rows, s->F, tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_backward_weight(matmul, gradients->down, dx, scratch->act, rows, s->F, s->C, error));
    TRY(cuda_matmul_backward_input(matmul, scratch->normed, tile->gate_up, weights->gate_up, rows, s->C,
                                   2 * s->F, error));
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_rmsnorm_backward(dx, gradients->ffn_norm, scratch->normed, scratch->partial_sums, scratch->normed,
                          tile->mid, weights->ffn_norm, rows, s->C, pass->model->norm_eps,
                          tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    return cuda_matmul_backward_weight(matmul, gradients->gate_up, tile->gate_up, scratch->normed, rows, s->C,
                                       2 * s->F, error);
}

// From the gradients of q, k and v as attention read them to those of the product.
static void heads_backward(const CudaBlockWeights *weights, const BlockGradients *gradients,
                           CudaBlockActivations *acts, CudaBlockScratch *scratch, const Pass *pass,
                           const Sizes *s, const BlockTools *tools) {
    if (!pass->no_rope)
        cuda_rope_backward(scratch->dqkv, scratch->cosines, scratch->sines, pass->B, pass->N, s->H, s->KV,
                           s->D, pass->position, tools->context->stream);
    if (weights->qk_norm) {
        cuda_head_norm_backward(scratch->dqkv, gradients->qk_norm, scratch->partial_sums, acts->qk,
                                weights->qk_norm, s->rows, s->H, s->KV, s->D, pass->model->norm_eps,
                                tools->context->stream);
    }
    if (weights->qkv_bias) {
        cuda_bias_backward(gradients->qkv_bias, scratch->partial_sums, scratch->dqkv, s->rows, s->QKV,
                           tools->context->stream);
    }
}

// A tile's way back through the product that made its queries, keys and values, and through the norm before.
static bool project_backward(bf16 *dx, const Tile *tile, const bf16 *x, const CudaBlockWeights *weights,
                             const BlockGradients *gradients, CudaBlockScratch *scratch, const Pass *pass,
                             const Sizes *s, const BlockTools *tools, Error *error) {
    const bf16 *dqkv = scratch->dqkv + tile->first * s->QKV;
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_backward_input(tools->matmul, scratch->normed, dqkv, weights->qkv, tile->rows, s->C,
                                   s->QKV, error));
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    cuda_rmsnorm_backward(dx + tile->first * s->C, gradients->attention_norm, scratch->normed,
                          scratch->partial_sums, scratch->normed, x + tile->first * s->C,
                          weights->attention_norm, tile->rows, s->C, pass->model->norm_eps,
                          tools->context->stream);
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    return cuda_matmul_backward_weight(tools->matmul, gradients->qkv, dqkv, scratch->normed, tile->rows, s->C,
                                       s->QKV, error);
}

// From the gradient of the sum after attention to that of q, k and v. Where that of attention takes the place
// of the output, the product's weight has read it before.
static bool attention_half_backward(const bf16 *dx, const CudaBlockWeights *weights,
                                    const BlockGradients *gradients, CudaBlockActivations *acts,
                                    CudaBlockScratch *scratch, const Pass *pass, const Sizes *s,
                                    const BlockTools *tools, Error *error) {
    pack_in(pass->lighthouse ? acts->qkv : scratch->dqkv, tools); // Lighthouse has its rows gathered
    if (pass->lighthouse && acts->attention_shared) {
        cuda_part_begin(tools->clock, PART_LIGHTHOUSE);
        cuda_lighthouse_scatter(tools->context, cuda_rows_packed(acts->attention, pass->N, s->H, 0, s->D, 1),
                                &acts->lighthouse, &scratch->lighthouse, pass->lighthouse);
    }
    cuda_part_begin(tools->clock, PART_PRODUCTS);
    TRY(cuda_matmul_backward_weight(tools->matmul, gradients->o, dx, acts->attention, s->rows, s->HD, s->C,
                                    error));
    TRY(cuda_matmul_backward_input(tools->matmul, dattention_of(acts, scratch), dx, weights->o, s->rows,
                                   s->HD, s->C, error));
    cuda_part_begin(tools->clock, attention_part(pass));
    TRY(attention_backward(acts, scratch, pass, s, tools, error));
    cuda_part_begin(tools->clock, PART_ELEMENTWISE);
    heads_backward(weights, gradients, acts, scratch, pass, s, tools);
    return true;
}

bool cuda_block_backward(bf16 *dx, const bf16 *x, const CudaBlockWeights *weights,
                         const BlockGradients *gradients, CudaBlockActivations *acts,
                         CudaBlockScratch *scratch, const Pass *pass, const BlockTools *tools, Error *error) {
    Sizes s = sizes_of(pass);
    for (int64_t first = 0; first < s.rows; first += scratch->tile) {
        Tile tile = tile_at(first, acts, scratch, &s);
        if (scratch->remakes) TRY(ffn_begin(&tile, x, weights, acts, scratch, pass, &s, tools, error));
        TRY(ffn_backward(dx, &tile, weights, gradients, scratch, pass, &s, tools, error));
    }
    TRY(attention_half_backward(dx, weights, gradients, acts, scratch, pass, &s, tools, error));
    for (int64_t first = 0; first < s.rows; first += scratch->tile) {
        Tile tile = tile_at(first, acts, scratch, &s);
        TRY(project_backward(dx, &tile, x, weights, gradients, scratch, pass, &s, tools, error));
    }
    return true;
}
