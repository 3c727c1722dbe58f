// Rates and rows of `bench`; see bench_rows.h.
#include "core/bench/bench_rows.h"

#include "core/base/json_file.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int64_t count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static void print_json(const BenchTable *table, const char *name, json_t *members) {
    json_t *json = json_pack("{s:s, s:s}", "bench", table->kind, "name", name);
    json_object_update(json, members);
    json_object_update(json, table->shape);
    json_dumpf(json, stdout, JSON_REAL_PRECISION(7));
    printf("\n");
    fflush(stdout);
    json_decref(json);
    json_decref(members);
}

static bool measure_rate(Bench *bench, BenchCall call, double work, double *rate, Error *error) {
    double seconds[7];
    const int64_t count = sizeof seconds / sizeof *seconds;
    if (!bench->api->time(bench, call, 5, count, seconds, error)) return false;
    *rate = work / bench_median(seconds, count);
    return true;
}

bool bench_rates(BenchTable *table, const BenchApi *api, Error *error) {
    double edge = (double)api->product_edge;
    Bench *bench = api->create(NULL, error);
    bool ok = bench &&
              measure_rate(bench, BENCH_COPY, 2.0 * (double)api->copy_bytes, &table->rates.copy, error) &&
              measure_rate(bench, BENCH_PRODUCT, 2 * edge * edge * edge, &table->rates.product, error);
    if (bench) api->destroy(bench);
    if (!ok || table->quiet) return ok;
    print_json(table, "copy",
               json_pack("{s:f, s:I}", "gb_per_s", table->rates.copy * 1e-9, "bytes",
                         (json_int_t)(2 * api->copy_bytes)));
    print_json(table, "matrix product",
               json_pack("{s:f, s:I}", "tflop_per_s", table->rates.product * 1e-12, "edge",
                         (json_int_t)api->product_edge));
    fprintf(stderr, "copy %.1f GB/s (read and written), matrix product of %lld: %.2f TFLOP/s\n",
            table->rates.copy * 1e-9, (long long)api->product_edge, table->rates.product * 1e-12);
    return true;
}

void bench_heading(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "\n");
    vfprintf(stderr, format, values);
    va_end(values);
    fprintf(stderr, "\n%-34s %11s %11s %7s %11s %11s %12s\n", "", "ms", "floor ms", "ratio", "GB", "TFLOP",
            "tokens/s");
}

static void print_cell(int width, int decimals, double value) {
    if (isfinite(value) && value > 0) {
        fprintf(stderr, " %*.*f", width, decimals, value);
    } else {
        fprintf(stderr, " %*s", width, "-");
    }
}

void bench_print(const BenchTable *table, const BenchRow *row, json_t *more) {
    assert(!table->quiet);
    double ratio = row->floor.seconds > 0 ? row->seconds / row->floor.seconds : NAN;
    double speed = row->tokens > 0 ? row->tokens / row->seconds : NAN;
    json_t *members = json_pack("{s:f, s:f, s:o, s:I, s:I, s:o}", "ms", row->seconds * 1e3, "floor_ms",
                                row->floor.seconds * 1e3, "ratio", json_number(ratio), "bytes",
                                (json_int_t)row->floor.bytes, "flops", (json_int_t)row->floor.flops,
                                "tokens_per_s", json_number(speed));
    json_object_update(members, more);
    json_decref(more);
    print_json(table, row->name, members);

    fprintf(stderr, "%-34s", row->name);
    print_cell(11, 3, row->seconds * 1e3);
    print_cell(11, 3, row->floor.seconds * 1e3);
    print_cell(7, 2, ratio);
    print_cell(11, 4, row->floor.bytes * 1e-9);
    print_cell(11, 4, row->floor.flops * 1e-12);
    print_cell(12, 0, speed);
    fprintf(stderr, "\n");
}
