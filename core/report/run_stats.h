// What is said of a run in figures, from its log: throughput by stage, the switch, where the loss ends.
#ifndef CORE_REPORT_RUN_STATS_H
#define CORE_REPORT_RUN_STATS_H

#include "core/train/run_log.h"

#ifdef __cplusplus
extern "C" {
#endif

// A figure that does not apply or is not known is NAN, -1 where it is a count.
typedef struct {
    int64_t updates[2];          // under each attention
    double gpu_hours;            // seconds of the updates times ranks
    double tokens_per_second[2]; // tokens of the stage over the seconds of its updates
    double overall;              // likewise of both stages
    int64_t switch_step;         // updates before the (last) switch from Lighthouse to dense
    double jump;       // loss of the first dense update less the mean of the last `window` before the switch
    int64_t recovered; // dense updates until the mean of the last `window` of them is down at that mean
    double training;   // mean loss of the last `window` updates
    Attention training_attention;
    double validation; // the last one under dense attention
    double gap[2]; // of each stage: the last validation in it, under dense attention, less its training loss
                   // then
} RunStats;

// Updates that a mean runs over where runs of this length are compared: half the square root.
int64_t stats_window(int64_t steps);

RunStats run_stats(const RunLog *log, int64_t window);

// The place of the first dense step behind the last switch; -1 where the run does not switch.
int64_t run_switch(const RunLog *log);

// The mean of `values` over up to `window` steps that end at each step, none of them of the stage before;
// NAN values are passed over.
void run_smooth(const RunLog *log, const double *values, int64_t window, double *means);

#ifdef __cplusplus
}
#endif
#endif
