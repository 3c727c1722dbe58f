// One pass over all layers, and how a layer attends in it: what both engines tell their blocks.
#ifndef CORE_ENGINE_PASS_H
#define CORE_ENGINE_PASS_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const ModelConfig *model;
    int64_t B, N;                      // sequences, and the tokens of each that lie here
    int64_t ranks;                     // P that share each sequence; 1: whole sequences are here
    int64_t position;                  // of the first token
    const LighthouseShape *lighthouse; // NULL: dense
    const int32_t *forced;             // (B, H, S) where the engine computes, or NULL
    bool no_rope;                      // queries and keys stay as they are
    bool keep;                         // a backward follows
    bool cached;        // dense, B = 1: keys and values of positions 0 ... position + N - 1 are in the cache
    int64_t cache_skip; // elements of the cache of keys, and of that of values, before this layer's
} Pass;

// Describes a pass over B sequences of N tokens; `shape` is filled and used where the attention is
// Lighthouse. Error (status 2) where the layer cannot have this context.
bool pass_make(Pass *pass, const EngineConfig *config, LighthouseShape *shape, int64_t B, int64_t N,
               Attention attention, Error *error);

// The pass as layer `layer` sees it: dense, Lighthouse, or over the cache.
Pass pass_of_layer(const Pass *pass, const EngineConfig *config, int layer, const int32_t *forced);

#ifdef __cplusplus
}
#endif
#endif
