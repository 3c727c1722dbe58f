// Charts on an Svg: a panel with two axes, nice ticks and a grid, and what is drawn into it.
#ifndef CORE_REPORT_CHART_H
#define CORE_REPORT_CHART_H

#include "core/report/svg.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Of values; empty while least > most.
typedef struct {
    double least, most;
} Range;

Range range_empty(void);
// Takes a value in; what is not finite changes nothing.
void range_add(Range *range, double value);

// Ticks at first, first + step, ...: round numbers within a range, `most_ticks` (at least 2) at most.
typedef struct {
    double first, step;
    int count;
    int decimals; // that their labels need
} Ticks;

Ticks ticks_nice(Range range, int most_ticks);

typedef struct {
    Range range;
    double unit; // this much is written as 1
    char title[64];
} Axis;

// How the curves of one chart are told apart: values of stroke and stroke-dasharray. Eight colours that suit
// light and dark pages, then the same dashed, then dotted.
typedef struct {
    const char *colour, *dashes;
} CurveStyle;

CurveStyle curve_style(int n);

// The sign of one value: a dot, or a ring. Of a validation a dot is that under dense attention.
void svg_dot(Svg *svg, double x, double y, const char *colour, bool full);

// A panel's frame in the picture (without the labels around it) and its axes.
typedef struct {
    double x, y, width, height;
    Axis across, up;
} Panel;

// Where a value lies in the picture.
double panel_x(const Panel *panel, double value);
double panel_y(const Panel *panel, double value);

// Grid, axes, labels and titles, the heading above the frame; an empty range is shown as 0 to 1. What is
// drawn up to panel_end shows only within the frame.
void panel_begin(Svg *svg, Panel *panel, const char *heading);
void panel_end(Svg *svg);

// A curve through count pairs of values, which become places in the picture.
void panel_curve(Svg *svg, const Panel *panel, double *points, int64_t count, const char *attributes);
// A line from the bottom to the top.
void panel_upright(Svg *svg, const Panel *panel, double x, const char *attributes);

#ifdef __cplusplus
}
#endif
#endif
