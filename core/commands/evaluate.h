// `eval`: the loss of a model on shards, as one JSON object.
#ifndef CORE_COMMANDS_EVALUATE_H
#define CORE_COMMANDS_EVALUATE_H

#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Several ranks share the work; the first one prints.
// Measures the model of --model on the whole sequences of --data and prints the object to standard output.
// Under Lighthouse attention the settings that the model was trained with become those of `options`, where
// the command line does not say otherwise. Status 2 for settings, 3 for files, 4 without the memory, 5 where
// the loss is not finite.
bool evaluate_model(const EngineApi *api, Options *options, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
