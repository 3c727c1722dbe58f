// `export`: a model folder of its own, float32 or bf16, without what only training needs.
#ifndef CORE_EXPORT_H
#define CORE_EXPORT_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Writes the model of --model (one model.safetensors) to the new folder --out: config.json, the weights and
// the tokenizer's files. The folder appears whole or not at all. Status 2 for settings, 3 for files.
bool export_model(const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
