// Reports: any set of runs drawn as one file that stands by itself.
#ifndef CORE_REPORT_REPORT_H
#define CORE_REPORT_REPORT_H

#include "core/base/error.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// Draws the runs (folders, or logs by their own paths) into `out`: a picture where its name ends in .svg, a
// page where it ends in .html. Both show training and validation loss by tokens and by time, throughput, the
// switch, resumes, and a table of figures, which goes to `console` as Markdown too. `files`: of losses by
// position, to draw as well (positions_read); NULL for none. `published` adds the paper's figures to the
// table. Status 2 for names, 3 for files.
bool report_write(const char *const *runs, int count, const char *files, const char *out, bool published,
                  FILE *console, Error *error);

#ifdef __cplusplus
}
#endif
#endif
