// Long rows of zeros among a model's weights; see zero_runs.h.
#include "core/checkpoint/zero_runs.h"

#include "core/base/error.h"

#include <stdio.h>
#include <string.h>

#define RUN   8192 // values
#define LEAST 64   // of a short tensor, if they are all of it

// The first of RUN zeros in a row, or of `count`; -1 where there are none. `padded`: a tensor may end in
// such, and is not all of it. Few values are looked at where there are none.
static int64_t find_run(const float *values, int64_t start, int64_t count, bool padded) {
    int64_t least = count < RUN ? count : RUN, step = least / 2 > 0 ? least / 2 : 1;
    for (int64_t i = step - 1; i < count && count >= LEAST; i += step) {
        int64_t begin = i, end = i;
        while (begin > 0 && values[begin - 1] == 0) begin--;
        while (end < count && values[end] == 0) end++;
        if (values[i] == 0 && end - begin >= least && !(padded && end == count && start + begin > 0))
            return begin;
        if (end > i) i = end - step;
    }
    return -1;
}

void zero_runs_look(ZeroRuns *runs, const char *tensor, int64_t start, const float *values, int64_t count) {
    bool padded = strstr(tensor, "embed_tokens") || strstr(tensor, "lm_head");
    int64_t found = find_run(values, start, count, padded);
    if (found < 0) return;
    if (runs->pieces++ > 0) return;
    snprintf(runs->first, sizeof runs->first, "%s", tensor);
    runs->start = start + found;
}

void zero_runs_warn(const ZeroRuns *runs, const char *folder) {
    if (runs->pieces == 0) return;
    warn("%s: tensor '%s' has zeros alone for a long way from value %lld on%s: were the files fetched whole?",
         folder, runs->first, (long long)runs->start, runs->pieces > 1 ? ", and so have others" : "");
}
