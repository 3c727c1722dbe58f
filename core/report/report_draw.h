// The picture of a report: training and validation loss by tokens and by time, throughput, the switch from
// near by.
#ifndef CORE_REPORT_REPORT_DRAW_H
#define CORE_REPORT_REPORT_DRAW_H

#include "core/report/positions.h"
#include "core/report/report_table.h"

#define REPORT_TITLE "Training loss, validation loss and throughput of the runs"

#ifdef __cplusplus
extern "C" {
#endif

// Draws all of it, and losses by position where there are any, the n-th run in the n-th style; begins and
// ends the picture. The table and its notes stand below where `table` is given.
void report_draw(Svg *svg, const RunLog *logs, int count, int64_t window, const Positions *positions,
                 const ReportTable *table);

#ifdef __cplusplus
}
#endif
#endif
