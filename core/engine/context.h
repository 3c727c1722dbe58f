// Context parallelism: P ranks hold one sequence, each a contiguous slice of N / P tokens (--cp).
//
// Scoring, selection and gathering see the slice alone: the hierarchy of a slice is that of N / P tokens with
// k / P entries a level, and its chunks are those of the whole sequence. Around causal attention, an
// all-to-all gives each rank all rows of some heads, and another undoes it: each attends over all rows with H
// / P heads. Where P is more than the key/value heads, ranks whose query heads read the same one have a copy
// each, and its gradient is the sum of theirs in the order of ranks.
#ifndef CORE_ENGINE_CONTEXT_H
#define CORE_ENGINE_CONTEXT_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether `context_size` ranks can share the sequences of this configuration; the error (status 2) names the
// valid values.
bool context_check(const EngineConfig *config, int64_t context_size, Error *error);

// The hierarchy of one of `context_size` slices of n tokens in all. Error (status 2) where the layer cannot
// have this context, or cannot be sliced so.
bool context_hierarchy(const LighthouseConfig *config, int64_t n, int64_t context_size, Hierarchy *hierarchy,
                       Error *error);

// The Lighthouse layer of this configuration on B sequences of N tokens, each in `context_size` slices.
// Errors as of context_hierarchy.
bool context_lighthouse(const EngineConfig *config, int64_t B, int64_t N, int64_t context_size,
                        LighthouseShape *shape, Error *error);

// Heads that `context_size` ranks attend with in all, of `heads` that the model has: each rank has as many.
// Where they are fewer than ranks, copies count: head h lies on rank h P / heads and those behind it.
static inline int64_t context_heads(int64_t heads, int64_t context_size) {
    return heads > context_size ? heads : context_size;
}

// Tokens of a sequence that lie on this rank.
static inline int64_t context_tokens(const EngineConfig *config) {
    return config->context / ranks_context(config->ranks);
}

// Rows of activations: the tokens of all sequences that lie here.
static inline int64_t context_rows(const EngineConfig *config) {
    return config->batch * context_tokens(config);
}

#ifdef __cplusplus
}
#endif
#endif
