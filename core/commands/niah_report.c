// What `niah` found, as JSON and as a heat map; see niah_report.h.
#include "core/commands/niah_report.h"

#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/data/passkey.h"
#include "core/report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Rates

NiahRate niah_rate(int64_t found, int64_t trials) {
    const double z = 1.959963984540054; // of a normal variable, 95 % lie within
    double n = (double)trials, p = (double)found / n;
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    NiahRate rate = {found, trials, found == 0 ? 0 : middle - half, found == trials ? 1 : middle + half};
    return rate;
}

NiahRate niah_grid_rate(const NiahGrid *grid, int first, int last, int depth) {
    int64_t found = 0, count = 0;
    for (int l = first; l < last; l++) {
        for (int d = 0; d < grid->n_depths; d++) {
            if (depth >= 0 && d != depth) continue;
            const NiahTrial *trials = niah_trials(grid, l, d);
            for (int64_t t = 0; t < grid->n_trials; t++) found += trials[t].answer == trials[t].digit;
            count += grid->n_trials;
        }
    }
    return niah_rate(found, count);
}

static double share(NiahRate rate) {
    return (double)rate.found / (double)rate.trials;
}

// ---- JSON

static json_t *rate_json(const char *key, double value, NiahRate rate) {
    return json_pack("{s:f, s:f, s:[f, f], s:I, s:I}", key, value, "rate", share(rate), "interval_95",
                     rate.low, rate.high, "found", (json_int_t)rate.found, "trials", (json_int_t)rate.trials);
}

// The question, as text or in ids.
static json_t *question_json(const NiahTask *task) {
    if (task->bytes) return json_string(PASSKEY_PHRASE);
    json_t *ids = json_array();
    for (int64_t i = 0; i < task->question.count; i++)
        json_array_append_new(ids, json_integer(task->question.ids[i]));
    return ids;
}

json_t *niah_summary(const NiahGrid *grid, const NiahTask *task) {
    NiahRate mean = niah_grid_rate(grid, 0, grid->n_lengths, -1);
    json_t *lengths = json_array(), *depths = json_array(), *cells = json_array();
    double seconds = 0;
    for (int l = 0; l < grid->n_lengths; l++) {
        json_t *row = rate_json("length", (double)grid->lengths[l], niah_grid_rate(grid, l, l + 1, -1));
        json_object_set_new(row, "length", json_integer(grid->lengths[l]));
        json_object_set_new(row, "seconds", json_real(grid->seconds[l]));
        json_array_append_new(lengths, row);
        seconds += grid->seconds[l];
        json_t *rates = json_array();
        for (int d = 0; d < grid->n_depths; d++) {
            json_array_append_new(rates, json_real(share(niah_grid_rate(grid, l, l + 1, d))));
        }
        json_array_append_new(cells, rates);
    }
    for (int d = 0; d < grid->n_depths; d++) {
        json_array_append_new(
            depths, rate_json("depth", grid->depths[d], niah_grid_rate(grid, 0, grid->n_lengths, d)));
    }
    json_t *summary = json_pack("{s:s, s:f, s:[f, f], s:I, s:I, s:f, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:f}",
                                "model", grid->model, "retrieval_rate", share(mean), "interval_95", mean.low,
                                mean.high, "found", (json_int_t)mean.found, "trials", (json_int_t)mean.trials,
                                "chance", 0.1, "trials_a_cell", (json_int_t)grid->n_trials, "seed",
                                (json_int_t)grid->seed, "needle", task->text, "question", question_json(task),
                                "lengths", lengths, "depths", depths, "rates", cells, "seconds", seconds);
    if (task->reads) json_object_set_new(summary, "data", json_string(task->data.mixture.patterns[0]));
    return summary;
}

// One line a trial.
static void trials_json(const NiahGrid *grid, ByteBuffer *text) {
    for (int l = 0; l < grid->n_lengths; l++) {
        for (int d = 0; d < grid->n_depths; d++) {
            for (int64_t t = 0; t < grid->n_trials; t++) {
                const NiahTrial *trial = &niah_trials(grid, l, d)[t];
                bytes_printf(
                    text,
                    "{\"length\": %lld, \"depth\": %g, \"trial\": %lld, \"digit\": %d, \"answer\": %d, "
                    "\"found\": %s, \"probability\": %.6g}\n",
                    (long long)grid->lengths[l], grid->depths[d], (long long)t, trial->digit, trial->answer,
                    trial->answer == trial->digit ? "true" : "false", trial->probability);
            }
        }
    }
}

// ---- The heat map

enum { CELL_WIDTH = 76, CELL_HEIGHT = 30, LEFT = 76, TOP = 76, BOTTOM = 60, MIN_WIDTH = 560 };

// From nearly white for none over blue to dark blue for all.
static void cell_color(double rate, int color[3]) {
    static const int stops[3][3] = {{247, 251, 255}, {107, 174, 214}, {8, 48, 107}};
    int from = rate < 0.5 ? 0 : 1;
    double part = 2 * rate - from;
    for (int c = 0; c < 3; c++) {
        color[c] = (int)lround(stops[from][c] + part * (stops[from + 1][c] - stops[from][c]));
    }
}

