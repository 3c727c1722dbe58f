// Model folders as Hugging Face libraries write them: weights to start from, to evaluate, to generate with.
// A checkpoint of this program is one too.
#ifndef CORE_MODEL_FOLDER_H
#define CORE_MODEL_FOLDER_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Shape and context (max_position_embeddings) of the model; refuses what is no plain Llama (status 3).
bool model_folder_config(const char *folder, ModelConfig *model, int64_t *context, Error *error);

// Loads the trained weights, from model.safetensors or from the shards that model.safetensors.index.json
// lists, of float32, bfloat16 or float16. A tied embedding goes to the head as well. Every tensor must be
// there with the right shape, and no other; all are found and checked before the first is written to the
// engine. Status 3 on error.
bool model_folder_load(Engine *engine, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
