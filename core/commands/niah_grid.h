// The trials of `niah`: their lengths, depths and answers.
#ifndef CORE_COMMANDS_NIAH_GRID_H
#define CORE_COMMANDS_NIAH_GRID_H

#include <stdint.h>

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

#endif
