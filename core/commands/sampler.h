// Sampling a token from logits.
#ifndef CORE_COMMANDS_SAMPLER_H
#define CORE_COMMANDS_SAMPLER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double temperature; // 0 takes the likeliest
    double top_p;       // sample among the likeliest tokens that make up this share of the probability
    uint64_t seed;
} Sampler;

// A token among the first `count` logits; `index` numbers the draws.
int32_t sampler_draw(const Sampler *sampler, const float *logits, int32_t count, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
