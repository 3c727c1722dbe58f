// An engine that only holds tensors in plain arrays; see fake_engine.h.
#include "fake_engine.h"

#include "core/engine/snapshot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Engine base;
    float **values[4]; // by kind, then by parameter
} FakeEngine;

static float *tensor(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count) {
    assert(start >= 0 && start + count <= param_size(&engine->table.params[param]));
    assert(kind == TENSOR_WEIGHT || engine->table.params[param].trained);
    return ((FakeEngine *)engine)->values[kind][param] + start;
}

static void fake_read(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, float *out) {
    memcpy(out, tensor(engine, kind, param, start, count), (size_t)count * sizeof *out);
}

static void fake_write(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                       const float *in) {
    memcpy(tensor(engine, kind, param, start, count), in, (size_t)count * sizeof *in);
}

static void fake_destroy(Engine *engine) {
    FakeEngine *fake = (FakeEngine *)engine;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < engine->table.count; i++) free(fake->values[kind][i]);
        free(fake->values[kind]);
    }
    param_table_free(&engine->table);
    free(fake);
}

static const EngineApi fake_api = {
    .name = "fake",
    .destroy = fake_destroy,
    .read = fake_read,
    .write = fake_write,
};

Engine *fake_engine_create(const ModelConfig *model, bool gla_gates) {
    FakeEngine *fake = (FakeEngine *)alloc_or_exit(1, sizeof *fake);
    fake->base.api = &fake_api;
    fake->base.config.model = *model;
    fake->base.config.training = true;
    fake->base.table = param_table_create(model, gla_gates);
    for (int kind = 0; kind < 4; kind++) {
        fake->values[kind] = (float **)alloc_or_exit((size_t)fake->base.table.count, sizeof(float *));
        for (int i = 0; i < fake->base.table.count; i++)
            fake->values[kind][i] =
                (float *)alloc_or_exit((size_t)param_size(&fake->base.table.params[i]), sizeof(float));
    }
    return &fake->base;
}

void fake_engine_fill(Engine *engine, uint64_t seed) {
    FakeEngine *fake = (FakeEngine *)engine;
    uint64_t bits = seed;
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < engine->table.count; i++) {
            for (int64_t e = 0; e < param_size(&engine->table.params[i]); e++) {
                bits = bits * 6364136223846793005u + 1442695040888963407u;
                fake->values[kind][i][e] = (float)((double)(bits >> 33) / 4294967296.0 - 0.25) / 4;
            }
        }
    }
}

static bool same(Engine *a, Engine *b, TensorKind kind, int param) {
    return memcmp(((FakeEngine *)a)->values[kind][param], ((FakeEngine *)b)->values[kind][param],
                  (size_t)param_size(&a->table.params[param]) * sizeof(float)) == 0;
}

bool fake_engine_same_weights(Engine *a, Engine *b, bool frozen) {
    for (int i = 0; i < a->table.count; i++)
        if ((frozen || a->table.params[i].trained) && !same(a, b, TENSOR_WEIGHT, i)) return false;
    return true;
}

bool fake_engine_same_moments(Engine *a, Engine *b) {
    for (int i = 0; i < a->table.count; i++)
        if (a->table.params[i].trained && !(same(a, b, TENSOR_MOMENT1, i) && same(a, b, TENSOR_MOMENT2, i)))
            return false;
    return true;
}

bool fake_engine_save(Engine *engine, const TensorSet *set, const char *path, Digest *digest, Error *error) {
    Snapshot *live = snapshot_create(engine, false);
    bool ok = tensor_set_save(set, live, path, digest, error);
    snapshot_free(live);
    return ok;
}
