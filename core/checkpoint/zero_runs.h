// Long rows of zeros among a model's weights: what a download that broke off, or a disk that lost pages,
// leaves in a file whose length is right.
#ifndef CORE_CHECKPOINT_ZERO_RUNS_H
#define CORE_CHECKPOINT_ZERO_RUNS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// All zero is an empty one.
typedef struct {
    char first[128]; // the first tensor that has such a row
    int64_t start;   // and the first value looked at with it
    int64_t pieces;  // of tensors, that have one
} ZeroRuns;

// Looks at a piece of a tensor, from its value `start` on. The rows behind the end of a vocabulary may be
// zeros.
void zero_runs_look(ZeroRuns *runs, const char *tensor, int64_t start, const float *values, int64_t count);
// One warning, where there were any.
void zero_runs_warn(const ZeroRuns *runs, const char *folder);

#ifdef __cplusplus
}
#endif
#endif
