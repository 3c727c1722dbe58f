// The panels of a report: what each shows of all runs, and where its axes begin and end.
#ifndef CORE_REPORT_REPORT_PANELS_H
#define CORE_REPORT_REPORT_PANELS_H

#include "core/report/chart.h"
#include "core/report/positions.h"
#include "core/report/run_stats.h"

#ifdef __cplusplus
extern "C" {
#endif

// A run with what is drawn of it, an element for each step.
typedef struct {
    const RunLog *log;
    CurveStyle style;
    double *losses, *mean_losses, *mean_speeds;
    int64_t first_dense; // place of the first step behind the switch; -1 where there is none
} RunCurve;

typedef struct {
    Svg *svg;
    RunCurve *curves;
    int count;
    int64_t window; // updates that means run over
    const Positions *positions;
} Picture;

// What a panel goes by: targets seen, seconds of the updates, or updates since the switch.
typedef enum { BY_TOKENS, BY_TIME, BY_SWITCH } Across;

RunCurve run_curve_create(const RunLog *log, CurveStyle style, int64_t window);
void run_curve_free(RunCurve *curve);

// The place of the step that the n-th resume came after; -1 where none shows, as at the switch, whose own
// mark is there.
int64_t run_curve_resume(const RunCurve *curve, int64_t resume);

// Each draws one panel at the place that `panel` has; its axes are set here. The switch of a run is a dashed
// upright line, a resume a short one on the axis.
void panel_training(const Picture *picture, Panel panel, Across across);
void panel_validation(const Picture *picture, Panel panel, Across across);
void panel_throughput(const Picture *picture, Panel panel, Across across);
// The training loss around the switch, which all runs have at the same place.
void panel_switch(const Picture *picture, Panel panel);

#ifdef __cplusplus
}
#endif
#endif
