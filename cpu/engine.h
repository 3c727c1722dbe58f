// What tests need of the CPU engine beyond core/engine/engine.h.
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H

#include "core/engine/engine.h"
#include "cpu/real.h"

#ifdef __cplusplus
extern "C" {
#endif

// A tensor where it lies; in the float64 build this is the only way to change one by less than float32
// resolves.
real *cpu_engine_tensor(Engine *engine, TensorKind kind, int param);

#ifdef __cplusplus
}
#endif
#endif
