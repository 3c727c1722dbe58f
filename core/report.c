// Reports; see report.h.
#include "report.h"

#include "files.h"
#include "report_draw.h"

#include <stdlib.h>
#include <string.h>

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

static void write_page(const Svg *svg, const ReportTable *table, ByteBuffer *page) {
    bytes_printf(
        page, "%s",
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n"
        "<title>Training runs</title>\n<style>\n"
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

static bool write_report(const RunLog *logs, int count, const char *out, bool published, FILE *console,
                         Error *error) {
    int64_t longest = 0;
    for (int i = 0; i < count; i++) {
        if (logs[i].n_steps > longest) longest = logs[i].n_steps;
    }
    bool page = path_has_ending(out, ".html");
    int64_t window = stats_window(longest);
    ReportTable table = report_table(logs, count, window, published);
    ByteBuffer html = {NULL, 0, 0}, markdown = {NULL, 0, 0};
    Svg svg;
    report_draw(&svg, logs, count, window, page ? NULL : &table);
    if (page) write_page(&svg, &table, &html);
    const ByteBuffer *file = page ? &html : &svg.text;
    bool ok = file_write(out, file->data, file->size, error);
    if (ok) {
        table_markdown(&table, &markdown);
        fwrite(markdown.data, 1, markdown.size, console);
    }
    bytes_free(&markdown);
    bytes_free(&html);
    svg_free(&svg);
    report_table_free(&table);
    return ok;
}

bool report_write(const char *const *runs, int count, const char *out, bool published, FILE *console,
                  Error *error) {
    if (count == 0) {
        return error_set(error, STATUS_USAGE, "report needs runs: their folders, or their log.jsonl");
    }
    if (!out || !(path_has_ending(out, ".svg") || path_has_ending(out, ".html"))) {
        return error_set(
            error, STATUS_USAGE,
            "--out %s: must name the file to write, ending in .svg (a picture) or .html (a page)",
            out ? out : "is missing");
    }
    RunLog *logs = (RunLog *)alloc_or_exit((size_t)count, sizeof *logs);
    bool ok = true;
    for (int i = 0; ok && i < count; i++) ok = run_log_read(runs[i], &logs[i], error);
    if (ok) {
        tell_apart(logs, runs, count);
        ok = write_report(logs, count, out, published, console, error);
    }
    for (int i = 0; i < count; i++) run_log_free(&logs[i]);
    free(logs);
    return ok;
}
