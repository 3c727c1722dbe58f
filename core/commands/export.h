// `export`: a model folder of its own, float32 or bf16, without what only training needs.
#ifndef CORE_COMMANDS_EXPORT_H
#define CORE_COMMANDS_EXPORT_H

#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Writes the model of --model to the new folder --out: config.json, the weights as one model.safetensors, and
// the files that a model keeps. The folder appears whole or not at all. Status 2 for settings, 3 for files.
bool export_model(const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
