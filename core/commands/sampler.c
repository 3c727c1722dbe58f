// Sampling with temperature and top-p (Holtzman et al., "The Curious Case of Neural Text Degeneration",
// 2019).
#include "core/commands/sampler.h"

#include "core/base/error.h"
#include "core/base/random.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    double weight;
    int32_t token;
} Candidate;

static int heavier_first(const void *a, const void *b) {
    const Candidate *x = (const Candidate *)a, *y = (const Candidate *)b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return (x->token > y->token) - (x->token < y->token);
}

static int32_t likeliest(const float *logits, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

int32_t sampler_draw(const Sampler *sampler, const float *logits, int32_t count, uint64_t index) {
    int32_t best = likeliest(logits, count);
    if (sampler->temperature == 0) return best;
    Candidate *candidates = (Candidate *)alloc_or_exit((size_t)count, sizeof *candidates);
    double total = 0;
    for (int32_t i = 0; i < count; i++) {
        candidates[i].token = i;
        candidates[i].weight = exp(((double)logits[i] - logits[best]) / sampler->temperature);
        total += candidates[i].weight;
    }
    qsort(candidates, (size_t)count, sizeof *candidates, heavier_first);

    double kept = 0;
    int32_t n = 0;
    while (n < count && kept < sampler->top_p * total) kept += candidates[n++].weight;
    double target = random_uniform(sampler->seed, 0, index) * kept;
    int32_t chosen = 0;
    double sum = candidates[0].weight;
    while (chosen + 1 < n && sum <= target) sum += candidates[++chosen].weight;
    int32_t token = candidates[chosen].token;
    free(candidates);
    return token;
}
