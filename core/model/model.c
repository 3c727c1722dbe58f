// The parameter table: one place that knows every tensor's name, shape and initialisation; see model.h.
#include "core/model/model.h"
#include "core/base/random.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool check_heads(const ModelConfig *config, Error *error) {
    if (!head_width_known(config->head_dim)) {
        return error_set(error, STATUS_USAGE, "--head-dim %lld: attention is built for " HEAD_WIDTHS,
                         (long long)config->head_dim);
    }
    if (config->n_heads % config->n_kv_heads != 0) {
        int64_t nearest = config->n_kv_heads;
        while (nearest > 1 && config->n_heads % nearest != 0) nearest--;
        return error_set(error, STATUS_USAGE,
                         "--kv-heads %lld does not divide --heads %lld; the nearest that does is %lld",
                         (long long)config->n_kv_heads, (long long)config->n_heads, (long long)nearest);
    }
    return true;
}

static bool check_widths(const ModelConfig *config, Error *error) {
    const struct {
        const char *name;
        int64_t size;
    } widths[] = {{"--dim", config->dim}, {"--ffn", config->ffn_dim}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        int64_t below = widths[i].size / 8 * 8;
        if (widths[i].size % 8 == 0) continue;
        return error_set(error, STATUS_USAGE,
                         "%s %lld: must be a multiple of 8 (rows of 16 bytes); nearest: %lld or %lld",
                         widths[i].name, (long long)widths[i].size, (long long)(below ? below : 8),
                         (long long)(below + 8));
    }
    return true;
}

// RoPE, and the layers that have none.
static bool check_rope(const ModelConfig *config, Error *error) {
    if (config->rope_scaling.type == ROPE_YARN && !(config->rope_theta > 1)) {
        return error_set(error, STATUS_USAGE, "--rope-theta %g: yarn needs one above 1", config->rope_theta);
    }
    int last = layer_set_last(&config->no_rope);
    if (last >= config->n_layers) {
        return error_set(error, STATUS_USAGE,
                         "--no-rope-layers: there is no layer %d; layers go from 0 to %lld", last,
                         (long long)config->n_layers - 1);
    }
    if (last >= 0 && !family_has(config->family, FAMILY_NO_ROPE)) {
        return error_set(error, STATUS_USAGE,
                         "--no-rope-layers: layers of the family %s all have RoPE; leave it out, or take "
                         "--family smollm3",
                         FAMILY_TABLE[config->family].name);
    }
    return true;
}

bool model_config_check(const ModelConfig *config, Error *error) {
    if (config->n_layers < 1 || config->n_layers > MODEL_MAX_LAYERS) {
        return error_set(error, STATUS_USAGE, "--layers %lld: must be 1 to %d", (long long)config->n_layers,
                         MODEL_MAX_LAYERS);
    }
    if (!check_heads(config, error) || !check_widths(config, error) || !check_rope(config, error))
        return false;
    if (config->window > 0 && !family_has(config->family, FAMILY_WINDOW)) {
        return error_set(error, STATUS_USAGE, "--sliding-window %lld: the family %s has none; leave it out",
                         (long long)config->window, FAMILY_TABLE[config->family].name);
    }
    return true;
}

RopeFrequencies model_frequencies(const ModelConfig *config, int64_t positions) {
    return rope_frequencies(&config->rope_scaling, config->rope_theta, config->head_dim, positions);
}

bool model_window_check(const ModelConfig *config, int64_t tokens, Error *error) {
    return config->window == 0 || tokens <= config->window ||
           error_set(error, STATUS_USAGE,
                     "sequences of %lld tokens: the model's sliding_window is %lld, and no sliding window is "
                     "computed here; give a --seq-len (in generate, a prompt and --max-bytes) of %lld or "
                     "fewer, or train with --init and --sliding-window 0",
                     (long long)tokens, (long long)config->window, (long long)config->window);
}

// Initialisation of a role: a normal of this std, cut at this distance; std 0 is a constant.
typedef struct {
    double mean, std, cut;
} Init;

