// What the settings mean: the model, its hierarchy, its dense layers; see options.h.
#include "options_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ModelConfig options_model(const Options *options) {
    ModelConfig model = {options->layers,   options->dim,        options->heads,
                         options->kv_heads, options->head_dim,   options->ffn,
                         options->vocab,    options->rope_theta, options->norm_eps};
    return model;
}

void options_set_model(Options *options, const ModelConfig *model, Source source) {
    const int64_t integers[] = {model->n_layers, model->dim,     model->n_heads,   model->n_kv_heads,
                                model->head_dim, model->ffn_dim, model->vocab_size};
    const int names[] = {OPTION_layers,   OPTION_dim, OPTION_heads, OPTION_kv_heads,
                         OPTION_head_dim, OPTION_ffn, OPTION_vocab};
    char text[64];
    Error ignored; // values that the table refuses are refused again, and reported, by model_config_check
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%lld", (long long)integers[i]);
        options_set(options, names[i], text, source, &ignored);
    }
    snprintf(text, sizeof text, "%.17g", model->rope_theta);
    options_set(options, OPTION_rope_theta, text, source, &ignored);
    snprintf(text, sizeof text, "%.17g", model->norm_eps);
    options_set(options, OPTION_norm_eps, text, source, &ignored);
}

LighthouseConfig options_lighthouse(const Options *options) {
    LighthouseConfig config = {(Scorer)options->scorer, options->levels, options->pool, options->topk,
                               options->dilation};
    return config;
}

void options_engine(const Options *options, EngineConfig *config) {
    config->model = options_model(options);
    config->lighthouse = options_lighthouse(options);
    config->training = true;
    config->recompute = options->recompute == RECOMPUTE_BLOCK;
    config->deterministic = options->deterministic;
    config->batch = options->batch;
    config->context = options->seq_len;
}

bool options_check_lighthouse(const Options *options, bool lighthouse, Error *error) {
    static const int rows[] = {OPTION_scorer, OPTION_levels,   OPTION_pool,
                               OPTION_topk,   OPTION_dilation, OPTION_dense_layers};
    for (size_t i = 0; !lighthouse && i < sizeof rows / sizeof *rows; i++) {
        if (options->source[rows[i]] != SOURCE_COMMAND_LINE) continue;
        return error_set(
            error, STATUS_USAGE,
            "--%s has no meaning under dense attention; add --attention lighthouse or leave it out",
            OPTION_TABLE[rows[i]].name);
    }
    if (options->scorer != SCORER_NORM || options->source[OPTION_dilation] != SOURCE_COMMAND_LINE)
        return true;
    return error_set(
        error, STATUS_USAGE,
        "--dilation has no meaning with --scorer norm; leave it out, or take --scorer dilated or gla");
}

bool options_dense_layers(const char *list, int64_t n_layers, bool dense_layer[MODEL_MAX_LAYERS],
                          Error *error) {
    bool all = strcmp(list, "all") == 0;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) dense_layer[i] = all;
    if (all || strcmp(list, "none") == 0) return true;
    for (const char *start = list;;) {
        char *end;
        long long layer = strtoll(start, &end, 10);
        if (end == start || (*end && *end != ',')) {
            return error_set(
                error, STATUS_USAGE,
                "--dense-layers %s: must be numbers with commas between, as 0,1,-2,-1, or none, or all",
                list);
        }
        if (layer < -n_layers || layer >= n_layers) {
            return error_set(error, STATUS_USAGE,
                             "--dense-layers %s: there is no layer %lld; layers go from %lld to %lld", list,
                             layer, (long long)-n_layers, (long long)n_layers - 1);
        }
        dense_layer[layer < 0 ? layer + n_layers : layer] = true;
        if (!*end) return true;
        start = end + 1;
    }
}

bool options_check_sizes(const Options *options, Error *error) {
    double width = (double)options->dim + (double)options->ffn + (double)(options->heads * options->head_dim);
    double kept = (double)options->batch * (double)options->seq_len * (double)options->layers * width;
    return kept < 1e15 ||
           error_set(error, STATUS_MEMORY,
                     "--batch %lld sequences of --seq-len %lld tokens through %lld layers fit no machine",
                     (long long)options->batch, (long long)options->seq_len, (long long)options->layers);
}
