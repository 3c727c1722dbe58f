// Model folders as Hugging Face libraries write them: weights to start from, to evaluate, to generate with.
// A checkpoint of this program is one too.
#ifndef CORE_CHECKPOINT_MODEL_FOLDER_H
#define CORE_CHECKPOINT_MODEL_FOLDER_H

#include "core/engine/engine.h"
#include "core/checkpoint/tensor_set.h"

#ifdef __cplusplus
extern "C" {
#endif

// Shape and context (max_position_embeddings) of the model; refuses what is no plain Llama (status 3).
bool model_folder_config(const char *folder, ModelConfig *model, int64_t *context, Error *error);

// Names the members of its config.json that no family has: they may say what this program cannot know. False
// where that cannot be read.
bool model_folder_warn_unknown(const char *folder, Error *error);

// Refuses (status 2) a model's folder as the place of what --out names: whoever copies or uploads the model
// would take that along.
bool model_folder_check_out(const char *folder, const char *out, Error *error);

// Loads the trained weights, from model.safetensors or from the shards that model.safetensors.index.json
// lists, of float32, bfloat16 or float16. Every tensor must be
// there with the right shape, and no other; all are found and checked before the first is written to the
// engine. Status 3 on error.
bool model_folder_load(Engine *engine, const char *folder, Error *error);

// The files of a folder's weights, opened, and where in them each weight of the table lies; all checked as
// model_folder_load says.
typedef struct {
    SafetensorsFile *files;
    int n_files;
    TensorSet set;
} ModelWeights;

bool model_weights_open(const char *folder, const ParamTable *table, ModelWeights *weights, Error *error);
void model_weights_close(ModelWeights *weights);

// Whether values of a tensor are finite, and stay so in bf16; error (status 5) with the tensor's name.
bool model_values_check(const SafetensorsFile *file, int tensor, const float *values, int64_t count,
                        bool bf16, Error *error);
// The same of all weights, which it reads.
bool model_weights_check_finite(const ModelWeights *weights, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
