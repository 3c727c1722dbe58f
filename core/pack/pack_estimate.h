// About how many tokens the inputs of `pack` make, known before the first document.
#ifndef CORE_PACK_PACK_ESTIMATE_H
#define CORE_PACK_PACK_ESTIMATE_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// Exact for plain text and ids; from samples for JSON, compressed and encoded files, and the same on every
// machine.
bool pack_estimate(const PackInputs *inputs, const PackConfig *config, int64_t *tokens, Error *error);

#ifdef __cplusplus
}
#endif
#endif
