// A CPU engine small enough for tests; see small_engine.h.
#include "small_engine.h"

#include "cpu/engine.h"
#include "numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

EngineConfig small_engine_config(Scorer scorer, int64_t B, int64_t N) {
    const ModelConfig model = {3, 72, 4, 2, 64, 88, SMALL_VOCABULARY, 10000, 1e-5};
    const LighthouseConfig lighthouse = {scorer, 2, 2, 128, 4};
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model = model;
    config.lighthouse = lighthouse;
    config.dense_layer[1] = true;
    config.use_lighthouse = true;
    config.training = true;
    config.batch = B;
    config.context = N;
    return config;
}

Engine *small_engine_create(const EngineConfig *config) {
    Error error;
    Engine *engine = engine_cpu()->create(config, &error);
    if (!engine) fail_msg("%s", error.message);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        int64_t size = param_size(param);
        float *values = numbers_new(size, 50 + (uint64_t)p, param->n_dims == 1 ? 0.1 : 0.13);
        for (int64_t i = 0; i < size && param->n_dims == 1; i++) values[i] += 1;
        engine_write(engine, TENSOR_WEIGHT, p, 0, size, values);
        free(values);
    }
    return engine;
}

int32_t *small_engine_tokens(int64_t count, uint64_t stream) {
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)numbers_between(stream, (uint64_t)i, 0, SMALL_VOCABULARY - 1);
    }
    return tokens;
}

float *small_engine_read(Engine *engine, TensorKind kind, int64_t *count) {
    float *values = (float *)alloc_or_exit((size_t)engine->table.n_trained, sizeof *values);
    *count = 0;
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        if (!param->trained) continue;
        engine_read(engine, kind, p, 0, param_size(param), values + *count);
        *count += param_size(param);
    }
    assert_int_equal(*count, engine->table.n_trained);
    return values;
}

void expect_same_bits(Engine *a, Engine *b, TensorKind kind) {
    int64_t count;
    float *x = small_engine_read(a, kind, &count), *y = small_engine_read(b, kind, &count);
    assert_memory_equal(x, y, (size_t)count * sizeof *x);
    assert_false(numbers_zero(x, count));
    free(x);
    free(y);
}

double small_engine_train(Engine *engine, const int32_t *tokens, Attention attention, int64_t targets) {
    Error error;
    double nats;
    if (!engine_forward_backward(engine, tokens, attention, targets, &nats, &error))
        fail_msg("%s", error.message);
    return nats;
}

double small_engine_evaluate(Engine *engine, const int32_t *tokens, int64_t B, int64_t N,
                             Attention attention) {
    Error error;
    double nats;
    if (!engine_evaluate(engine, tokens, B, N, attention, &nats, &error)) fail_msg("%s", error.message);
    return nats;
}

AdamW small_adamw(double clip) {
    AdamW adamw = {.step = 1,
                   .lr = 1e-2,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = ADAMW_EPS,
                   .weight_decay = 0.1,
                   .clip = clip};
    return adamw;
}
