// The Lighthouse hierarchy: settings of the layer, and the sizes that follow from them and the context.
//
// Level 0 is the base (one entry a token), level L-1 the coarsest. Entry (l, i) summarises base positions
// [i p^l, (i+1) p^l). An absolute entry index is level_offset[l] + i, base level first.
#ifndef CORE_MODEL_HIERARCHY_H
#define CORE_MODEL_HIERARCHY_H

#include "core/base/error.h"
#include "core/model/scorer.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIGHTHOUSE_MAX_LEVELS 12
#define LIGHTHOUSE_CHUNK_TOPK \
    128 // entries each chunk expands on each level: half by query score, half by key score

typedef struct {
    Scorer scorer;
    int64_t levels;   // L >= 2
    int64_t pool;     // p, a power of two >= 2
    int64_t topk;     // k, a multiple of 128
    int64_t dilation; // of scorers that are dilated
} LighthouseConfig;

typedef struct {
    int64_t n;          // N, tokens
    int levels;         // L
    int64_t pool;       // p
    int64_t n_chunks;   // T = k / 128
    int64_t n_coarse;   // Nc = N / p^(L-1)
    int64_t n_entries;  // entries of all levels
    int64_t n_selected; // S = Nc + (L-1) p k, rows of the gathered sub-sequence
    int64_t
        level_offset[LIGHTHOUSE_MAX_LEVELS + 1]; // absolute index of the level's first entry; [L] = n_entries
    int64_t level_count[LIGHTHOUSE_MAX_LEVELS];  // N / p^l
    int64_t level_span[LIGHTHOUSE_MAX_LEVELS];   // p^l
} Hierarchy;

// A Lighthouse layer on B sequences of hierarchy.n tokens: H query heads of width D.
typedef struct {
    Hierarchy hierarchy;
    LighthouseConfig config;
    int64_t B, H, D;
    int64_t share; // query heads a key/value head
} LighthouseShape;

static inline const ScorerRow *lighthouse_scorer(const LighthouseConfig *config) {
    return &SCORER_TABLE[config->scorer];
}

// Fills `hierarchy`, or says which requirement N and the settings miss (status 2), with the nearest valid
// values.
bool hierarchy_create(const LighthouseConfig *config, int64_t n, Hierarchy *hierarchy, Error *error);

// What N must be a multiple of, and the shortest N; 0 where no sequence is that long. Of settings that
// hierarchy_create has taken.
int64_t hierarchy_unit(const LighthouseConfig *config);
int64_t hierarchy_shortest(const LighthouseConfig *config);

// Warns where the layer would cost more than the dense attention that it replaces.
void hierarchy_warn(const Hierarchy *hierarchy);

// First coarse entry of chunk j; chunk j is [chunk_begin(j), chunk_begin(j + 1)).
static inline int64_t hierarchy_chunk_begin(const Hierarchy *h, int64_t chunk) {
    return chunk * h->n_coarse / h->n_chunks;
}

// Level of an absolute entry index.
static inline int hierarchy_level(const Hierarchy *h, int64_t entry) {
    int level = 0;
    while (entry >= h->level_offset[level + 1]) level++;
    return level;
}

#ifdef __cplusplus
}
#endif
#endif
