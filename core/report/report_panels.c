// The panels of a report; see report_panels.h.
#include "core/report/report_panels.h"

#include "core/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BINS    300  // a curve is thinned to the lowest and highest point of each of so many
#define SETTLED 0.05 // of a run: what comes before, the steep fall from the start, sets no range

// ---- Curves

RunCurve run_curve_create(const RunLog *log, CurveStyle style, int64_t window) {
    size_t count = (size_t)log->n_steps;
    RunCurve curve = {log, style, NULL, NULL, NULL, run_switch(log)};
    curve.losses = (double *)alloc_or_exit(count, 3 * sizeof(double));
    curve.mean_losses = curve.losses + count;
    curve.mean_speeds = curve.losses + 2 * count;
    double *speeds = (double *)alloc_or_exit(count, sizeof *speeds);
    for (size_t i = 0; i < count; i++) {
        const RunStep *step = &log->steps[i];
        double tokens = (double)(step->tokens - (i ? step[-1].tokens : 0));
        bool known = step->seconds > 0 && (i > 0 || step->step == 1);
        curve.losses[i] = step->loss;
        speeds[i] = known ? tokens / step->seconds : NAN;
    }
    run_smooth(log, curve.losses, window, curve.mean_losses);
    run_smooth(log, speeds, window, curve.mean_speeds);
    free(speeds);
    return curve;
}

void run_curve_free(RunCurve *curve) {
    free(curve->losses);
}

int64_t run_curve_resume(const RunCurve *curve, int64_t resume) {
    int64_t i = run_log_find(curve->log, curve->log->resumes[resume]);
    return i == curve->first_dense - 1 ? -1 : i;
}

static double across_value(const RunCurve *curve, int64_t i, Across across) {
    const RunStep *step = &curve->log->steps[i];
    switch (across) {
    case BY_TOKENS: return (double)step->tokens;
    case BY_TIME: return step->elapsed;
    case BY_SWITCH: break;
    }
    return (double)(step->step - curve->log->steps[curve->first_dense].step + 1);
}

static bool settled(const RunCurve *curve, int64_t step) {
    return (double)step >= SETTLED * (double)curve->log->steps[curve->log->n_steps - 1].step;
}

static void add_point(double *points, int64_t *count, const RunCurve *curve, const double *values, int64_t i,
                      Across across) {
    points[2 * *count] = across_value(curve, i, across);
    points[2 * *count + 1] = values[i];
    ++*count;
}

// Fills `points` with the values of steps [from, to), thinned to 2 * BINS at most; returns their count.
static int64_t thin(double *points, const RunCurve *curve, const double *values, int64_t from, int64_t to,
                    Across across) {
    int64_t count = 0, bins = to - from > (int64_t)2 * BINS ? BINS : to - from;
    for (int64_t b = 0; b < bins; b++) {
        int64_t first = from + (to - from) * b / bins, end = from + (to - from) * (b + 1) / bins;
        int64_t low = first, high = first;
        for (int64_t i = first; i < end; i++) {
            if (values[i] < values[low] || isnan(values[low])) low = i;
            if (values[i] > values[high] || isnan(values[high])) high = i;
        }
        add_point(points, &count, curve, values, low < high ? low : high, across);
        if (low != high) add_point(points, &count, curve, values, low < high ? high : low, across);
    }
    return count;
}

// Draws steps [from, to) of a curve.
static void draw_values(const Picture *picture, const Panel *panel, const RunCurve *curve,
                        const double *values, int64_t from, int64_t to, Across across, const char *weight) {
    char attributes[256];
    double points[4 * BINS];
    int64_t count = thin(points, curve, values, from, to, across);
    snprintf(attributes, sizeof attributes,
             "stroke=\"%s\" stroke-dasharray=\"%s\" stroke-linejoin=\"round\" %s", curve->style.colour,
             curve->style.dashes, weight);
    panel_curve(picture->svg, panel, points, count, attributes);
}

#define FAINT  "stroke-width=\"0.8\" stroke-opacity=\"0.28\""
#define STRONG "stroke-width=\"1.8\""

// ---- Axes

