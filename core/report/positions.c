// Losses by position in a report; see positions.h.
#include "core/report/positions.h"

#include "core/base/files.h"
#include "core/base/json_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Reading

static bool read_loss(const json_t *band, double *loss) {
    const json_t *value = json_object_get(band, "nats_per_target");
    *loss = json_number_value(value);
    return json_is_number(value) && isfinite(*loss);
}

static bool read_bands(const json_t *file, PositionCurve *curve) {
    const json_t *bands = json_object_get(file, "bands"), *tenth = json_object_get(file, "last_tenth");
    size_t count = json_array_size(bands);
    if (count < 1 || count > POSITION_BANDS || !read_loss(tenth, &curve->last_tenth)) return false;
    int64_t before = 0;
    for (curve->count = 0; curve->count < (int)count; curve->count++) {
        const json_t *band = json_array_get(bands, (size_t)curve->count);
        PositionLoss *at = &curve->bands[curve->count];
        if (!json_member_int(band, "to", before + 1, INT64_MAX, &at->to) || !read_loss(band, &at->loss))
            return false;
        before = at->to;
    }
    return true;
}

// The shards, and the sequences that were read of them.
static json_t *text_of(const json_t *file) {
    static const char *const members[] = {"data", "data_xxh3", "seq_len", "sequences"};
    json_t *text = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        json_object_set(text, members[i], json_object_get(file, members[i]));
    return text;
}

// Shards are told by what they hold; by their names where that is not known.
static bool same_text(const json_t *one, const json_t *two) {
    bool known = json_object_get(one, "data_xxh3") && json_object_get(two, "data_xxh3");
    const char *const members[] = {known ? "data_xxh3" : "data", "seq_len", "sequences"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!json_equal(json_object_get(one, members[i]), json_object_get(two, members[i]))) return false;
    return true;
}

// The first that is of other text than the first of all is told.
static void warn_of_texts(const Positions *positions) {
    for (int c = 1; c < positions->count; c++) {
        const PositionCurve *first = &positions->curves[0], *other = &positions->curves[c];
        if (json_object_size(first->text) == 0 || json_object_size(other->text) == 0 ||
            same_text(first->text, other->text))
            continue;
        char *one = json_dumps(first->text, 0), *two = json_dumps(other->text, 0);
        warn("--positions: %s is of %s, %s of %s: their losses do not compare", first->name, one, other->name,
             two);
        free(one);
        free(two);
        return;
    }
}

static char *curve_name(const char *path) {
    char *name = copy_or_exit(path_name(path));
    if (path_has_ending(name, ".json")) name[strlen(name) - strlen(".json")] = 0;
    return name;
}

static bool read_curve(const char *path, Positions *positions, Error *error) {
    if (positions->count == POSITION_FILES)
        return error_set(error, STATUS_USAGE, "--positions: more than %d files", POSITION_FILES);
    PositionCurve *curve = &positions->curves[positions->count];
    json_t *file = json_file_read(path, error);
    if (!file) return error_prefix(error, "--positions");
    bool ok = read_bands(file, curve);
    json_t *text = ok ? text_of(file) : NULL;
    json_decref(file);
    if (!ok)
        return error_set(error, STATUS_DATA, "--positions %s: is not what 'eval --by-position' prints", path);
    curve->name = curve_name(path);
    curve->text = text;
    positions->count++;
    return true;
}

bool positions_read(const char *files, Positions *positions, Error *error) {
    memset(positions, 0, sizeof *positions);
    char *list = copy_or_exit(files ? files : ""), *rest = NULL;
    bool ok = true;
    for (char *path = strtok_r(list, ",", &rest); ok && path; path = strtok_r(NULL, ",", &rest))
        ok = read_curve(path, positions, error);
    free(list);
    if (ok) warn_of_texts(positions);
    if (!ok) positions_free(positions);
    return ok;
}

void positions_free(Positions *positions) {
    for (int i = 0; i < positions->count; i++) {
        free(positions->curves[i].name);
        json_decref(positions->curves[i].text);
    }
    memset(positions, 0, sizeof *positions);
}

