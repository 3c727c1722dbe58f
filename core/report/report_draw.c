// The picture of a report; see report_draw.h.
#include "core/report/report_draw.h"

#include "core/base/error.h"
#include "core/report/report_panels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH        1080.0
#define MARGIN       24.0
#define LEFT         74.0 // of the frames of the left column
#define GAP          88.0 // between the frames of a row
#define PANEL_WIDTH  ((WIDTH - LEFT - MARGIN - GAP) / 2)
#define PANEL_HEIGHT 210.0
#define ROW_HEIGHT   (PANEL_HEIGHT + 88)

static Panel panel_place(double top, int column) {
    Panel panel;
    memset(&panel, 0, sizeof panel);
    panel.x = LEFT + column * (PANEL_WIDTH + GAP);
    panel.y = top + 30;
    panel.width = PANEL_WIDTH;
    panel.height = PANEL_HEIGHT;
    panel.across.range = panel.up.range = range_empty();
    panel.across.unit = panel.up.unit = 1;
    return panel;
}

// ---- The legend

typedef enum { SIGN_CURVE, SIGN_FAINT, SIGN_SWITCH, SIGN_RESUME, SIGN_DENSE, SIGN_LIGHTHOUSE } Sign;

#define LEGEND_LINE 22.0
#define SIGN_WIDTH  24.0
#define TEXT_SIZE   12.0

typedef struct {
    Svg *svg; // NULL where only the room it takes is asked for
    double x, y;
} Legend;

static void draw_sign(Svg *svg, double x, double y, Sign sign, CurveStyle style) {
    char attributes[128];
    double middle = x + SIGN_WIDTH / 2;
    int used = snprintf(attributes, sizeof attributes, "stroke=\"%s\" ", style.colour);
    char *rest = attributes + used;
    size_t room = sizeof attributes - (size_t)used;
    switch (sign) {
    case SIGN_CURVE:
        snprintf(rest, room, "stroke-width=\"2.5\" stroke-dasharray=\"%s\"", style.dashes);
        svg_line(svg, x, y, x + SIGN_WIDTH, y, attributes);
        break;
    case SIGN_FAINT:
        snprintf(rest, room, "stroke-width=\"0.8\" stroke-opacity=\"0.6\"");
        svg_line(svg, x, y, x + SIGN_WIDTH, y, attributes);
        break;
    case SIGN_SWITCH:
        snprintf(rest, room, "stroke-dasharray=\"4 4\"");
        svg_line(svg, middle, y - 9, middle, y + 9, attributes);
        break;
    case SIGN_RESUME:
        snprintf(rest, room, "stroke-width=\"2\"");
        svg_line(svg, middle, y + 5, middle, y - 4, attributes);
        break;
    case SIGN_DENSE: svg_dot(svg, middle, y, style.colour, true); break;
    case SIGN_LIGHTHOUSE: svg_dot(svg, middle, y, style.colour, false); break;
    }
}

// An entry behind the last one, or on a new line where that is full.
static void legend_add(Legend *legend, Sign sign, CurveStyle style, const char *text) {
    double width = SIGN_WIDTH + 8 + svg_text_width(text, TEXT_SIZE);
    if (legend->x > MARGIN && legend->x + width > WIDTH - MARGIN) {
        legend->x = MARGIN;
        legend->y += LEGEND_LINE;
    }
    if (legend->svg) {
        draw_sign(legend->svg, legend->x, legend->y - 4, sign, style);
        svg_text(legend->svg, legend->x + SIGN_WIDTH + 8, legend->y, SVG_START, TEXT_SIZE, "", text);
    }
    legend->x += width + 22;
}

