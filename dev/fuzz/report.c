// log.jsonl and run.json as `report` reads them: drawn as a picture and as a page.
#include "harness.h"

#include "core/base/files.h"
#include "core/report/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"log.jsonl", "run.json", "../parent/log.jsonl", NULL};

void fuzz_report(const char *folder, const uint8_t *data, size_t size) {
    char *run = path_join(folder, "run"), *picture = path_join(folder, "report.svg"),
         *page = path_join(folder, "report.html");
    Error error;
    memset(&error, 0, sizeof error);
    fuzz_must(folders_make(run, &error), "no room for the input");
    fuzz_unpack(run, names, data, size);
    const char *runs[] = {run, run};
    FILE *null = fopen("/dev/null", "w");
    if (!report_write(runs, 1, NULL, picture, false, null, &error)) fuzz_refused(&error);
    if (!report_write(runs, 2, NULL, page, true, null, &error)) fuzz_refused(&error);
    fclose(null);
    free(run);
    free(picture);
    free(page);
}
