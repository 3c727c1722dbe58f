// What engines have in common: their beginning, and what is asked of all alike; see engine.h.
#include "core/engine/engine.h"

#include "core/engine/context.h"

#include <assert.h>

void engine_begin(Engine *engine, const EngineApi *api, const EngineConfig *config) {
    engine->api = api;
    engine->config = *config;
    engine->table = param_table_create(&config->model, engine_has_gates(config));
    param_table_shard(&engine->table, ranks_count(config->ranks));
}

bool engine_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                     Attention attention, double *nats, Error *error) {
    assert(batch <= engine->config.batch && context <= engine->config.context);
    return engine->api->evaluate(engine, tokens, batch, context, attention, nats, error);
}

void engine_read_evaluated(Engine *engine, int64_t start, int64_t count, double *nats, float *outputs) {
    assert(start + count <= context_rows(&engine->config));
    engine->api->read_evaluated(engine, start, count, nats, outputs);
}

bool engine_decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                   Error *error) {
    const EngineConfig *config = &engine->config;
    int64_t rows = config->batch * config->context;
    assert(count > 0);
    if (position + count > config->cache) {
        return error_set(error, STATUS_USAGE, "%lld tokens do not fit the cache of %lld tokens",
                         (long long)(position + count), (long long)config->cache);
    }
    for (; count > rows; count -= rows, tokens += rows, position += rows) {
        if (!engine->api->decode(engine, tokens, rows, position, NULL, error)) return false;
    }
    return engine->api->decode(engine, tokens, count, position, logits, error);
}

bool engine_predict(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                    Error *error) {
    const EngineConfig *config = &engine->config;
    assert(batch * context <= config->batch * config->context && context <= config->context);
    return engine->api->predict(engine, tokens, batch, context, logits, error);
}
