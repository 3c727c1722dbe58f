// config.json of a Hugging Face LlamaForCausalLM, both ways.
#ifndef CORE_HF_CONFIG_H
#define CORE_HF_CONFIG_H

#include "model.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// Contents of config.json for a model of float32 weights and this context; read alike by transformers 4
// and 5. New reference.
json_t *hf_config_json(const ModelConfig *model, int64_t context);

// Reads config.json of a model folder. `tied`: the head is the embedding, and need not be stored. Error
// (status 3) for whatever is no plain Llama (other architectures, biases, scaled RoPE, quantized weights) and
// for shapes that this program has no kernels for.
bool hf_config_read(const char *folder, ModelConfig *model, int64_t *context, bool *tied, Error *error);

// Whether a folder's model has the shape that is wanted; error (status 3) with the first setting that
// differs.
bool hf_config_same(const ModelConfig *found, const ModelConfig *wanted, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
