// --init: what a run takes from the folder of the model that it begins from; see init_model.h.
#include "core/checkpoint/init_model.h"

#include "core/base/files.h"
#include "core/base/names.h"
#include "core/model/folder_kind.h"
#include "core/checkpoint/gates.h"
#include "core/model/model_text.h"
#include "core/options/options_table.h"
#include "core/checkpoint/model_folder.h"

#include <stdio.h>
#include <stdlib.h>

// A run is no model folder; its checkpoints are.
static bool check_folder(const char *init, Error *error) {
    char *run = path_join(init, RUN_FILE), *config = path_join(init, CONFIG_FILE);
    bool ok = true;
    if (file_exists(run)) {
        ok = error_set(error, STATUS_USAGE,
                       "--init %s: is a run; name one of its checkpoints, %s/step_NNNNNNNN", init, init);
    } else if (!file_exists(config)) {
        ok = folder_refuse(init, "--init", error);
    }
    free(run);
    free(config);
    return ok;
}

// Who gave an option its value.
static void say_source(const Options *options, int option, const char *name, char *text, size_t size) {
    switch (options->source[option]) {
    case SOURCE_PRESET: snprintf(text, size, "--preset %s (%s)", options->preset, name); break;
    case SOURCE_CONFIG: snprintf(text, size, "--config %s (%s)", options->config, name); break;
    default: snprintf(text, size, "--%s", name);
    }
}

static bool check_shape(const Options *options, const ModelConfig *model, Error *error) {
    ModelConfig wanted = options_model(options);
    char said[256], asked[MODEL_TEXT_SIZE], found[MODEL_TEXT_SIZE];
    for (int i = 0; (i = model_field_differs(model, &wanted, i)) < MODEL_FIELD_COUNT; i++) {
        if (MODEL_FIELD_TABLE[i].changes) continue;
        int option = options_of_field(i);
        say_source(options, option, OPTION_TABLE[option].name, said, sizeof said);
        model_field_text(&wanted, i, asked);
        model_field_text(model, i, found);
        return error_set(error, STATUS_USAGE,
                         "%s %s: the model of --init %s has %s %s in its config.json; leave it out, as "
                         "the shape is the model's",
                         said, asked, options->init, MODEL_FIELD_TABLE[i].key, found);
    }
    return true;
}

// What a run may change is changed by name; a --config that says another is obeyed, and told of.
static void warn_of_changes(const Options *options, const ModelConfig *model) {
    ModelConfig wanted = options_model(options);
    char asked[MODEL_TEXT_SIZE], found[MODEL_TEXT_SIZE];
    for (int i = 0; (i = model_field_differs(model, &wanted, i)) < MODEL_FIELD_COUNT; i++) {
        if (options->source[options_of_field(i)] == SOURCE_COMMAND_LINE) continue;
        model_field_text(&wanted, i, asked);
        model_field_text(model, i, found);
        warn("%s is %s in %s; --config %s has %s, which is taken", MODEL_FIELD_TABLE[i].key, found,
             options->init, options->config, asked);
    }
}

// Gates that the folder lacks are drawn from a seed that is named, and from no other.
static bool check_gates(const Options *options, Error *error) {
    bool wanted = SCORER_TABLE[options->scorer].gates && options->attention == ATTENTION_LIGHTHOUSE;
    return !wanted || options->source[OPTION_seed] >= SOURCE_CONFIG ||
           gates_check(options->init, "give --seed, to draw new ones from", error);
}

bool init_model_settings(Options *options, Error *error) {
    ModelConfig model;
    int64_t context;
    char text[32];
    if (!check_folder(options->init, error) || !model_folder_config(options->init, &model, &context, error))
        return false;
    if (!options_set_model(options, &model, SOURCE_INIT, error))
        return error_prefix(error, "%s", options->init);
    snprintf(text, sizeof text, "%lld", (long long)context);
    if (!options_set(options, OPTION_seq_len, text, SOURCE_INIT, error)) return false;
    if (!check_shape(options, &model, error)) return false;
    warn_of_changes(options, &model);
    if (!check_gates(options, error) || !model_folder_warn_unknown(options->init, error)) return false;
    return options->source[OPTION_embedding_std] != SOURCE_COMMAND_LINE ||
           error_set(error, STATUS_USAGE,
                     "--embedding-std has no meaning with --init, which brings its embedding");
}
