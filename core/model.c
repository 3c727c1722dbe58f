// The parameter table: one place that knows every tensor's name, shape and initialisation; see model.h.
#include "model.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

bool model_config_check(const ModelConfig *config, Error *error) {
    if (config->n_layers < 1 || config->n_layers > MODEL_MAX_LAYERS) {
        return error_set(error, STATUS_USAGE, "--layers %lld: must be 1 to %d", (long long)config->n_layers,
                         MODEL_MAX_LAYERS);
    }
    if (config->head_dim != 64 && config->head_dim != 128) {
        return error_set(error, STATUS_USAGE, "--head-dim %lld: attention is built for 64 and 128",
                         (long long)config->head_dim);
    }
    if (config->n_heads % config->n_kv_heads != 0) {
        int64_t nearest = config->n_kv_heads;
        while (nearest > 1 && config->n_heads % nearest != 0) nearest--;
        return error_set(error, STATUS_USAGE,
                         "--kv-heads %lld does not divide --heads %lld; the nearest that does is %lld",
                         (long long)config->n_kv_heads, (long long)config->n_heads, (long long)nearest);
    }
    const struct {
        const char *name;
        int64_t size;
    } widths[] = {{"--dim", config->dim}, {"--ffn", config->ffn_dim}, {"--vocab", config->vocab_size}};
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

// Initialisation of a role: a normal of this std, cut at this distance; std 0 is a constant.
typedef struct {
    double mean, std, cut;
} Init;

static void table_add(ParamTable *table, ParamRole role, int layer, const char *name, int n_dims,
                      int64_t rows, int64_t cols, Init init) {
    Param *param = &table->params[table->count++];
    if (layer < 0) {
        snprintf(param->name, sizeof param->name, "%s", name);
    } else {
        snprintf(param->name, sizeof param->name, "model.layers.%d.%s", layer, name);
    }
    param->role = role;
    param->layer = layer;
    param->n_dims = n_dims;
    param->rows = rows;
    param->cols = cols;
    param->init_mean = init.mean;
    param->init_std = init.std;
    param->init_cut = init.cut;
    param->trained = role != PARAM_GLA_WEIGHT && role != PARAM_GLA_BIAS;
    if (param->trained) table->n_trained += rows * cols;
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

void param_table_shard(ParamTable *table, int ranks) {
    int open = -1;
    table->ranks = ranks;
    table->trained_size = table->frozen_size = 0;
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
        *size += round_up(param_size(param), PARAM_ALIGNMENT);
    }
    table->trained_size = round_up(table->trained_size, PARAM_ALIGNMENT * (int64_t)ranks);
    for (int b = 0; b < table->n_buckets; b++) {
        int64_t end = b + 1 < table->n_buckets ? table->buckets[b + 1].offset : table->trained_size;
        table->buckets[b].share = (end - table->buckets[b].offset) / ranks;
    }
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

ParamTable param_table_create(const ModelConfig *config, bool gla_gates) {
    ParamTable table;
    memset(&table, 0, sizeof table);
    table.params = (Param *)alloc_or_exit((size_t)(3 + 11 * config->n_layers), sizeof(Param));
    table.n_buckets = (int)config->n_layers + 2;
    table.buckets = (ParamBucket *)alloc_or_exit((size_t)table.n_buckets, sizeof(ParamBucket));

    int64_t C = config->dim, F = config->ffn_dim, V = config->vocab_size;
    int64_t Q = config->n_heads * config->head_dim, KV = config->n_kv_heads * config->head_dim;
    Init ones = {1, 0, 0}, zeros = {0, 0, 0}, inner = {0, 0.02, 2};
    Init embedding = {0, 1, HUGE_VAL};
    double head_std = 1 / sqrt((double)C);
    Init head = {0, head_std, 3 * head_std};

    table_add(&table, PARAM_EMBEDDING, -1, "model.embed_tokens.weight", 2, V, C, embedding);
    for (int i = 0; i < config->n_layers; i++) {
        Init outer = {0, 0.02 / sqrt(2.0 * (i + 1)),
                      2}; // what is added to the residual stream starts smaller
        table_add(&table, PARAM_ATTENTION_NORM, i, "input_layernorm.weight", 1, 1, C, ones);
        table_add(&table, PARAM_Q, i, "self_attn.q_proj.weight", 2, Q, C, inner);
        table_add(&table, PARAM_K, i, "self_attn.k_proj.weight", 2, KV, C, inner);
        table_add(&table, PARAM_V, i, "self_attn.v_proj.weight", 2, KV, C, inner);
        table_add(&table, PARAM_O, i, "self_attn.o_proj.weight", 2, C, Q, outer);
        table_add(&table, PARAM_FFN_NORM, i, "post_attention_layernorm.weight", 1, 1, C, ones);
        table_add(&table, PARAM_GATE, i, "mlp.gate_proj.weight", 2, F, C, inner);
        table_add(&table, PARAM_UP, i, "mlp.up_proj.weight", 2, F, C, outer);
        table_add(&table, PARAM_DOWN, i, "mlp.down_proj.weight", 2, C, F, outer);
    }
    table_add(&table, PARAM_FINAL_NORM, -1, "model.norm.weight", 1, 1, C, ones);
    table_add(&table, PARAM_HEAD, -1, "lm_head.weight", 2, V, C, head);
    for (int i = 0; gla_gates && i < config->n_layers; i++) {
        table_add(&table, PARAM_GLA_WEIGHT, i, "self_attn.gate.weight", 2, config->n_heads, C, inner);
        table_add(&table, PARAM_GLA_BIAS, i, "self_attn.gate.bias", 1, 1, config->n_heads, zeros);
    }
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
    return -1;
}

int param_find_name(const ParamTable *table, const char *name) {
    for (int i = 0; i < table->count; i++) {
        if (strcmp(table->params[i].name, name) == 0) return i;
    }
    return -1;
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
