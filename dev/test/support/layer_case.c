// Lighthouse layers on random shapes; see layer_case.h.
#include "dev/test/support/layer_case.h"

#include "dev/test/support/numbers.h"

#include <stdio.h>
#include <stdlib.h>

static bool power_of_two(int64_t x) {
    return (x & (x - 1)) == 0;
}

// Draws of case `index`, numbered.
static int64_t draw(int index, int number, int64_t low, int64_t high) {
    return numbers_between(100 + (uint64_t)index, (uint64_t)number, low, high);
}

// Settings and tokens; N is no power of two, and the chunks of the coarsest level are not all of one size.
static int64_t draw_config(LighthouseConfig *config, int index) {
    const int64_t dilations[] = {2, 3, 5};
    config->scorer = (Scorer)(index / 9 % SCORER_COUNT);
    config->levels = 2 + index / 3 % 3;
    config->pool = 2 << index % 3;
    int64_t span = 1, chunks = draw(index, 0, 1, 4);
    for (int l = 1; l < config->levels; l++) span *= config->pool;
    while (chunks > 1 && chunks * LIGHTHOUSE_CHUNK_TOPK * span > 20000) chunks--;
    config->topk = chunks * LIGHTHOUSE_CHUNK_TOPK;
    config->dilation = span > 50 ? span / 8 : dilations[draw(index, 1, 0, 2)];
    if (config->dilation == chunks) config->dilation = 1; // else no count of chunks is uneven
    int64_t coarse = config->topk + draw(index, 2, 1, 40);
    while (power_of_two(coarse * span) || (chunks > 1 && coarse % chunks == 0) ||
           coarse * span % config->dilation != 0) {
        coarse++;
    }
    return coarse * span;
}

static void draw_shape(LayerCase *c, int index) {
    const int64_t widths[] = {8, 24, 64};
    LighthouseShape *shape = &c->shape;
    Error error;
    c->N = draw_config(&shape->config, index);
    if (!hierarchy_create(&shape->config, c->N, &shape->hierarchy, &error)) error_exit(&error);
    bool large = c->N > 8192 || shape->hierarchy.n_selected > 2000; // few and narrow heads, to stay quick
    shape->H = large ? 2 : draw(index, 3, 1, 4);
    shape->share = shape->H % 2 == 0 ? draw(index, 4, 1, 2)
                   : shape->H == 3   ? 2 * draw(index, 4, 0, 1) + 1
                                     : 1;
    shape->B = large ? 1 : draw(index, 5, 1, 2);
    shape->D = large ? 8 : widths[draw(index, 6, 0, 2)];
    c->S = shape->hierarchy.n_selected;
    c->E = shape->hierarchy.n_entries;
    c->heads = shape->B * shape->H;
    c->kv_heads = c->heads / shape->share;
    c->ties = draw(index, 7, 0, 1);
    snprintf(c->name, sizeof c->name,
             "case %d: %s p %lld L %lld k %lld N %lld B %lld H %lld share %lld D %lld dilation %lld%s", index,
             SCORER_TABLE[shape->config.scorer].name, (long long)shape->config.pool,
             (long long)shape->config.levels, (long long)shape->config.topk, (long long)c->N,
             (long long)shape->B, (long long)shape->H, (long long)shape->share, (long long)shape->D,
             (long long)shape->config.dilation, c->ties ? " ties" : "");
}

// Rows of unlike length, so that scores spread.
static float *draw_rows(int64_t rows, int64_t D, uint64_t stream) {
    float *x = numbers_new(rows * D, stream, 1), *scale = numbers_new(rows, stream + 1, 0.5);
    for (int64_t i = 0; i < rows * D; i++) x[i] *= 0.7f + scale[i / D] * scale[i / D];
    free(scale);
    return x;
}

static void make_buffers(LayerCase *c, int index) {
    uint64_t stream = 1000 + 100 * (uint64_t)index;
    int64_t D = c->shape.D, size = c->heads * c->N * D;
    c->q = draw_rows(c->heads * c->N, D, stream);
    c->k = draw_rows(c->kv_heads * c->N, D, stream + 10);
    c->v = draw_rows(c->kv_heads * c->N, D, stream + 20);
    c->dout = numbers_new(size, stream + 30, 1);
    c->gate = numbers_new(c->heads * c->N, stream + 40, 1);
    for (int64_t i = 0; i < c->heads * c->N; i++) c->gate[i] = -0.1f * c->gate[i] * c->gate[i];
    c->out = (float *)alloc_or_exit((size_t)size, sizeof(float));
    c->entries = (int32_t *)alloc_or_exit((size_t)(c->heads * c->S), sizeof(int32_t));

    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    lighthouse_plan_rows(plan, &c->rows, &c->shape, 1);
    lighthouse_plan_scratch(plan, &c->scratch, &c->shape, true, NULL);
    c->arena = alloc_or_exit(plan->total, 1);
    plan_bind(plan, c->arena);
    free(plan);
}

Rows layer_case_queries(const LayerCase *c, float *x) {
    return rows_token_major(x, c->N, c->shape.H, c->shape.D, 1);
}

Rows layer_case_keys(const LayerCase *c, float *x) {
    return rows_token_major(x, c->N, c->shape.H / c->shape.share, c->shape.D, c->shape.share);
}

void layer_case_forward(LayerCase *c, float *out, bool forced) {
    lighthouse_forward(layer_case_queries(c, out), &c->rows, &c->scratch, layer_case_queries(c, c->q),
                       layer_case_keys(c, c->k), layer_case_keys(c, c->v), c->gate,
                       forced ? c->entries : NULL, &c->shape);
}

void layer_case_create(LayerCase *c, int index) {
    memset(c, 0, sizeof *c);
    draw_shape(c, index);
    make_buffers(c, index);
    lighthouse_score(&c->scratch, layer_case_queries(c, c->q), layer_case_keys(c, c->k),
                     layer_case_keys(c, c->v), c->gate, &c->shape);
    // Rounding is monotone: a coarser entry still scores the maximum over its children.
    for (int64_t i = 0; c->ties && i < c->heads * c->E; i++) {
        c->scratch.score_q[i] = floorf(c->scratch.score_q[i]);
        c->scratch.score_k[i] = floorf(c->scratch.score_k[i]);
    }
    lighthouse_select(&c->scratch, &c->shape);
    lighthouse_order(&c->rows, &c->scratch, &c->shape);
    memcpy(c->entries, c->rows.entries, (size_t)(c->heads * c->S) * sizeof *c->entries);
    layer_case_forward(c, c->out, true);
}

void layer_case_free(LayerCase *c) {
    void *buffers[] = {c->q, c->k, c->v, c->dout, c->gate, c->out, c->entries, c->arena};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}
