// Scorers: what ranks the tokens that Lighthouse attention selects, and what each is to everything but the
// engines.
#ifndef CORE_MODEL_SCORER_H
#define CORE_MODEL_SCORER_H

#include "core/base/choice.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
#define SCORER(ID, ...) SCORER_##ID,
#include "core/model/scorers.def"
#undef SCORER
    SCORER_COUNT
} Scorer;

extern const Choice SCORER_CHOICES[];

typedef struct {
    const char *name;
    bool gates;     // has frozen gates, one a head and layer, which runs draw and checkpoints keep
    bool dilated;   // scores each of --dilation interleaved subsequences by itself: they are equally long
    bool with_rope; // scores are norms of q and k: the GPU has them from the kernel of RoPE, which reads both
    bool attends;   // by attention within each subsequence: ranks that share a sequence exchange q, k and v
    bool recurs;    // by a state (D, D) of each head and subsequence, which such ranks hand on
    // Operations of queries' and keys' base scores, of one sequence of N tokens and heads of `width` in all.
    double (*operations)(double N, double width, double D, double dilation);
    double rate; // of these, a second on one H200 (dev/results/bench); 0: that of attention
} ScorerRow;

extern const ScorerRow SCORER_TABLE[SCORER_COUNT];

#ifdef __cplusplus
}
#endif
#endif
