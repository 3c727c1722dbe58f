// Reports; see report.h.
#include "core/report/report.h"

#include "core/checkpoint/checkpoint.h"
#include "core/checkpoint/model_folder.h"
#include "core/base/files.h"
#include "core/report/report_compare.h"
#include "core/report/report_draw.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE_TITLE "Training runs"

// Runs of one name are told apart by their paths.
static void tell_apart(RunLog *logs, const char *const *runs, int count) {
    for (int i = 0; i < count; i++) {
        bool same = false;
        for (int j = 0; j < count; j++) same = same || (j != i && strcmp(logs[j].name, logs[i].name) == 0);
        if (!same) continue;
        for (int j = count - 1; j >= i; j--) {
            if (j != i && strcmp(logs[j].name, logs[i].name) != 0) continue;
            free(logs[j].name);
            logs[j].name = copy_or_exit(runs[j]);
        }
    }
}

// Whether a run is among those that are drawn, by whatever path.
static bool is_drawn(const char *const *drawn, int count, const char *run) {
    for (int i = 0; i < count; i++) {
        if (strcmp(drawn[i], run) != 0 && !file_same(drawn[i], run)) continue;
        warn("%s is named twice, and drawn once", run);
        return true;
    }
    return false;
}

static void write_page(const Svg *svg, const ReportTable *table, ByteBuffer *page) {
    bytes_printf(
        page, "%s",
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<title>" PAGE_TITLE "</title>\n<style>\n"
        ":root{color-scheme:light dark;color:#1f2328;background:#fff}\n"
        "body{font:14px/1.5 system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;"
        "max-width:1080px;margin:1em auto;padding:0 1em}\n"
        "body>svg{width:100%;height:auto}\n"
        "table{border-collapse:collapse;width:100%} td path{stroke-width:2.5}\n"
        "div{overflow-x:auto} th,td{white-space:nowrap;padding:.25em .6em;text-align:right;border-bottom:1px "
        "solid #8886;"
        "font-variant-numeric:tabular-nums}\n"
        "th:first-child,td:first-child{text-align:left} p{margin:.6em 0;font-size:13px;opacity:.75}\n"
        "@media (prefers-color-scheme:dark){:root{color:#f0f6fc;background:#0d1117}}\n"
        "</style>\n");
    bytes_append(page, svg->text.data, svg->text.size);
    table_html(table, page);
    bytes_printf(page, "</html>\n");
}

// `path`: the file that `out` is or leads to.
static bool write_report(const RunLog *logs, int count, const Positions *positions, const char *out,
                         const char *path, bool published, FILE *console, Error *error) {
    int64_t longest = 0;
    for (int i = 0; i < count; i++) {
        if (logs[i].n_steps > longest) longest = logs[i].n_steps;
    }
    bool page = path_has_ending(out, ".html");
    int64_t window = stats_window(longest);
    ReportTable table = report_table(logs, count, window, published);
    ByteBuffer html = {NULL, 0, 0}, markdown = {NULL, 0, 0};
    Svg svg;
    report_draw(&svg, logs, count, window, positions, page ? NULL : &table);
    if (page) write_page(&svg, &table, &html);
    const ByteBuffer *file = page ? &html : &svg.text;
    bool ok = file_write(path, file->data, file->size, error);
    if (ok) {
        table_markdown(&table, &markdown);
        positions_markdown(positions, &markdown);
        fwrite(markdown.data, 1, markdown.size, console);
    }
    bytes_free(&markdown);
    bytes_free(&html);
    svg_free(&svg);
    report_table_free(&table);
    return ok;
}

// The file that `out` is or leads to; NULL on error. Release with free().
static char *file_behind(const char *out, Error *error) {
    struct stat info;
    if (lstat(out, &info) != 0 || !S_ISLNK(info.st_mode)) return copy_or_exit(out);
    char *real = realpath(out, NULL);
    if (!real) error_set(error, STATUS_USAGE, "--out %s: is a link that leads nowhere; remove it", out);
    return real;
}

static bool draw_runs(const char *const *runs, int count, const Positions *positions, const char *out,
                      const char *path, bool published, FILE *console, Error *error) {
    RunLog *logs = (RunLog *)alloc_or_exit((size_t)count, sizeof *logs);
    const char **drawn = (const char **)alloc_or_exit((size_t)count, sizeof *drawn);
    int n_drawn = 0;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        if (is_drawn(drawn, n_drawn, runs[i])) continue;
        drawn[n_drawn] = runs[i];
        ok = run_log_read(runs[i], &logs[n_drawn++], error);
    }
    if (ok) {
        tell_apart(logs, drawn, n_drawn);
        report_compare(drawn, n_drawn);
        ok = write_report(logs, n_drawn, positions, out, path, published, console, error);
    }
    for (int i = 0; i < n_drawn; i++) run_log_free(&logs[i]);
    free(drawn);
    free(logs);
    return ok;
}

bool report_write(const char *const *runs, int count, const char *files, const char *out, bool published,
                  FILE *console, Error *error) {
    if (count == 0) {
        return error_set(error, STATUS_USAGE, "report needs runs: their folders, or their log.jsonl");
    }
    if (!out || !(path_has_ending(out, ".svg") || path_has_ending(out, ".html"))) {
        return error_set(
            error, STATUS_USAGE,
            "--out %s: must name the file to write, ending in .svg (a picture) or .html (a page)",
            out ? out : "is missing");
    }
    bool page = path_has_ending(out, ".html");
    char *path = file_behind(out, error);
    Positions positions;
    bool ok = path && positions_read(files, &positions, error);
    if (!ok) {
        free(path);
        return false;
    }
    char *folder = path_parent(path);
    ok = checkpoint_check_out(path, error) && model_folder_check_out(folder, out, error) &&
         file_check_own(path, page ? "<title>" PAGE_TITLE : "<title>" REPORT_TITLE, error) &&
         draw_runs(runs, count, &positions, out, path, published, console, error);
    positions_free(&positions);
    free(folder);
    free(path);
    return ok;
}
