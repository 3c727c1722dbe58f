// What the settings mean: the model, its hierarchy, its dense layers; see options.h.
#include "core/options/options.h"
#include "core/options/options_table.h"

#include "core/engine/offload.h"
#include "core/model/model_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What options_set has checked.
static void scaling_set(const char *text, RopeScaling *scaling) {
    Error none;
    rope_scaling_parse(text, scaling, &none);
}

static void layers_set(const char *text, LayerSet *set) {
    Error none;
    layer_set_parse(text, set, &none);
}

#define SET_INT(place, value)     place = value
#define SET_REAL(place, value)    place = value
#define SET_FLAG(place, value)    place = value
#define SET_THETA(place, value)   place = value
#define SET_FAMILY(place, value)  place = (Family)value
#define SET_WINDOW(place, value)  place = value
#define SET_SCALING(place, value) scaling_set(value, &(place))
#define SET_LAYERS(place, value)  layers_set(value, &(place))

ModelConfig options_model(const Options *options) {
    ModelConfig model;
    memset(&model, 0, sizeof model);
#define FIELD(type, place, key, option, ...) SET_##type(model.place, options->option);
#include "core/model/model_fields.def"
#undef FIELD
    return model;
}

static const int field_options[] = {
#define FIELD(type, place, key, option, ...) OPTION_##option,
#include "core/model/model_fields.def"
#undef FIELD
};

int options_of_field(int field) {
    return field_options[field];
}

bool options_set_model(Options *options, const ModelConfig *model, Source source, Error *error) {
    char text[MODEL_TEXT_SIZE];
    for (int i = 0; i < MODEL_FIELD_COUNT; i++) {
        model_field_text(model, i, text);
        if (!options_set(options, field_options[i], text, source, error)) return false;
    }
    return true;
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
    offload_set(config, (int)options->offload);
    config->share_gradients = options->zero == ZERO_GRADIENTS;
    config->deterministic = options->deterministic;
    config->fp8 = options->matmul == MATMUL_FP8;
    config->batch = options->batch;
    config->context = options->seq_len;
}

bool options_check_offload(const Options *options, Error *error) {
    bool activations = options->offload & OFFLOAD_ACTIVATIONS;
    if (!activations || options->recompute == RECOMPUTE_BLOCK) return true;
    int left = (int)options->offload & ~OFFLOAD_ACTIVATIONS;
    return error_set(error, STATUS_USAGE,
                     "--offload %s goes with --recompute block, which keeps each block's input alone; "
                     "give that too, or --offload %s",
                     choice_name(OFFLOAD_CHOICES, (int)options->offload), choice_name(OFFLOAD_CHOICES, left));
}

bool options_check_cpu(const Options *options, Error *error) {
    if (options->source[OPTION_offload] != SOURCE_COMMAND_LINE || options->offload == OFFLOAD_NONE)
        return true;
    return error_set(error, STATUS_USAGE,
                     "--offload %s is for GPUs: the CPU engine has everything in host memory; leave it out",
                     choice_name(OFFLOAD_CHOICES, options->offload));
}

bool options_check_gpu(const Options *options, Error *error) {
    if (options->matmul != MATMUL_FP8) return true;
    return error_set(
        error, STATUS_USAGE,
        "--matmul fp8 has not been run on a GPU yet, and is the CPU engine's alone; take --device "
        "cpu, or --matmul bf16");
}

void options_warn_zero(const Options *options, int64_t ranks) {
    if (options->source[OPTION_zero] != SOURCE_COMMAND_LINE || options->zero == ZERO_MOMENTS) return;
    if (ranks < 2)
        warn("--zero 2 changes nothing on one rank, which holds all gradients: several ranks share them");
}

bool options_check_lighthouse(const Options *options, bool lighthouse, const json_t *settings, Error *error) {
    static const int rows[] = {OPTION_scorer, OPTION_levels,   OPTION_pool,
                               OPTION_topk,   OPTION_dilation, OPTION_dense_layers};
    for (size_t i = 0; !lighthouse && i < sizeof rows / sizeof *rows; i++) {
        if (options->source[rows[i]] != SOURCE_COMMAND_LINE) continue;
        if (settings && options_keeps(options, rows[i], settings)) continue;
        return error_set(
            error, STATUS_USAGE,
            "--%s has no meaning under dense attention; add --attention lighthouse or leave it out",
            OPTION_TABLE[rows[i]].name);
    }
    const ScorerRow *scorer = &SCORER_TABLE[options->scorer];
    if (scorer->dilated || options->source[OPTION_dilation] != SOURCE_COMMAND_LINE) return true;
    char others[64] = "";
    for (int i = 0; i < SCORER_COUNT; i++) {
        size_t used = strlen(others);
        if (SCORER_TABLE[i].dilated)
            snprintf(others + used, sizeof others - used, "%s%s", used ? " or " : "", SCORER_TABLE[i].name);
    }
    return error_set(error, STATUS_USAGE,
                     "--dilation has no meaning with --scorer %s; leave it out, or take --scorer %s",
                     scorer->name, others);
}

// Small models have no layer but the first two and the last two.
static bool warn_where_all_are_dense(const char *list, int64_t n_layers, const bool *dense_layer) {
    for (int64_t i = 0; i < n_layers; i++)
        if (!dense_layer[i]) return true;
    warn(
        "--dense-layers %s are all %lld layers: Lighthouse attention is used in none of them (name fewer, or "
        "'none')",
        list, (long long)n_layers);
    return true;
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
        if (!*end) return warn_where_all_are_dense(list, n_layers, dense_layer);
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
