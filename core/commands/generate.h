// `generate`: bytes sampled from a model.
#ifndef CORE_COMMANDS_GENERATE_H
#define CORE_COMMANDS_GENERATE_H

#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Writes --prompt and the bytes that the model of --model goes on with to standard output, until --max-bytes
// or the end of a document. Status 2 for settings, 3 for files, 4 without the memory, 5 where a logit is not
// finite.
bool generate_text(const EngineApi *api, const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
