// Charts on an Svg; see chart.h.
#include "core/report/chart.h"

#include <math.h>
#include <stdio.h>

#define LABEL_SIZE   11.0
#define HEADING_SIZE 13.0

Range range_empty(void) {
    Range range = {INFINITY, -INFINITY};
    return range;
}

void range_add(Range *range, double value) {
    if (!isfinite(value)) return;
    if (value < range->least) range->least = value;
    if (value > range->most) range->most = value;
}

Ticks ticks_nice(Range range, int most_ticks) {
    static const double nice[] = {1, 2, 2.5, 5, 10};
    double width = range.most - range.least;
    double power = pow(10, floor(log10(width / most_ticks)));
    Ticks ticks = {0, 0, 0, 0};
    for (int i = 0; i < 5; i++) {
        ticks.step = nice[i] * power;
        ticks.first = ceil(range.least / ticks.step - 1e-9) * ticks.step;
        ticks.count = (int)floor((range.most - ticks.first) / ticks.step + 1e-9) + 1;
        if (ticks.count <= most_ticks) break;
    }
    while (ticks.decimals < 9) {
        double shifted = ticks.step * pow(10, ticks.decimals);
        if (fabs(shifted - round(shifted)) < 1e-6 * shifted) break;
        ticks.decimals++;
    }
    return ticks;
}

CurveStyle curve_style(int n) {
    static const char *const colours[] = {"#3b82d6", "#d9730d", "#2b9a55", "#9a5fd9",
                                          "#dc4a56", "#14949e", "#cf4f9f", "#8d7b64"};
    static const char *const dashes[] = {"none", "7 3", "2 2"};
    CurveStyle style = {colours[n % 8], dashes[n / 8 % 3]};
    return style;
}

double panel_x(const Panel *panel, double value) {
    const Range *range = &panel->across.range;
    return panel->x + panel->width * (value - range->least) / (range->most - range->least);
}

double panel_y(const Panel *panel, double value) {
    const Range *range = &panel->up.range;
    return panel->y + panel->height * (range->most - value) / (range->most - range->least);
}

// A range that can be divided by.
static void range_open(Range *range) {
    if (!(range->least <= range->most)) {
        range->least = 0;
        range->most = 1;
    }
    double least_width = fmax(fabs(range->least), fabs(range->most)) * 1e-6;
    if (least_width == 0) least_width = 1;
    if (range->most - range->least >= least_width) return;
    range->least -= least_width / 2;
    range->most += least_width / 2;
}

static Ticks axis_ticks(const Axis *axis, double length, double space) {
    Range shown = {axis->range.least / axis->unit, axis->range.most / axis->unit};
    int most = (int)(length / space);
    return ticks_nice(shown, most < 2 ? 2 : most);
}

static void tick_label(const Ticks *ticks, int i, char *text, size_t size) {
    double value = ticks->first + i * ticks->step;
    if (fabs(value) < ticks->step * 1e-6) value = 0; // no "-0"
    snprintf(text, size, "%.*f", ticks->decimals, value);
}

static void draw_across(Svg *svg, const Panel *panel) {
    Ticks ticks = axis_ticks(&panel->across, panel->width, 64);
    double bottom = panel->y + panel->height;
    char label[64];
    for (int i = 0; i < ticks.count; i++) {
        double x = panel_x(panel, (ticks.first + i * ticks.step) * panel->across.unit);
        tick_label(&ticks, i, label, sizeof label);
        svg_line(svg, x, panel->y, x, bottom, "class=\"grid\"");
        svg_line(svg, x, bottom, x, bottom + 4, "class=\"axis\"");
        svg_text(svg, x, bottom + 17, SVG_MIDDLE, LABEL_SIZE, "class=\"soft\"", label);
    }
    svg_text(svg, panel->x + panel->width / 2, bottom + 34, SVG_MIDDLE, LABEL_SIZE, "class=\"soft\"",
             panel->across.title);
}

static void draw_up(Svg *svg, const Panel *panel) {
    Ticks ticks = axis_ticks(&panel->up, panel->height, 34);
    double widest = 0;
    char label[64];
    for (int i = 0; i < ticks.count; i++) {
        double y = panel_y(panel, (ticks.first + i * ticks.step) * panel->up.unit);
        tick_label(&ticks, i, label, sizeof label);
        svg_line(svg, panel->x, y, panel->x + panel->width, y, "class=\"grid\"");
        svg_text(svg, panel->x - 7, y + 4, SVG_END, LABEL_SIZE, "class=\"soft\"", label);
        widest = fmax(widest, svg_text_width(label, LABEL_SIZE));
    }
    svg_text_upwards(svg, panel->x - 7 - widest - 10, panel->y + panel->height / 2, SVG_MIDDLE, LABEL_SIZE,
                     "class=\"soft\"", panel->up.title);
}

void panel_begin(Svg *svg, Panel *panel, const char *heading) {
    range_open(&panel->across.range);
    range_open(&panel->up.range);
    draw_across(svg, panel);
    draw_up(svg, panel);
    double bottom = panel->y + panel->height;
    svg_line(svg, panel->x, bottom, panel->x + panel->width, bottom, "class=\"axis\"");
    svg_line(svg, panel->x, panel->y, panel->x, bottom, "class=\"axis\"");
    svg_text(svg, panel->x, panel->y - 10, SVG_START, HEADING_SIZE, "font-weight=\"600\"", heading);
    svg_group_clipped(svg, panel->x, panel->y, panel->width, panel->height);
}

void panel_end(Svg *svg) {
    svg_group_end(svg);
}

void panel_curve(Svg *svg, const Panel *panel, double *points, int64_t count, const char *attributes) {
    double above = panel->y - panel->height, below = panel->y + 2 * panel->height;
    for (int64_t i = 0; i < count; i++) {
        double y = panel_y(panel, points[2 * i + 1]);
        points[2 * i] = panel_x(panel, points[2 * i]);
        points[2 * i + 1] = y < above ? above : y > below ? below : y; // NAN stays: a gap
    }
    svg_curve(svg, points, count, attributes);
}

void panel_upright(Svg *svg, const Panel *panel, double x, const char *attributes) {
    svg_line(svg, panel_x(panel, x), panel->y, panel_x(panel, x), panel->y + panel->height, attributes);
}

void svg_dot(Svg *svg, double x, double y, const char *colour, bool full) {
    char attributes[128];
    snprintf(attributes, sizeof attributes, "stroke=\"%s\" fill=\"%s\"", colour, full ? colour : "none");
    svg_circle(svg, x, y, full ? 2.6 : 2.4, attributes);
}