// One of params.def, for the shape of a model.
typedef struct {
    ParamRole role;
    const char *name;
    int n_dims;
    int64_t rows, cols;
    Init init;
    bool trained;
    ParamDecay decay;
} Row;

// Without a place in memory.
static void table_add(ParamTable *table, int layer, const Row *row) {
    assert(table->count < table->room);
    Param *param = &table->params[table->count++];
    if (layer < 0) {
        snprintf(param->name, sizeof param->name, "%s", row->name);
    } else {
        snprintf(param->name, sizeof param->name, "model.layers.%d.%s", layer, row->name);
    }
    param->role = row->role;
    param->layer = layer;
    param->n_dims = row->n_dims;
    param->rows = row->rows;
    param->cols = row->cols;
    param->init_mean = row->init.mean;
    param->init_std = row->init.std;
    param->init_cut = row->init.cut;
    param->trained = row->trained;
    param->decay = row->decay;
    if (param->trained) table->n_trained += row->rows * row->cols;
}

// The embedding is bucket 0, layer i is i + 1, and what the backward has first is the last.
static int bucket_of(const Param *param, int n_buckets) {
    if (!param->trained) return -1;
    if (param->layer >= 0) return param->layer + 1;
    return param->role == PARAM_EMBEDDING ? 0 : n_buckets - 1;
}

static int64_t round_up(int64_t size, int64_t unit) {
    return (size + unit - 1) / unit * unit;
}

// Elements of the flat array from the tensor's first: rows of a vocabulary are as many as kernels take at a
// time.
static int64_t param_room(const Param *param) {
    bool padded = param->role == PARAM_EMBEDDING || param->role == PARAM_HEAD;
    return round_up((padded ? model_padded_vocab(param->rows) : param->rows) * param->cols, PARAM_ALIGNMENT);
}

void param_table_shard(ParamTable *table, int ranks) {
    int open = -1;
    table->ranks = ranks;
    table->trained_size = table->frozen_size = table->vectors_size = 0;
    for (int i = 0; i < table->count; i++) {
        Param *param = &table->params[i];
        param->bucket = bucket_of(param, table->n_buckets);
        int64_t *size = param->trained ? &table->trained_size : &table->frozen_size;
        if (param->trained && param->bucket != open) {
            open = param->bucket;
            *size = round_up(*size, PARAM_ALIGNMENT * (int64_t)ranks);
            table->buckets[open].offset = *size;
        }
        param->offset = *size;
        *size += param_room(param);
        param->vector = param->trained && param->n_dims == 1 ? table->vectors_size : -1;
        if (param->vector >= 0) table->vectors_size += param_room(param);
    }
    table->trained_size = round_up(table->trained_size, PARAM_ALIGNMENT * (int64_t)ranks);
    for (int b = 0; b < table->n_buckets; b++) {
        int64_t end = b + 1 < table->n_buckets ? table->buckets[b + 1].offset : table->trained_size;
        table->buckets[b].share = (end - table->buckets[b].offset) / ranks;
    }
}

static bool decays(const Param *param, bool matrices) {
    return param->decay == DECAY_MATRIX || (param->decay == DECAY_ALL && !matrices);
}

// The last trained parameter that begins at `at` or before; what follows it up to the next is its gap.
static int param_at(const ParamTable *table, int64_t at) {
    int i = 0;
    while (i + 1 < table->count && table->params[i + 1].trained && table->params[i + 1].offset <= at) i++;
    return i;
}

int64_t param_decay_run(const ParamTable *table, int64_t at, int64_t end, bool matrices, bool *decay) {
    int i = param_at(table, at);
    *decay = decays(&table->params[i], matrices);
    while (++i < table->count && table->params[i].trained && table->params[i].offset < end)
        if (decays(&table->params[i], matrices) != *decay) return table->params[i].offset;
    return end;
}

