// The table of a report; see report_table.h.
#include "core/report/report_table.h"

#include "core/base/error.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DASH      "\xe2\x80\x93" // where a figure does not apply or is not known
#define TEXT_SIZE 12.0
#define NOTE_SIZE 11.0
#define ROW       22.0 // heights
#define HEADER    40.0
#define NOTE_LINE 16.0
#define SWATCH    34.0 // width, the gap behind it included

static const struct {
    const char *upper, *lower; // lines of the heading
    double width;              // in a picture, of 1
} COLUMNS[TABLE_COLUMNS] = {
    {"", "run", 0.145},
    {"updates:", "Lighthouse + dense", 0.112},
    {"", "GPU-hours", 0.067},
    {"tokens/s,", "Lighthouse", 0.07},
    {"tokens/s,", "dense", 0.063},
    {"tokens/s,", "overall", 0.063},
    {"jump at", "the switch", 0.07},
    {"updates", "to recover", 0.074},
    {"training", "loss at the end", 0.09},
    {"validation", "loss, dense", 0.076},
    {"gap in stage", "Lighthouse", 0.085},
    {"gap in stage", "dense", 0.085},
};

enum {
    NAME,
    UPDATES,
    GPU_HOURS,
    LIGHTHOUSE_SPEED,
    DENSE_SPEED,
    SPEED,
    JUMP,
    RECOVERED,
    TRAINING,
    VALIDATION,
    LIGHTHOUSE_GAP,
    DENSE_GAP
};

// ---- Figures as text

// "16,000"
static void write_count(char *text, size_t size, int64_t count) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count);
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0) text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = 0;
}

static void write_number(char *text, size_t size, const char *format, double value) {
    if (isnan(value)) {
        snprintf(text, size, DASH);
    } else {
        snprintf(text, size, format, value);
    }
}

// Three digits: "89.3 K"
static void write_speed(char *text, size_t size, double value) {
    static const char *const names[] = {"", " K", " M", " G"};
    int power = 0;
    if (isnan(value)) {
        snprintf(text, size, DASH);
        return;
    }
    for (; value >= 999.5 && power < 3; power++) value /= 1000;
    snprintf(text, size, "%.*f%s", value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, value, names[power]);
}

static void write_hours(char *text, size_t size, double hours) {
    snprintf(text, size, "%.*f", hours < 0.1 ? 4 : hours < 1 ? 3 : hours < 100 ? 2 : 1, hours);
}

// ---- Rows

static void fill_row(TableRow *row, const RunLog *log, int64_t window) {
    enum { SIZE = sizeof row->cells[0] };
    RunStats stats = run_stats(log, window);
    char first[32], second[32];
    snprintf(row->cells[NAME], SIZE, "%s", log->name);
    write_count(first, sizeof first, stats.updates[ATTENTION_LIGHTHOUSE]);
    write_count(second, sizeof second, stats.updates[ATTENTION_DENSE]);
    snprintf(row->cells[UPDATES], SIZE, "%s + %s", first, second);
    write_hours(row->cells[GPU_HOURS], SIZE, stats.gpu_hours);
    write_speed(row->cells[LIGHTHOUSE_SPEED], SIZE, stats.tokens_per_second[ATTENTION_LIGHTHOUSE]);
    write_speed(row->cells[DENSE_SPEED], SIZE, stats.tokens_per_second[ATTENTION_DENSE]);
    write_speed(row->cells[SPEED], SIZE, stats.overall);
    write_number(row->cells[JUMP], SIZE, "%+.3f", stats.jump);
    if (stats.recovered >= 0) {
        write_count(row->cells[RECOVERED], SIZE, stats.recovered);
    } else if (stats.switch_step >= 0) {
        write_count(first, sizeof first, log->steps[log->n_steps - 1].step - stats.switch_step);
        snprintf(row->cells[RECOVERED], SIZE, "> %s", first);
    } else {
        snprintf(row->cells[RECOVERED], SIZE, DASH);
    }
    bool lighthouse = stats.training_attention == ATTENTION_LIGHTHOUSE;
    write_number(row->cells[TRAINING], SIZE, lighthouse ? "%.3f *" : "%.3f", stats.training);
    write_number(row->cells[VALIDATION], SIZE, "%.3f", stats.validation);
    write_number(row->cells[LIGHTHOUSE_GAP], SIZE, "%+.3f", stats.gap[ATTENTION_LIGHTHOUSE]);
    write_number(row->cells[DENSE_GAP], SIZE, "%+.3f", stats.gap[ATTENTION_DENSE]);
}