static void draw_cell(const NiahGrid *grid, int l, int d, ByteBuffer *svg) {
    NiahRate rate = niah_grid_rate(grid, l, l + 1, d);
    int color[3], x = LEFT + l * CELL_WIDTH, y = TOP + d * CELL_HEIGHT;
    cell_color(share(rate), color);
    bytes_printf(svg,
                 "<g><title>%lld tokens, depth %g %%: %lld of %lld found (95 %% interval %.0f to %.0f "
                 "%%)</title><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"rgb(%d,%d,%d)\" "
                 "stroke=\"#fff\"/>",
                 (long long)grid->lengths[l], grid->depths[d], (long long)rate.found, (long long)rate.trials,
                 100 * rate.low, 100 * rate.high, x, y, CELL_WIDTH, CELL_HEIGHT, color[0], color[1],
                 color[2]);
    bytes_printf(svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"%s\">%.0f</text></g>\n",
                 x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2 + 5, share(rate) > 0.45 ? "#fff" : "#222",
                 100 * share(rate));
}

static void draw_axes(const NiahGrid *grid, ByteBuffer *svg) {
    int bottom = TOP + grid->n_depths * CELL_HEIGHT;
    for (int d = 0; d < grid->n_depths; d++) {
        bytes_printf(svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%g %%</text>\n", LEFT - 8,
                     TOP + d * CELL_HEIGHT + CELL_HEIGHT / 2 + 5, grid->depths[d]);
    }
    for (int l = 0; l < grid->n_lengths; l++) {
        int64_t length = grid->lengths[l];
        bytes_printf(svg, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%lld%s</text>\n",
                     LEFT + l * CELL_WIDTH + CELL_WIDTH / 2, bottom + 20,
                     (long long)(length % 1024 ? length : length / 1024), length % 1024 ? "" : "K");
    }
    bytes_printf(svg, "<text x=\"%d\" y=\"%d\" fill=\"#555\">length in tokens (K: 1,024)</text>\n", LEFT,
                 bottom + 42);
    bytes_printf(svg,
                 "<text x=\"18\" y=\"%d\" fill=\"#555\" text-anchor=\"middle\" transform=\"rotate(-90 18 "
                 "%d)\">depth</text>\n",
                 (TOP + bottom) / 2, (TOP + bottom) / 2);
}

#define HEATMAP_BEGINNING "font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"

static void draw_heatmap(const NiahGrid *grid, ByteBuffer *svg) {
    NiahRate mean = niah_grid_rate(grid, 0, grid->n_lengths, -1);
    int width = LEFT + grid->n_lengths * CELL_WIDTH + 20;
    int height = TOP + grid->n_depths * CELL_HEIGHT + BOTTOM;
    if (width < MIN_WIDTH) width = MIN_WIDTH;
    bytes_printf(svg,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
                 "%d\" " HEATMAP_BEGINNING "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
                 width, height, width, height);
    bytes_printf(svg,
                 "<text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">Passkeys found, in %%: ");
    xml_append(svg, grid->model);
    bytes_printf(
        svg,
        "</text>\n<text x=\"16\" y=\"50\" fill=\"#555\">mean %.1f %% (95 %% interval %.1f to %.1f %%), %lld "
        "trials a cell, chance 10 %%</text>\n",
        100 * share(mean), 100 * mean.low, 100 * mean.high, (long long)grid->n_trials);
    for (int l = 0; l < grid->n_lengths; l++) {
        for (int d = 0; d < grid->n_depths; d++) draw_cell(grid, l, d, svg);
    }
    draw_axes(grid, svg);
    bytes_printf(svg, "</svg>\n");
}

// ---- Files

static bool write_text(const char *folder, const char *name, const ByteBuffer *text, Error *error) {
    char *path = path_join(folder, name);
    bool ok = file_write(path, text->data, text->size, error);
    free(path);
    return ok;
}

bool niah_check_out(const char *folder, Error *error) {
    static const char *const files[][2] = {{"trials.jsonl", "{\"length\": "},
                                           {"summary.json", "\"retrieval_rate\""},
                                           {"heatmap.svg", HEATMAP_BEGINNING}};
    bool ok = true;
    for (int i = 0; ok && i < 3; i++) {
        char *path = path_join(folder, files[i][0]);
        ok = file_check_own(path, files[i][1], error);
        free(path);
    }
    return ok;
}

bool niah_write(const NiahGrid *grid, const NiahTask *task, const char *folder, Error *error) {
    ByteBuffer trials = {NULL, 0, 0}, summary = {NULL, 0, 0}, heatmap = {NULL, 0, 0};
    json_t *json = niah_summary(grid, task);
    char *dump = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(json);
    bytes_append(&summary, dump, strlen(dump));
    bytes_append(&summary, "\n", 1);
    free(dump);
    trials_json(grid, &trials);
    draw_heatmap(grid, &heatmap);
    bool ok = folders_make(folder, error) && write_text(folder, "trials.jsonl", &trials, error) &&
              write_text(folder, "summary.json", &summary, error) &&
              write_text(folder, "heatmap.svg", &heatmap, error);
    bytes_free(&heatmap);
    bytes_free(&summary);
    bytes_free(&trials);
    return ok;
}
