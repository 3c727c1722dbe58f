// `niah`: needle in a haystack, the share of passkeys that a model finds again by length and depth.
//
// A trial is a passkey text (passkey.h) behind the mark that begins a document, `length` tokens in all. The
// model answers with the digit whose token has the highest logit among the ten; chance is 10 %.
#ifndef CORE_NIAH_H
#define CORE_NIAH_H

#include "engine.h"
#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NIAH_MAX_STEPS 64 // lengths, and depths

typedef struct {
    int digit, answer;
    double probability; // of the digit among the ten
} NiahTrial;

typedef struct {
    const char *model; // folder
    int n_lengths, n_depths;
    int64_t lengths[NIAH_MAX_STEPS]; // tokens
    double depths[NIAH_MAX_STEPS];   // percent
    double seconds[NIAH_MAX_STEPS];  // of each length
    int64_t n_trials;                // of each length and depth
    uint64_t seed;
    NiahTrial *trials; // (n_lengths, n_depths, n_trials)
} NiahGrid;

static inline NiahTrial *niah_trials(const NiahGrid *grid, int length, int depth) {
    return grid->trials + ((int64_t)length * grid->n_depths + depth) * grid->n_trials;
}

// Parses a list of lengths, as "4K,8K,12000" (K is 1,024), or of depths in percent, as "0,50,100". Status 2.
bool niah_parse_lengths(NiahGrid *grid, const char *list, Error *error);
bool niah_parse_depths(NiahGrid *grid, const char *list, Error *error);

// Measures the model of --model, prints a summary as one JSON object, and writes trials.jsonl, summary.json
// and heatmap.svg into --out where it is given. Status 2 for settings, 3 for files, 4 without the memory, 5
// where a logit is not finite. Ranks take turns at the trials, `--cp` of them at one; the first prints and
// writes.
bool niah_measure(const EngineApi *api, const Options *options, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