void param_share(const ParamTable *table, const Param *param, int rank, int64_t *start, int64_t *count) {
    int64_t size = param_size(param), first = 0, end = size;
    if (param->trained) {
        const ParamBucket *bucket = &table->buckets[param->bucket];
        first = bucket->offset + rank * bucket->share - param->offset;
        end = first + bucket->share;
    }
    *start = first < 0 ? 0 : first > size ? size : first;
    *count = (end > size ? size : end) - *start;
    if (*count < 0) *count = 0;
}

typedef enum { FIRST, LAYER, LAST, FROZEN } Place;

// The parameters of one place, and of one layer there.
static void add_place(ParamTable *table, Place place, int layer, const ModelConfig *m, bool gates) {
    int64_t C = m->dim, F = m->ffn_dim, V = m->vocab_size, H = m->n_heads;
    int64_t D = m->head_dim, HD = H * D, KVD = m->n_kv_heads * D;
    bool biases = family_has(m->family, FAMILY_BIAS), head_norms = family_has(m->family, FAMILY_QK_NORM);
    double head_std = 1 / sqrt((double)C);
    Init ones = {1, 0, 0}, zeros = {0, 0, 0}, inner = {0, 0.02, 2}, head = {0, head_std, 3 * head_std};
    // What is added to the residual stream starts smaller.
    Init outer = {0, 0.02 / sqrt(2.0 * (layer + 1)), 2};
    // A tied embedding makes logits of size 1 only when it is drawn as a head.
    Init wide = {0, 1, HUGE_VAL}, embedding = m->tied ? head : wide;
    const struct {
        Place place;
        bool when;
        Row row;
    } rows[] = {
#define PARAM(ROLE, place, name, n_dims, rows, cols, when, init, decay) \
    {place, when, {PARAM_##ROLE, name, n_dims, rows, cols, init, (place) != FROZEN, DECAY_##decay}},
#include "core/model/params.def"
#undef PARAM
    };
    for (int i = 0; i < PARAM_ROLES; i++)
        if (rows[i].place == place && rows[i].when) table_add(table, layer, &rows[i].row);
}

ParamTable param_table_create(const ModelConfig *config, bool gla_gates) {
    ParamTable table;
    int layers = (int)config->n_layers;
    memset(&table, 0, sizeof table);
    table.room = PARAM_ROLES * (layers + 1);
    table.params = (Param *)alloc_or_exit((size_t)table.room, sizeof(Param));
    table.n_buckets = layers + 2;
    table.buckets = (ParamBucket *)alloc_or_exit((size_t)table.n_buckets, sizeof(ParamBucket));
    add_place(&table, FIRST, -1, config, gla_gates);
    for (int i = 0; i < layers; i++) add_place(&table, LAYER, i, config, gla_gates);
    add_place(&table, LAST, -1, config, gla_gates);
    for (int i = 0; i < layers; i++) add_place(&table, FROZEN, i, config, gla_gates);
    param_table_shard(&table, 1);
    return table;
}

void param_table_free(ParamTable *table) {
    free(table->params);
    free(table->buckets);
    memset(table, 0, sizeof *table);
}

int param_find(const ParamTable *table, ParamRole role, int layer) {
    for (int i = 0; i < table->count; i++) {
        if (table->params[i].role == role && table->params[i].layer == layer) return i;
    }
    return role == PARAM_HEAD ? param_find(table, PARAM_EMBEDDING, layer) : -1;
}

bool param_table_tied(const ParamTable *table) {
    return param_find(table, PARAM_HEAD, -1) == param_find(table, PARAM_EMBEDDING, -1);
}

void param_init(const Param *param, uint64_t seed, int64_t start, int64_t count, float *out) {
    // The stream is the tensor's name, so that a weight does not depend on its place in the table.
    uint64_t stream = XXH3_64bits(param->name, strlen(param->name));
    double cut = param->init_std > 0 ? param->init_cut / param->init_std : 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        double z = param->init_std > 0 ? random_normal(seed, stream, (uint64_t)(start + i), cut) : 0;
        out[i] = (float)(param->init_mean + param->init_std * z);
    }
}
