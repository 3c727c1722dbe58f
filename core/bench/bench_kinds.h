// The two kinds of `bench`. Their options are checked.
#ifndef CORE_BENCH_BENCH_KINDS_H
#define CORE_BENCH_BENCH_KINDS_H

#include "core/options/options.h"
#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// One attention layer by itself.
bool bench_attention(const Options *options, const EngineApi *api, Error *error);
// Whole training steps, of all ranks together.
bool bench_step(const Options *options, const EngineApi *api, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
