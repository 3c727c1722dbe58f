// The picture of a report: training and validation loss by tokens and by time, throughput, the switch from
// near by.
#ifndef CORE_REPORT_DRAW_H
#define CORE_REPORT_DRAW_H

#include "report_table.h"

#ifdef __cplusplus
extern "C" {
#endif

// Draws all of it, the n-th run in the n-th style; begins and ends the picture. The table and its notes stand
// below where `table` is given.
void report_draw(Svg *svg, const RunLog *logs, int count, int64_t window, const ReportTable *table);

#ifdef __cplusplus
}
#endif
#endif
