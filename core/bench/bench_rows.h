// What the kinds of `bench` share: the measured rates, medians, and rows.
#ifndef CORE_BENCH_BENCH_ROWS_H
#define CORE_BENCH_BENCH_ROWS_H

#include "core/cost/floors.h"
#include "core/options/options.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *kind; // "attention", "step"
    json_t *shape;    // members that every row has
    Rates rates;
    bool quiet; // nothing is printed: another rank speaks
} BenchTable;

typedef struct {
    const char *name;
    double seconds;
    Floor floor;
    double tokens; // that the time is for; 0: no tokens a second
} BenchRow;

// Measures the device's rates and prints them.
bool bench_rates(BenchTable *table, const BenchApi *api, Error *error);

void bench_heading(const char *format, ...) __attribute__((format(printf, 1, 2)));

// `more`: further members of the JSON object, NULL for none; its reference is taken.
void bench_print(const BenchTable *table, const BenchRow *row, json_t *more);

// Sorts the values.
double bench_median(double *values, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
