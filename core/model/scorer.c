// The table of scorers; see scorer.h.
#include "core/model/scorer.h"

static double no_operations(double N, double width, double D, double dilation) {
    (void)N, (void)width, (void)D, (void)dilation;
    return 0;
}

// Two forward attentions of the subsequences, of N^2 / dilation pairs in all, half of them causal.
static double attention_operations(double N, double width, double D, double dilation) {
    (void)D;
    return 2 * 2 * N * N / dilation * width;
}

// A state updated and read for each token, twice.
static double recurrence_operations(double N, double width, double D, double dilation) {
    (void)dilation;
    return 2 * 4 * N * width * D;
}

const ScorerRow SCORER_TABLE[SCORER_COUNT] = {
#define SCORER(ID, name, ...) {#name, __VA_ARGS__},
#include "core/model/scorers.def"
#undef SCORER
};

const Choice SCORER_CHOICES[] = {
#define SCORER(ID, name, ...) {#name, SCORER_##ID},
#include "core/model/scorers.def"
#undef SCORER
    CHOICE_END};
