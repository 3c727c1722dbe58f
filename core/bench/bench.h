// The command `bench`: how long an attention layer or a training step takes, part by part, and beside each
// part its floor. One JSON object a row on standard output, the same as a table on standard error.
#ifndef CORE_BENCH_BENCH_H
#define CORE_BENCH_BENCH_H

#include "core/options/options.h"
#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// The options' one input says what: "attention" or "step". Several ranks make steps together; an attention
// layer is timed on one.
bool bench_run(Options *options, const EngineApi *api, Ranks *ranks, Error *error);

// `info --links`: sums and exchanges of tensors of several sizes among the ranks of each host, between hosts
// and among all, beside the rates that core/cost/links.h assumes; a warning where a link is much slower. Rows
// as above, which links_read takes.
bool bench_links(const Options *options, const EngineApi *api, Ranks *ranks, Error *error);

#ifdef __cplusplus
}
#endif
#endif
