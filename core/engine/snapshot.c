// Copies of an engine's tensors for a save; see snapshot.h.
#include "core/engine/snapshot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1 << 20) // elements that are read from the engine at a time, without copies

static const TensorKind kinds[] = {TENSOR_WEIGHT, TENSOR_MOMENT1, TENSOR_MOMENT2};
#define KINDS ((int)(sizeof kinds / sizeof *kinds))

struct Snapshot {
    Engine *engine;
    float *values; // copies, one share behind the other; without copies, one piece
    bool copies, pinned;
    int64_t *places[TENSOR_MOMENT2 + 1]; // by kind: where each parameter's share begins in the copies
};

static void share_of(const ParamTable *table, const Ranks *ranks, const Param *param, int64_t *start,
                     int64_t *count) {
    param_share(table, param, ranks_rank(ranks), start, count);
    if (!param->trained && !ranks_first(ranks)) *count = 0;
}

// Elements of all shares. `snapshot`: NULL, or gets their places.
static int64_t lay_out(const ParamTable *table, const Ranks *ranks, Snapshot *snapshot) {
    int64_t used = 0;
    for (int k = 0; k < KINDS; k++) {
        for (int i = 0; i < table->count; i++) {
            int64_t start, count;
            if (snapshot) snapshot->places[kinds[k]][i] = used;
            share_of(table, ranks, &table->params[i], &start, &count);
            if (kinds[k] == TENSOR_WEIGHT || table->params[i].trained) used += count;
        }
    }
    return used;
}

size_t snapshot_bytes(const ParamTable *table, const Ranks *ranks) {
    return (size_t)lay_out(table, ranks, NULL) * sizeof(float);
}

Snapshot *snapshot_create(Engine *engine, bool copies) {
    Snapshot *snapshot = (Snapshot *)alloc_or_exit(1, sizeof *snapshot);
    snapshot->engine = engine;
    snapshot->copies = copies;
    for (int k = 0; k < KINDS; k++)
        snapshot->places[kinds[k]] = (int64_t *)alloc_or_exit((size_t)engine->table.count, sizeof(int64_t));
    size_t bytes = (size_t)lay_out(&engine->table, engine->config.ranks, snapshot) * sizeof(float);
    if (!copies) bytes = PIECE * sizeof(float);
    snapshot->values = (float *)malloc(bytes ? bytes : 1); // a rank may have no share
    if (!snapshot->values) {
        snapshot_free(snapshot);
        return NULL;
    }
    if (copies) {
        memset(snapshot->values, 0xff,
               bytes); // the first save shall not wait for the kernel to find the pages
        snapshot->pinned = engine->api->pin && engine->api->pin(snapshot->values, bytes);
    }
    return snapshot;
}

void snapshot_free(Snapshot *snapshot) {
    if (!snapshot) return;
    if (snapshot->pinned) snapshot->engine->api->unpin(snapshot->values);
    for (int k = 0; k < KINDS; k++) free(snapshot->places[kinds[k]]);
    free(snapshot->values);
    free(snapshot);
}

const Engine *snapshot_engine(const Snapshot *snapshot) {
    return snapshot->engine;
}

void snapshot_share(const Snapshot *snapshot, const Param *param, int64_t *start, int64_t *count) {
    share_of(&snapshot->engine->table, snapshot->engine->config.ranks, param, start, count);
}

void snapshot_take(Snapshot *snapshot) {
    const ParamTable *table = &snapshot->engine->table;
    for (int k = 0; snapshot->copies && k < KINDS; k++) {
        for (int i = 0; i < table->count; i++) {
            int64_t start, count;
            snapshot_share(snapshot, &table->params[i], &start, &count);
            if (count == 0 || (kinds[k] != TENSOR_WEIGHT && !table->params[i].trained)) continue;
            engine_read(snapshot->engine, kinds[k], i, start, count,
                        snapshot->values + snapshot->places[kinds[k]][i]);
        }
    }
}

const float *snapshot_read(Snapshot *snapshot, TensorKind kind, int param, int64_t start, int64_t *count) {
    int64_t first, size;
    snapshot_share(snapshot, &snapshot->engine->table.params[param], &first, &size);
    assert(kind != TENSOR_GRADIENT && start >= first && *count > 0 && start + *count <= first + size);
    if (snapshot->copies) return snapshot->values + snapshot->places[kind][param] + (start - first);
    if (*count > PIECE) *count = PIECE;
    engine_read(snapshot->engine, kind, param, start, *count, snapshot->values);
    return snapshot->values;
}