// The runs, then what the signs mean of which there are any. Returns where the legend ends.
static double draw_legend(const Picture *picture, Svg *svg) {
    static const CurveStyle soft = {"#818b98", "none"}; // readable on both pages
    Legend legend = {svg, MARGIN, 30};
    bool validated[2] = {false, false}, switches = false, resumes = false;
    char text[64];
    for (int c = 0; c < picture->count; c++) {
        const RunCurve *curve = &picture->curves[c];
        const RunLog *log = curve->log;
        for (int64_t v = 0; v < log->n_validations; v++) validated[log->validations[v].attention] = true;
        switches = switches || curve->first_dense >= 0;
        for (int64_t r = 0; r < log->n_resumes; r++) resumes = resumes || run_curve_resume(curve, r) >= 0;
        legend_add(&legend, SIGN_CURVE, curve->style, log->name);
    }
    for (int c = 0; c < picture->positions->count; c++)
        legend_add(&legend, SIGN_CURVE, curve_style(picture->count + c), picture->positions->curves[c].name);
    legend.x = MARGIN;
    legend.y += LEGEND_LINE;
    snprintf(text, sizeof text, "mean of %lld updates", (long long)picture->window);
    legend_add(&legend, SIGN_CURVE, soft, text);
    legend_add(&legend, SIGN_FAINT, soft, "every update");
    if (validated[ATTENTION_DENSE]) legend_add(&legend, SIGN_DENSE, soft, "validation under dense attention");
    if (validated[ATTENTION_LIGHTHOUSE])
        legend_add(&legend, SIGN_LIGHTHOUSE, soft, "validation under Lighthouse");
    if (switches) legend_add(&legend, SIGN_SWITCH, soft, "switch to dense");
    if (resumes) legend_add(&legend, SIGN_RESUME, soft, "resumed");
    return legend.y + 12;
}

// ---- The whole

static bool any_validation(const Picture *picture) {
    for (int c = 0; c < picture->count; c++) {
        if (picture->curves[c].log->n_validations > 0) return true;
    }
    return false;
}

static bool any_switch(const Picture *picture) {
    for (int c = 0; c < picture->count; c++) {
        if (picture->curves[c].first_dense >= 0) return true;
    }
    return false;
}

static void draw_panels(const Picture *picture, double top) {
    panel_training(picture, panel_place(top, 0), BY_TOKENS);
    panel_training(picture, panel_place(top, 1), BY_TIME);
    top += ROW_HEIGHT;
    if (any_validation(picture)) {
        panel_validation(picture, panel_place(top, 0), BY_TOKENS);
        panel_validation(picture, panel_place(top, 1), BY_TIME);
        top += ROW_HEIGHT;
    }
    panel_throughput(picture, panel_place(top, 0), BY_TOKENS);
    if (any_switch(picture)) {
        panel_switch(picture, panel_place(top, 1));
    } else {
        panel_throughput(picture, panel_place(top, 1), BY_TIME);
    }
    if (picture->positions->count > 0)
        panel_positions(picture->svg, panel_place(top + ROW_HEIGHT, 0), picture->positions, picture->count);
}

void report_draw(Svg *svg, const RunLog *logs, int count, int64_t window, const Positions *positions,
                 const ReportTable *table) {
    Picture picture = {svg, (RunCurve *)alloc_or_exit((size_t)count, sizeof(RunCurve)), count, window,
                       positions};
    for (int i = 0; i < count; i++) {
        picture.curves[i] = run_curve_create(&logs[i], curve_style(i), window);
    }
    double top = draw_legend(&picture, NULL);
    double bottom = top + (2 + any_validation(&picture) + (positions->count > 0)) * ROW_HEIGHT;
    double width = WIDTH - 2 * MARGIN;
    svg_begin(svg, WIDTH, bottom + (table ? table_height(table, width) + MARGIN : 0), REPORT_TITLE);
    draw_legend(&picture, svg);
    draw_panels(&picture, top);
    if (table) table_svg(table, svg, MARGIN, bottom, width);
    svg_end(svg);
    for (int i = 0; i < count; i++) run_curve_free(&picture.curves[i]);
    free(picture.curves);
}
