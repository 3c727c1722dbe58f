// What `niah` found: its rates with their intervals, as JSON and as a heat map.
#ifndef CORE_COMMANDS_NIAH_REPORT_H
#define CORE_COMMANDS_NIAH_REPORT_H

#include "core/base/error.h"
#include "core/commands/niah_grid.h"
#include "core/commands/niah_task.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t found, trials;
    double low, high; // of the rate: Wilson's score interval at 95 %
} NiahRate;

NiahRate niah_rate(int64_t found, int64_t trials);
// Over lengths [first, last) and all depths, or one where `depth` is not negative.
NiahRate niah_grid_rate(const NiahGrid *grid, int first, int last, int depth);

// Mean rate, rates by length, depth and both, the phrasing and the settings. New reference.
json_t *niah_summary(const NiahGrid *grid, const NiahTask *task);
// Refuses (status 2) a folder where one of these files is somebody else's.
bool niah_check_out(const char *folder, Error *error);
// Writes trials.jsonl, summary.json and heatmap.svg into the folder, which is made. Status 3.
bool niah_write(const NiahGrid *grid, const NiahTask *task, const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
