// The CPU engine's gradients against central differences. This test is linked to the engine's float64 build,
// with the selection held fixed: as training sees it, selection has no gradient.
#include "cpu/engine.h"

#include "core/base/random.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define STEP 3e-5 // norm of the change to a tensor

// What a model has beyond its sizes.
typedef struct {
    RopeScaling rope_scaling;
    bool tied;
    Family family;
    LayerSet no_rope;
    int64_t head_dim; // 0: 64
} Kind;

typedef struct {
    const char *name;
    Scorer scorer;
    int64_t n_heads, n_kv_heads, levels, pool, batch, context;
    Attention attention;
    bool recompute;
    const Kind *kind; // NULL: nothing
} Case;

static EngineConfig small_config(const Case *c) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    ModelConfig model = {3, 64, c->n_heads, c->n_kv_heads, 64, 72, 261, 10000, 1e-5};
    LighthouseConfig lighthouse = {c->scorer, c->levels, c->pool, 128, 4};
    config.model = model;
    if (c->kind) {
        config.model.rope_scaling = c->kind->rope_scaling;
        config.model.tied = c->kind->tied;
        config.model.family = c->kind->family;
        config.model.no_rope = c->kind->no_rope;
        if (c->kind->head_dim) config.model.head_dim = c->kind->head_dim;
    }
    config.lighthouse = lighthouse;
    config.dense_layer[1] = true; // between two Lighthouse layers
    config.use_lighthouse = c->attention == ATTENTION_LIGHTHOUSE;
    config.training = true;
    config.recompute = c->recompute;
    config.batch = c->batch;
    config.context = c->context;
    return config;
}

// Weights larger than training starts with, so that softmax, SwiGLU and norms are all well away from linear.
static void draw(Engine *engine) {
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        real *values = cpu_engine_tensor(engine, TENSOR_WEIGHT, p);
        for (int64_t i = 0; i < param_size(param); i++) {
            double z = random_normal(7, (uint64_t)p, (uint64_t)i, HUGE_VAL);
            values[i] = param->role == PARAM_EMBEDDING ? z / 2 : param->n_dims == 1 ? 1 + z / 8 : z / 6;
        }
    }
}

static double loss(Engine *engine, const int32_t *tokens, Attention attention) {
    Error error;
    double nats;
    assert_true(engine_evaluate(engine, tokens, engine->config.batch, engine->config.context, attention,
                                &nats, &error));
    return nats / (double)(engine->config.batch * engine->config.context);
}

// The derivative of the loss along a random direction in one tensor, by a central difference and by the
// gradient: how far the two are apart, as a share of the gradient's norm.
static double direction_error(Engine *engine, const int32_t *tokens, Attention attention, int p) {
    int64_t size = param_size(&engine->table.params[p]);
    real *values = cpu_engine_tensor(engine, TENSOR_WEIGHT, p);
    const real *gradient = cpu_engine_tensor(engine, TENSOR_GRADIENT, p);
    real *saved = (real *)alloc_or_exit((size_t)size, sizeof *saved);
    double *direction = (double *)alloc_or_exit((size_t)size, sizeof *direction);
    memcpy(saved, values, (size_t)size * sizeof *saved);
    double along = 0, norm = 0;
    for (int64_t i = 0; i < size; i++) {
        direction[i] = random_normal(8, (uint64_t)p, (uint64_t)i, HUGE_VAL);
        along += gradient[i] * direction[i];
        norm += gradient[i] * gradient[i];
    }
    // A step short enough for the third derivative, long enough for the loss's last bits.
    const double h = STEP / sqrt((double)size);
    for (int64_t i = 0; i < size; i++) values[i] = saved[i] + h * direction[i];
    double ahead = loss(engine, tokens, attention);
    for (int64_t i = 0; i < size; i++) values[i] = saved[i] - h * direction[i];
    double behind = loss(engine, tokens, attention);
    memcpy(values, saved, (size_t)size * sizeof *saved);
    free(saved);
    free(direction);
    return fabs((ahead - behind) / (2 * h) - along) / sqrt(norm);
}

static void force(Engine *engine, int32_t **selections) {
    Hierarchy hierarchy;
    Error error;
    const EngineConfig *config = &engine->config;
    assert_true(hierarchy_create(&config->lighthouse, config->context, &hierarchy, &error));
    int64_t size = config->batch * config->model.n_heads * hierarchy.n_selected;
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        if (config->dense_layer[layer]) continue;
        selections[layer] = (int32_t *)alloc_or_exit((size_t)size, sizeof **selections);
        engine_read_selection(engine, layer, selections[layer]);
    }
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        engine_force_selection(engine, layer, selections[layer]);
    }
}

