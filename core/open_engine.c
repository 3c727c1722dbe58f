// Opening engines: the plan, and the models that commands are given; see open_engine.h.
#include "open_engine.h"

#include "checkpoint.h"
#include "files.h"
#include "fit.h"
#include "model_folder.h"
#include "model_tokenizer.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

Engine *engine_open(const EngineApi *api, const EngineConfig *config, size_t *bytes, Error *error) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Engine *engine = NULL;
    bool fits = model_config_check(&config->model, error) && api->plan(config, plan, error) &&
                fit_check(api, config, plan, error);
    if (ranks_agree(config->ranks, fits, error)) {
        engine = api->create(config, error);
        *bytes = plan->total;
    }
    free(plan);
    return engine;
}

char *model_find(const Options *options, Error *error) {
    if (!options->model) {
        error_set(error, STATUS_USAGE,
                  "--model is missing: a checkpoint, a run or a Hugging Face Llama folder");
        return NULL;
    }
    char *config = path_join(options->model, "config.json");
    char *folder =
        file_exists(config) ? copy_or_exit(options->model) : checkpoint_find(options->model, error);
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
