// config.json of a Hugging Face model of a family that has a row (families.def), both ways.
#ifndef CORE_MODEL_HF_CONFIG_H
#define CORE_MODEL_HF_CONFIG_H

#include "core/model/model.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// Contents of config.json for a model of float32 weights and this context; read alike by transformers 4
// and 5; without the ids of a tokenizer's marks. New reference.
json_t *hf_config_json(const ModelConfig *model, int64_t context);

// Contents of config.json for a model that began as the one of `source` and was trained on this context: what
// training does not change stays as it was. New reference.
json_t *hf_config_update(const json_t *source, const ModelConfig *model, int64_t context);
// The longer of a configuration's context and this one.
int64_t hf_config_context(const json_t *config, int64_t context);

// Reads config.json of a model folder. Error (status 3) for what no family here has (other architectures,
// quantized weights, dropout) and for shapes that this program has no kernels for.
bool hf_config_read(const char *folder, ModelConfig *model, int64_t *context, Error *error);

// Whether a folder's model has the shape that is wanted, whatever of it training may change; error (status 3)
// with the first setting that differs.
bool hf_config_same(const ModelConfig *found, const ModelConfig *wanted, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
