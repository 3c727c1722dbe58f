// Opening engines: whether the plan fits, and the models that commands are given.
#ifndef CORE_CHECKPOINT_OPEN_ENGINE_H
#define CORE_CHECKPOINT_OPEN_ENGINE_H

#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// An engine of a possible shape whose plan fits; `bytes` receives what it takes. NULL on error.
Engine *engine_open(const EngineApi *api, const EngineConfig *config, size_t *bytes, Error *error);

// The folder behind --model: a model folder as it is, or the last checkpoint of a run. Release with free();
// NULL on error (status 2 where the option is missing, 3 where nothing of use is there).
char *model_find(const Options *options, Error *error);

// Says (status 2) where a model's tokens are no bytes: the vocabulary is too small, or config.json names
// another mark before a document.
bool model_check_bytes(const ModelConfig *model, const char *folder, Error *error);

// Whether a model folder is a checkpoint of this program.
bool model_is_checkpoint(const char *folder);

// An engine that only evaluates or decodes, with the folder's weights; gates of the gla scorer that the
// folder lacks are drawn from the seed. `config` holds what else is wanted of it. NULL on error.
Engine *engine_open_model(const EngineApi *api, const EngineConfig *config, const char *folder, uint64_t seed,
                          Error *error);

#ifdef __cplusplus
}
#endif
#endif