static void fill_published(TableRow *rows) {
    static const char *const cells[2][TABLE_COLUMNS] = {
        {"published, dense", "0 + 16,000", DASH, DASH, "46 K", DASH, DASH, DASH, "0.724", DASH, DASH, DASH},
        {"published, splits", "10,000" DASH "12,000 + rest", DASH, "75" DASH "126 K", DASH, DASH, DASH, DASH,
         "0.698" DASH "0.710", DASH, DASH, DASH}};
    for (int r = 0; r < 2; r++) {
        for (int c = 0; c < TABLE_COLUMNS; c++)
            snprintf(rows[r].cells[c], sizeof rows[r].cells[c], "%s", cells[r][c]);
    }
}

static void note(ReportTable *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(ReportTable *table, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(table->notes[table->n_notes], sizeof table->notes[0], format, values);
    va_end(values);
    table->n_notes++;
}

ReportTable report_table(const RunLog *logs, int count, int64_t window, bool published) {
    ReportTable table;
    memset(&table, 0, sizeof table);
    table.count = count + (published ? 2 : 0);
    table.rows = (TableRow *)alloc_or_exit((size_t)table.count, sizeof *table.rows);
    for (int i = 0; i < count; i++) {
        fill_row(&table.rows[i], &logs[i], window);
        table.rows[i].drawn = true;
        table.rows[i].style = curve_style(i);
    }
    note(&table, "Hours and tokens/s are of the updates alone, validation and saving left out; GPU-hours are "
                 "these times the ranks. What branched off counts the stage it branched from.");
    note(&table,
         "Jump: the loss of the first dense update less the mean of the last %lld before the switch. To "
         "recover: dense updates until the mean of the last %lld of them (of all, while fewer) is down at "
         "that mean.",
         (long long)window, (long long)window);
    note(&table,
         "Training loss at the end: the mean of the last %lld updates, in nats a target. * under Lighthouse "
         "attention, whose selection looks ahead within its chunk: no strict likelihood.",
         (long long)window);
    note(&table,
         "Gap: at the last validation of a stage, the loss under dense attention less the mean of the last "
         "%lld training losses. Those of the Lighthouse stage are under that attention, which looks ahead; "
         "validation is other text in both.",
         (long long)window);
    if (published) {
        fill_published(table.rows + count);
        note(&table, "Published: arXiv 2605.06554, 530M parameters on 50.3 B tokens, B200; its final loss "
                     "stands as the training loss. A dash where no figure is known here.");
    }
    return table;
}

void report_table_free(ReportTable *table) {
    free(table->rows);
}

// ---- Markdown and HTML

void table_markdown(const ReportTable *table, ByteBuffer *out) {
    for (int c = 0; c < TABLE_COLUMNS; c++) {
        bytes_printf(out, "| %s%s%s ", COLUMNS[c].upper, COLUMNS[c].upper[0] ? " " : "", COLUMNS[c].lower);
    }
    bytes_printf(out, "|\n");
    for (int c = 0; c < TABLE_COLUMNS; c++) bytes_printf(out, c ? "| ---: " : "| --- ");
    bytes_printf(out, "|\n");
    for (int r = 0; r < table->count; r++) {
        for (int c = 0; c < TABLE_COLUMNS; c++) {
            bytes_printf(out, "| ");
            for (const char *text = table->rows[r].cells[c]; *text; text++) {
                bytes_printf(out, *text == '|' ? "\\%c" : "%c", *text);
            }
            bytes_printf(out, " ");
        }
        bytes_printf(out, "|\n");
    }
    bytes_printf(out, "\n");
    for (int i = 0; i < table->n_notes; i++) bytes_printf(out, "%s\n", table->notes[i]);
}

void table_html(const ReportTable *table, ByteBuffer *out) {
    bytes_printf(out, "<div><table>\n<tr>");
    for (int c = 0; c < TABLE_COLUMNS; c++) {
        bytes_printf(out, "<th>%s<br>%s</th>", COLUMNS[c].upper, COLUMNS[c].lower);
    }
    bytes_printf(out, "</tr>\n");
    for (int r = 0; r < table->count; r++) {
        bytes_printf(out, "<tr>");
        for (int c = 0; c < TABLE_COLUMNS; c++) {
            bytes_printf(out, "<td>");
            if (c == NAME) {
                const TableRow *row = &table->rows[r];
                bytes_printf(out, "<svg width=\"26\" height=\"10\">");
                if (row->drawn) {
                    bytes_printf(out, "<path d=\"M0 5H24\" stroke=\"%s\" stroke-dasharray=\"%s\"/>",
                                 row->style.colour, row->style.dashes);
                }
                bytes_printf(out, "</svg> ");
            }
            xml_append(out, table->rows[r].cells[c]);
            bytes_printf(out, "</td>");
        }
        bytes_printf(out, "</tr>\n");
    }
    bytes_printf(out, "</table></div>\n");
    for (int i = 0; i < table->n_notes; i++) {
        bytes_printf(out, "<p>");
        xml_append(out, table->notes[i]);
        bytes_printf(out, "</p>\n");
    }
}

// ---- In a picture

// Lines that a note takes at this width; draws them where there is a picture.
static int wrap_note(const char *text, Svg *svg, double x, double y, double width) {
    char line[sizeof((ReportTable *)0)->notes[0]] = "";
    int lines = 0;
    while (*text) {
        size_t word = strcspn(text, " "), used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%.*s", used ? " " : "", (int)word, text);
        if (used && svg_text_width(line, NOTE_SIZE) > width) {
            line[used] = 0;
            if (svg) svg_text(svg, x, y + lines * NOTE_LINE, SVG_START, NOTE_SIZE, "class=\"soft\"", line);
            lines++;
            line[0] = 0;
            continue; // the word begins the next line
        }
        text += word + (text[word] == ' ');
    }
    if (svg) svg_text(svg, x, y + lines * NOTE_LINE, SVG_START, NOTE_SIZE, "class=\"soft\"", line);
    return lines + 1;
}

static int wrap_notes(const ReportTable *table, Svg *svg, double x, double y, double width) {
    int lines = 0;
    for (int i = 0; i < table->n_notes; i++) {
        lines += wrap_note(table->notes[i], svg, x, y + lines * NOTE_LINE, width);
    }
    return lines;
}

double table_height(const ReportTable *table, double width) {
    return HEADER + table->count * ROW + 26 + wrap_notes(table, NULL, 0, 0, width) * NOTE_LINE;
}

// The text, or its beginning and an ellipsis where it is wider.
static void fit_text(const char *text, double width, char *fitted, size_t size) {
    snprintf(fitted, size, "%s", text);
    for (size_t length = strlen(fitted); length > 0 && svg_text_width(fitted, TEXT_SIZE) > width;) {
        while (length > 0 && ((unsigned char)fitted[--length] & 0xc0) == 0x80) {
        } // a whole character
        snprintf(fitted + length, size - length, "\xe2\x80\xa6");
    }
}

static void draw_cell(const ReportTable *table, Svg *svg, int row, int column, double left, double right,
                      double y) {
    const TableRow *r = &table->rows[row];
    if (column != NAME) {
        svg_text(svg, right, y, SVG_END, TEXT_SIZE, r->drawn ? "" : "class=\"soft\"", r->cells[column]);
        return;
    }
    char name[sizeof r->cells[0] + 4];
    fit_text(r->cells[NAME], right - left - SWATCH, name, sizeof name);
    if (r->drawn) {
        char attributes[160];
        snprintf(attributes, sizeof attributes, "stroke=\"%s\" stroke-dasharray=\"%s\" stroke-width=\"2.5\"",
                 r->style.colour, r->style.dashes);
        svg_line(svg, left, y - 4, left + SWATCH - 10, y - 4, attributes);
    }
    svg_text(svg, left + SWATCH, y, SVG_START, TEXT_SIZE, r->drawn ? "" : "class=\"soft\"", name);
}

void table_svg(const ReportTable *table, Svg *svg, double x, double y, double width) {
    for (int c = 0; c < TABLE_COLUMNS; c++) {
        double left = x, right = x + width * COLUMNS[c].width;
        SvgAnchor anchor = c == NAME ? SVG_START : SVG_END;
        double at = c == NAME ? left : right;
        svg_text(svg, at, y + 12, anchor, NOTE_SIZE, "class=\"soft\"", COLUMNS[c].upper);
        svg_text(svg, at, y + 27, anchor, NOTE_SIZE, "class=\"soft\"", COLUMNS[c].lower);
        for (int r = 0; r < table->count; r++) {
            draw_cell(table, svg, r, c, left, right, y + HEADER + (r + 0.7) * ROW);
        }
        x = right;
    }
    x -= width;
    for (int r = 0; r <= table->count; r++) {
        svg_line(svg, x, y + HEADER + r * ROW, x + width, y + HEADER + r * ROW, "class=\"grid\"");
    }
    wrap_notes(table, svg, x, y + HEADER + table->count * ROW + 24, width);
}
