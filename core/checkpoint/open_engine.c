// Opening engines: the plan, and the models that commands are given; see open_engine.h.
#include "core/checkpoint/open_engine.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/engine/fit.h"
#include "core/model/folder_kind.h"
#include "core/checkpoint/model_folder.h"
#include "core/model/model_tokenizer.h"
#include "core/checkpoint/run_folder.h"
#include "core/model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

Engine *engine_open(const EngineApi *api, const EngineConfig *config, size_t *bytes, Error *error) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Engine *engine = NULL;
    int64_t tokens = config->context > config->cache ? config->context : config->cache;
    bool fits = model_config_check(&config->model, error) &&
                model_window_check(&config->model, tokens, error) && api->plan(config, plan, error) &&
                fit_check(api, config, plan, error);
    if (ranks_agree(config->ranks, fits, error)) {
        engine = api->create(config, error);
        *bytes = plan->total;
    }
    free(plan);
    return engine;
}

// Whether a folder has checkpoints, if damaged ones.
static bool holds_run(const char *folder) {
    PathList steps;
    Error ignored;
    bool holds = folder_match(folder, "step_*", &steps, &ignored) && steps.count > 0;
    paths_free(&steps);
    char *run = path_join(folder, RUN_FILE);
    holds = holds || file_exists(run);
    free(run);
    return holds;
}

char *model_find(const Options *options, Error *error) {
    if (!options->model) {
        error_set(error, STATUS_USAGE, "--model is missing: a checkpoint, a run or a Hugging Face folder");
        return NULL;
    }
    char *config = path_join(options->model, CONFIG_FILE);
    if (file_exists(config) && run_folder_is_run(options->model)) {
        error_set(error, STATUS_USAGE,
                  "--model %s: is a run, and has a model's config.json beside; name one of its checkpoints, "
                  "%s/step_NNNNNNNN, or move the model to a folder of its own",
                  options->model, options->model);
        free(config);
        return NULL;
    }
    char *folder =
        file_exists(config) ? copy_or_exit(options->model) : checkpoint_find(options->model, error);
    if (!folder && !holds_run(options->model)) folder_explain(options->model, "--model", error);
    if (folder && !model_is_checkpoint(folder) && !model_folder_warn_unknown(folder, error)) {
        free(folder);
        folder = NULL;
    }
    free(config);
    return folder;
}

bool model_check_bytes(const ModelConfig *model, const char *folder, Error *error) {
    if (model->vocab_size >= TOKEN_COUNT) return model_tokenizer_check_bytes(folder, error);
    return error_set(error, STATUS_USAGE, "%s: a vocabulary of %lld is no byte vocabulary", folder,
                     (long long)model->vocab_size);
}

bool model_is_checkpoint(const char *folder) {
    char *trainer = path_join(folder, "trainer");
    bool is = folder_exists(trainer);
    free(trainer);
    return is;
}

Engine *engine_open_model(const EngineApi *api, const EngineConfig *config, const char *folder, uint64_t seed,
                          Error *error) {
    size_t bytes;
    Engine *engine = engine_open(api, config, &bytes, error);
    if (!engine) return NULL;
    if (engine->table.frozen_size > 0) engine_draw_weights(engine, seed, 1, true);
    bool ok = model_is_checkpoint(folder) ? checkpoint_load(engine, folder, error)
                                          : model_folder_load(engine, folder, error);
    if (ranks_agree(config->ranks, ok, error)) return engine;
    engine_destroy(engine);
    return NULL;
}
