// Where a loss or a gradient that is not finite comes from; see nonfinite.h.
#include "core/engine/nonfinite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE      (1 << 20) // elements of a gradient that are looked at together
#define LONGEST    160
#define ONCE_AGAIN "; made again, all was finite: look for a fault in this machine"

static void append(Error *error, const char *words) {
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, "%s", words);
}

// Layers as engine_find_nonfinite counts them.
static void place_name(const Engine *engine, int layer, char *name, size_t size) {
    int layers = (int)engine->config.model.n_layers;
    if (layer < 0) {
        snprintf(name, size, "the embedding");
    } else if (layer < layers) {
        snprintf(name, size, "layer %d (of 0 to %d)", layer, layers - 1);
    } else {
        snprintf(name, size, "the head, behind the last layer");
    }
}

// The least, or the greatest, among the ranks.
static int extreme_of_all(Ranks *ranks, int own, bool greatest) {
    if (!ranks_many(ranks)) return own;
    int *all = (int *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    ranks_gather(ranks, &own, sizeof own, all);
    for (int i = 0; i < ranks->size; i++) {
        if (greatest ? all[i] > own : all[i] < own) own = all[i];
    }
    free(all);
    return own;
}

// The next micro-step's tokens, on all ranks or on none.
static bool read_again(const Engine *engine, DataLoader *data, int32_t *tokens) {
    Error ignored; // the error that is being explained is the one to tell
    bool read = dataloader_next(data, engine->config.batch, tokens, &ignored);
    return extreme_of_all(engine->config.ranks, read, false) != 0;
}

void nonfinite_explain_loss(Engine *engine, DataLoader *data, const DataPlaces *places, int32_t *tokens,
                            Attention attention, Error *error) {
    const EngineConfig *config = &engine->config;
    int none = (int)config->model.n_layers + 1;
    char name[64], words[LONGEST];
    dataloader_seek_places(data, places);
    for (int64_t i = 0; i < config->micro_steps; i++) {
        Error ignored;
        int layer = none;
        if (!read_again(engine, data, tokens)) return;
        if (!engine_find_nonfinite(engine, tokens, attention, &layer, &ignored)) layer = none;
        layer = extreme_of_all(config->ranks, layer, false);
        if (layer == none) continue;
        place_name(engine, layer, name, sizeof name);
        snprintf(words, sizeof words,
                 "; the first output that is not finite is that of %s, in micro-step %lld of %lld", name,
                 (long long)i + 1, (long long)config->micro_steps);
        append(error, words);
        return;
    }
    append(error, ONCE_AGAIN);
}

// Whether this rank's share of a gradient is finite.
static bool gradient_finite(Engine *engine, int param, float *piece) {
    const Ranks *ranks = engine->config.ranks;
    int64_t start, left;
    bool finite = true;
    param_share(&engine->table, &engine->table.params[param], ranks_rank(ranks), &start, &left);
    do { // also where nothing of it lies here: reading waits for the sum over the ranks
        int64_t count = left < PIECE ? left : PIECE;
        engine_read(engine, TENSOR_GRADIENT, param, start, count, piece);
        for (int64_t i = 0; i < count; i++) finite = finite && isfinite(piece[i]);
        start += count;
        left -= count;
    } while (left > 0);
    return finite;
}

// The place of a parameter in the order of the layers.
static int place_of(const Engine *engine, const Param *param) {
    if (param->layer >= 0) return param->layer;
    return param->role == PARAM_EMBEDDING ? -1 : (int)engine->config.model.n_layers;
}

void nonfinite_explain_gradient(Engine *engine, DataLoader *data, const DataPlaces *places, int32_t *tokens,
                                Attention attention, Error *error) {
    const EngineConfig *config = &engine->config;
    int64_t data_ranks = config->ranks ? config->ranks->data_size : 1;
    int64_t targets = config->micro_steps * config->batch * config->context * data_ranks;
    dataloader_seek_places(data, places);
    for (int64_t i = 0; i < config->micro_steps; i++) {
        Error ignored;
        double nats;
        if (!read_again(engine, data, tokens)) return;
        if (!engine_forward_backward(engine, tokens, attention, targets, &nats, &ignored)) return;
    }
    int none = -2, last = none;
    float *piece = (float *)alloc_or_exit(PIECE, sizeof *piece);
    for (int i = 0; i < engine->table.count; i++) {
        const Param *param = &engine->table.params[i];
        if (!param->trained || gradient_finite(engine, i, piece)) continue;
        if (place_of(engine, param) > last) last = place_of(engine, param);
    }
    free(piece);
    last = extreme_of_all(config->ranks, last, true);
    char name[64], words[LONGEST];
    place_name(engine, last, name, sizeof name);
    snprintf(words, sizeof words,
             "; the loss is finite, and on the way back from it the first gradient that is not is that of %s",
             name);
    append(error, last == none ? ONCE_AGAIN : words);
}
