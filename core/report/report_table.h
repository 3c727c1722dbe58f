// The table of a report: a row of figures for every run, as Markdown, HTML or part of a picture.
#ifndef CORE_REPORT_REPORT_TABLE_H
#define CORE_REPORT_REPORT_TABLE_H

#include "core/report/chart.h"
#include "core/report/run_stats.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TABLE_COLUMNS 12

typedef struct {
    char cells[TABLE_COLUMNS][80];
    bool drawn; // has curves, of this style
    CurveStyle style;
} TableRow;

typedef struct {
    TableRow *rows;
    int count;
    char notes[8][256]; // what the columns mean, a sentence or two each
    int n_notes;
} ReportTable;

// The n-th run's curves have the n-th style. `published` adds the figures of the paper.
ReportTable report_table(const RunLog *logs, int count, int64_t window, bool published);
void report_table_free(ReportTable *table);

void table_markdown(const ReportTable *table, ByteBuffer *out);
void table_html(const ReportTable *table, ByteBuffer *out);
// Draws it with its notes from y downwards, `width` wide. table_height says how much that takes.
void table_svg(const ReportTable *table, Svg *svg, double x, double y, double width);
double table_height(const ReportTable *table, double width);

#ifdef __cplusplus
}
#endif
#endif
