// Whether an engine's plan fits the memory of its device, and if not, what would.
#ifndef CORE_ENGINE_FIT_H
#define CORE_ENGINE_FIT_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// `plan` is that of `config`. Where it does not fit, or the host lacks what it takes there, an error (status
// 4) with the figures and with what would fit of --zero, --recompute, --offload, and the largest --batch or
// --seq-len (without training: the longest sequence).
bool fit_check(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan, Error *error);

// Host memory that this rank may take beside its engine's plan, in bytes.
size_t fit_host_left(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan);

#ifdef __cplusplus
}
#endif
#endif