static void axis_counts(Axis *axis, const char *what) {
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1e9, ", billions"}, {1e6, ", millions"}, {1e3, ", thousands"}, {1, ""}};
    int i = 0;
    while (units[i].unit > 1 && axis->range.most < 2 * units[i].unit) i++;
    axis->unit = units[i].unit;
    snprintf(axis->title, sizeof axis->title, "%s%s", what, units[i].name);
}

static void axis_time(Axis *axis) {
    bool hours = axis->range.most >= 2 * 3600, minutes = axis->range.most >= 2 * 60;
    axis->unit = hours ? 3600 : minutes ? 60 : 1;
    snprintf(axis->title, sizeof axis->title, "time of the updates, %s",
             hours     ? "hours"
             : minutes ? "minutes"
                       : "seconds");
}

static void axis_across(const Picture *picture, Axis *axis, Across across) {
    range_add(&axis->range, 0);
    for (int c = 0; c < picture->count; c++) {
        range_add(&axis->range,
                  across_value(&picture->curves[c], picture->curves[c].log->n_steps - 1, across));
    }
    if (across == BY_TIME) {
        axis_time(axis);
    } else {
        axis_counts(axis, "tokens");
    }
    axis->range.most *= 1.015; // the last point stands whole within the frame
}

// Air above and below the curves.
static void range_widen(Range *range) {
    double air = 0.05 * (range->most - range->least);
    if (!isfinite(air)) return;
    range->least -= air;
    range->most += air;
}

// ---- What marks a place

// The switch: a dashed line. A resume: a short line on the axis.
static void draw_marks(const Picture *picture, const Panel *panel, Across across) {
    char attributes[256];
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        const RunLog *log = curve->log;
        const char *colour = curve->style.colour;
        if (curve->first_dense > 0) {
            snprintf(attributes, sizeof attributes,
                     "stroke=\"%s\" stroke-dasharray=\"4 4\" stroke-opacity=\"0.75\"", colour);
            panel_upright(picture->svg, panel, across_value(curve, curve->first_dense - 1, across),
                          attributes);
        }
        for (int64_t r = 0; r < log->n_resumes; r++) {
            int64_t i = run_curve_resume(curve, r);
            if (i < 0) continue;
            double x = panel_x(panel, across_value(curve, i, across)), bottom = panel->y + panel->height;
            snprintf(attributes, sizeof attributes, "stroke=\"%s\" stroke-width=\"2\"", colour);
            svg_line(picture->svg, x, bottom, x, bottom - 9, attributes);
        }
    }
}

// ---- Panels

// Both of a pair have the same heights.
static Range training_range(const Picture *picture) {
    Range range = range_empty(), losses = range_empty();
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        for (int64_t i = 0; i < curve->log->n_steps; i++) {
            if (!settled(curve, curve->log->steps[i].step)) continue;
            range_add(&range, curve->mean_losses[i]);
            range_add(&losses, curve->losses[i]);
        }
    }
    range_add(&range, losses.least);
    range_widen(&range);
    return range;
}

void panel_training(const Picture *picture, Panel panel, Across across) {
    axis_across(picture, &panel.across, across);
    panel.up.range = training_range(picture);
    snprintf(panel.up.title, sizeof panel.up.title, "nats a target");
    panel_begin(picture->svg, &panel,
                across == BY_TIME ? "Training loss by time" : "Training loss by tokens");
    for (int strong = 0; strong < 2; strong++) {
        for (int c = 0; c < picture->count; c++) {
            const RunCurve *curve = &picture->curves[c];
            draw_values(picture, &panel, curve, strong ? curve->mean_losses : curve->losses, 0,
                        curve->log->n_steps, across, strong ? STRONG : FAINT);
        }
    }
    draw_marks(picture, &panel, across);
    panel_end(picture->svg);
}

static void draw_validations(const Picture *picture, const Panel *panel, const RunCurve *curve,
                             Across across) {
    const RunLog *log = curve->log;
    double *points = (double *)alloc_or_exit((size_t)log->n_validations + 1, 2 * sizeof *points);
    char attributes[256];
    int64_t count = 0;
    for (int64_t v = 0; v < log->n_validations; v++) {
        const RunValidation *validation = &log->validations[v];
        int64_t i = run_log_find(log, validation->step);
        if (i < 0 || isnan(validation->loss)) continue;
        double x = across_value(curve, i, across);
        svg_dot(picture->svg, panel_x(panel, x), panel_y(panel, validation->loss), curve->style.colour,
                validation->attention == ATTENTION_DENSE);
        if (validation->attention != ATTENTION_DENSE) continue;
        points[2 * count] = x;
        points[2 * count + 1] = validation->loss;
        count++;
    }
    snprintf(attributes, sizeof attributes, "stroke=\"%s\" stroke-dasharray=\"%s\" stroke-width=\"1.5\"",
             curve->style.colour, curve->style.dashes);
    panel_curve(picture->svg, panel, points, count, attributes);
    free(points);
}

