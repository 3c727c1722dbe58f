// `niah`: needle in a haystack, the share of passkeys that a model finds again by length and depth.
//
// A trial is a passkey text (passkey.h) behind the mark that begins a document, `length` tokens in all. The
// model answers with the digit whose token has the highest logit among the ten; chance is 10 %.
#ifndef CORE_COMMANDS_NIAH_H
#define CORE_COMMANDS_NIAH_H

#include "core/commands/niah_grid.h"
#include "core/engine/engine.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Parses a list of lengths, as "4K,8K,12000" (K is 1,024), or of depths in percent, as "0,50,100". Status 2.
bool niah_parse_lengths(NiahGrid *grid, const char *list, Error *error);
bool niah_parse_depths(NiahGrid *grid, const char *list, Error *error);

// Whether a line of progress is due that no terminal overwrites: after 10 s of a length, 20, 40, ...;
// `before`: the seconds at which it was last asked.
bool niah_says(double before, double now);

// Measures the model of --model, prints a summary as one JSON object, and writes trials.jsonl, summary.json
// and heatmap.svg into --out where it is given. Status 2 for settings, 3 for files, 4 without the memory, 5
// where a logit is not finite. Ranks take turns at the trials, `--cp` of them at one; the first prints and
// writes.
bool niah_measure(const EngineApi *api, const Options *options, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