// ---- Drawing

static void draw_curve(Svg *svg, const Panel *panel, const PositionCurve *curve, CurveStyle style) {
    double points[2 * POSITION_BANDS], last = log2((double)curve->bands[curve->count - 1].to);
    char attributes[256];
    for (int64_t i = 0; i < curve->count; i++) {
        points[2 * i] = log2((double)curve->bands[i].to);
        points[2 * i + 1] = curve->bands[i].loss;
        svg_dot(svg, panel_x(panel, points[2 * i]), panel_y(panel, points[2 * i + 1]), style.colour, true);
    }
    svg_dot(svg, panel_x(panel, last), panel_y(panel, curve->last_tenth), style.colour, false);
    snprintf(attributes, sizeof attributes, "stroke=\"%s\" stroke-dasharray=\"%s\" stroke-width=\"1.5\"",
             style.colour, style.dashes);
    panel_curve(svg, panel, points, curve->count, attributes);
}

static void set_ranges(Panel *panel, const Positions *positions) {
    for (int c = 0; c < positions->count; c++) {
        const PositionCurve *curve = &positions->curves[c];
        for (int i = 0; i < curve->count; i++) {
            double x = log2((double)curve->bands[i].to);
            range_add(&panel->across.range, x - 0.2);
            range_add(&panel->across.range, x + 0.2);
            range_add(&panel->up.range, curve->bands[i].loss);
        }
        range_add(&panel->up.range, curve->last_tenth);
    }
    double air = 0.05 * (panel->up.range.most - panel->up.range.least);
    panel->up.range.least -= air;
    panel->up.range.most += air;
}

void panel_positions(Svg *svg, Panel panel, const Positions *positions, int first) {
    set_ranges(&panel, positions);
    snprintf(panel.across.title, sizeof panel.across.title,
             "end of the band, log2 of tokens (ring: last tenth)");
    snprintf(panel.up.title, sizeof panel.up.title, "nats a target");
    panel_begin(svg, &panel, "Loss by position");
    for (int c = 0; c < positions->count; c++)
        draw_curve(svg, &panel, &positions->curves[c], curve_style(first + c));
    panel_end(svg);
}

// ---- The table

// The first end of a band behind `to`, of any curve; INT64_MAX for none.
static int64_t next_end(const Positions *positions, int64_t to) {
    int64_t next = INT64_MAX;
    for (int c = 0; c < positions->count; c++) {
        const PositionCurve *curve = &positions->curves[c];
        for (int i = 0; i < curve->count; i++)
            if (curve->bands[i].to > to && curve->bands[i].to < next) next = curve->bands[i].to;
    }
    return next;
}

// The loss of the band with this end; "" where the curve has none.
static void add_cell(const PositionCurve *curve, int64_t to, ByteBuffer *text) {
    for (int i = 0; i < curve->count; i++) {
        if (curve->bands[i].to != to) continue;
        bytes_printf(text, " %.4f |", curve->bands[i].loss);
        return;
    }
    bytes_printf(text, "  |");
}

void positions_markdown(const Positions *positions, ByteBuffer *text) {
    if (positions->count == 0) return;
    bytes_printf(text, "\n| nats a target, positions up to |");
    for (int c = 0; c < positions->count; c++) bytes_printf(text, " %s |", positions->curves[c].name);
    bytes_printf(text, "\n| --- |");
    for (int c = 0; c < positions->count; c++) bytes_printf(text, " --- |");
    for (int64_t to = 0; (to = next_end(positions, to)) < INT64_MAX;) {
        bytes_printf(text, "\n| %lld |", (long long)to);
        for (int c = 0; c < positions->count; c++) add_cell(&positions->curves[c], to, text);
    }
    bytes_printf(text, "\n| the last tenth |");
    for (int c = 0; c < positions->count; c++) bytes_printf(text, " %.4f |", positions->curves[c].last_tenth);
    bytes_printf(text, "\n");
}