static void test_case(void **state) {
    const Case *c = (const Case *)*state;
    EngineConfig config = small_config(c);
    Error error;
    Engine *engine = engine_cpu()->create(&config, &error);
    if (!engine) fail_msg("%s", error.message);
    draw(engine);
    int64_t n_tokens = config.batch * (config.context + 1);
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)n_tokens, sizeof *tokens), *selections[3] = {NULL};
    for (int64_t i = 0; i < n_tokens; i++) tokens[i] = (int32_t)(random_bits(9, 0, (uint64_t)i) % 261);

    double nats;
    assert_true(
        engine_forward_backward(engine, tokens, c->attention, config.batch * config.context, &nats, &error));
    if (config.use_lighthouse && !c->recompute) force(engine, selections);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        if (!param->trained) continue;
        double off = direction_error(engine, tokens, c->attention, p);
        if (!(off < 1e-6))
            fail_msg("%s: gradient of %s is off by %.2e of its norm", c->name, param->name, off);
    }
    for (int i = 0; i < 3; i++) free(selections[i]);
    free(tokens);
    engine_destroy(engine);
}

int main(void) {
    omp_set_num_threads(1); // the matrices are too small to share
    static const Kind yarn = {{ROPE_YARN, 4, 64}}, tied = {{ROPE_DEFAULT}, true};
    static const Kind outer = {{ROPE_DEFAULT}, false, FAMILY_SMOLLM3, {{true, false, true}}};
    static const Kind first = {{ROPE_DEFAULT}, false, FAMILY_SMOLLM3, {{true, true}}};
    static const Kind qwen2 = {{ROPE_DEFAULT}, false, FAMILY_QWEN2};
    static const Kind qwen2_tied = {{ROPE_DEFAULT}, true, FAMILY_QWEN2};
    static const Kind qwen3 = {{ROPE_DEFAULT}, false, FAMILY_QWEN3};
    static const Kind qwen3_tied = {{ROPE_DEFAULT}, true, FAMILY_QWEN3};
    static const Kind wide = {{ROPE_DEFAULT}, true, FAMILY_QWEN3, {{false}}, 96};
    static Case cases[] = {
        {"dense, 2 heads", SCORER_NORM, 2, 2, 2, 2, 1, 260, ATTENTION_DENSE, false},
        {"dense, 4 heads on 2", SCORER_NORM, 4, 2, 2, 2, 2, 136, ATTENTION_DENSE, true},
        {"norm, p 2, L 2", SCORER_NORM, 2, 2, 2, 2, 2, 260, ATTENTION_LIGHTHOUSE, false},
        {"norm, p 2, L 3, 4 heads on 2", SCORER_NORM, 4, 2, 3, 2, 1, 520, ATTENTION_LIGHTHOUSE, false},
        {"dilated, p 2, L 2, 2 heads on 1", SCORER_DILATED, 2, 1, 2, 2, 1, 264, ATTENTION_LIGHTHOUSE, false},
        {"gla, p 4, L 2", SCORER_GLA, 2, 2, 2, 4, 1, 520, ATTENTION_LIGHTHOUSE, false},
        {"dense, yarn", SCORER_NORM, 2, 1, 2, 2, 1, 136, ATTENTION_DENSE, false, &yarn},
        {"dense, tied", SCORER_NORM, 2, 2, 2, 2, 2, 136, ATTENTION_DENSE, true, &tied},
        {"norm, tied", SCORER_NORM, 2, 1, 2, 2, 1, 260, ATTENTION_LIGHTHOUSE, false, &tied},
        {"dense, layers without RoPE", SCORER_NORM, 2, 1, 2, 2, 1, 136, ATTENTION_DENSE, true, &outer},
        {"norm, layers without RoPE", SCORER_NORM, 2, 2, 2, 2, 2, 260, ATTENTION_LIGHTHOUSE, false, &first},
        {"dense, qwen2", SCORER_NORM, 4, 2, 2, 2, 2, 136, ATTENTION_DENSE, true, &qwen2_tied},
        {"norm, qwen2", SCORER_NORM, 2, 1, 2, 2, 1, 260, ATTENTION_LIGHTHOUSE, false, &qwen2},
        {"dense, qwen3", SCORER_NORM, 4, 2, 2, 2, 2, 136, ATTENTION_DENSE, true, &qwen3_tied},
        {"norm, qwen3", SCORER_NORM, 2, 1, 2, 2, 1, 260, ATTENTION_LIGHTHOUSE, false, &qwen3},
        {"dilated, qwen3", SCORER_DILATED, 2, 1, 2, 2, 1, 264, ATTENTION_LIGHTHOUSE, false, &qwen3},
        {"dense, heads of 96", SCORER_NORM, 4, 2, 2, 2, 2, 136, ATTENTION_DENSE, true, &wide},
        {"norm, heads of 96", SCORER_NORM, 4, 2, 3, 2, 1, 520, ATTENTION_LIGHTHOUSE, false, &wide},
        {"dilated, heads of 96", SCORER_DILATED, 2, 1, 2, 2, 1, 264, ATTENTION_LIGHTHOUSE, false, &wide},
        {"gla, heads of 96", SCORER_GLA, 2, 2, 2, 4, 1, 520, ATTENTION_LIGHTHOUSE, false, &wide},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        struct CMUnitTest test = {cases[i].name, test_case, NULL, NULL, &cases[i]};
        tests[i] = test;
    }
    return _cmocka_run_group_tests("gradients", tests, COUNT, NULL, NULL);
}