void panel_validation(const Picture *picture, Panel panel, Across across) {
    axis_across(picture, &panel.across, across);
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        for (int64_t v = 0; v < curve->log->n_validations; v++) {
            const RunValidation *validation = &curve->log->validations[v];
            if (settled(curve, validation->step)) range_add(&panel.up.range, validation->loss);
        }
    }
    range_widen(&panel.up.range);
    snprintf(panel.up.title, sizeof panel.up.title, "nats a target");
    panel_begin(picture->svg, &panel,
                across == BY_TIME ? "Validation loss by time" : "Validation loss by tokens");
    for (int c = 0; c < picture->count; c++) draw_validations(picture, &panel, &picture->curves[c], across);
    draw_marks(picture, &panel, across);
    panel_end(picture->svg);
}

void panel_throughput(const Picture *picture, Panel panel, Across across) {
    axis_across(picture, &panel.across, across);
    range_add(&panel.up.range, 0);
    for (int c = 0; c < picture->count; c++) {
        for (int64_t i = 0; i < picture->curves[c].log->n_steps; i++) {
            range_add(&panel.up.range, picture->curves[c].mean_speeds[i] * 1.05);
        }
    }
    axis_counts(&panel.up, "tokens/s");
    panel_begin(picture->svg, &panel, across == BY_TIME ? "Throughput by time" : "Throughput by tokens");
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        draw_values(picture, &panel, curve, curve->mean_speeds, 0, curve->log->n_steps, across, STRONG);
    }
    draw_marks(picture, &panel, across);
    panel_end(picture->svg);
}

// Updates shown behind the switch: twice what the slowest run takes to recover.
static int64_t switch_reach(const Picture *picture) {
    int64_t reach = 4 * picture->window;
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        if (curve->first_dense < 0) continue;
        RunStats stats = run_stats(curve->log, picture->window);
        int64_t tail = curve->log->steps[curve->log->n_steps - 1].step - stats.switch_step;
        int64_t wanted = stats.recovered < 0 || 2 * stats.recovered > tail ? tail : 2 * stats.recovered;
        if (wanted > reach) reach = wanted;
    }
    return reach;
}

void panel_switch(const Picture *picture, Panel panel) {
    Range shown = {-2.0 * (double)picture->window, (double)switch_reach(picture)};
    panel.across.range = shown;
    snprintf(panel.across.title, sizeof panel.across.title, "updates since the switch to dense attention");
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        for (int64_t i = 0; curve->first_dense >= 0 && i < curve->log->n_steps; i++) {
            double x = across_value(curve, i, BY_SWITCH);
            if (x >= shown.least && x <= shown.most) range_add(&panel.up.range, curve->mean_losses[i]);
        }
    }
    range_widen(&panel.up.range);
    snprintf(panel.up.title, sizeof panel.up.title, "nats a target");
    panel_begin(picture->svg, &panel, "Training loss around the switch");
    panel_upright(picture->svg, &panel, 0, "class=\"axis\" stroke-dasharray=\"4 4\"");
    for (int strong = 0; strong < 2; strong++) {
        for (int c = 0; c < picture->count; c++) {
            const RunCurve *curve = &picture->curves[c];
            if (curve->first_dense < 0) continue;
            int64_t at = curve->log->steps[curve->first_dense].step;
            int64_t from = run_log_find(curve->log, at + (int64_t)shown.least - 1) + 1;
            int64_t to = run_log_find(curve->log, at + (int64_t)shown.most) + 1;
            draw_values(picture, &panel, curve, strong ? curve->mean_losses : curve->losses, from, to,
                        BY_SWITCH, strong ? STRONG : FAINT);
        }
    }
    panel_end(picture->svg);
}
