// `bench attention`: one layer, dense and Lighthouse, forward and forward with backward, and its parts.
#include "core/bench/bench_kinds.h"
#include "core/bench/bench_rows.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    BenchCall call;
    const char *name;
} CALLS[] = {
    {BENCH_DENSE_FORWARD, "dense forward"},
    {BENCH_DENSE_BOTH, "dense forward+backward"},
    {BENCH_LIGHTHOUSE_FORWARD, "lighthouse forward"},
    {BENCH_LIGHTHOUSE_BOTH, "lighthouse forward+backward"},
    {BENCH_SCORE, "score"},
    {BENCH_SELECT, "select and order"},
    {BENCH_GATHER, "gather"},
    {BENCH_ATTEND, "sdpa of S rows"},
    {BENCH_SCATTER, "scatter"},
    {BENCH_SCATTER_BACKWARD, "scatter backward"},
    {BENCH_ATTEND_BACKWARD, "sdpa of S rows backward"},
    {BENCH_GATHER_BACKWARD, "gather backward"},
};
#define CALL_COUNT ((int)(sizeof CALLS / sizeof *CALLS))

static bool is_dense(BenchCall call) {
    return call == BENCH_DENSE_FORWARD || call == BENCH_DENSE_BOTH;
}

static bool is_wanted(BenchCall call, const BenchLayer *layer, const Options *options) {
    if (is_dense(call)) return layer->dense;
    return layer->lighthouse && !(options->no_parts && call < BENCH_LAYER_PARTS);
}

static bool describe_layer(const Options *options, BenchLayer *layer, Error *error) {
    memset(layer, 0, sizeof *layer);
    layer->dense = options->bench_attention != BENCH_LIGHTHOUSE;
    layer->lighthouse = options->bench_attention != BENCH_DENSE;
    layer->deterministic = options->deterministic;
    layer->shape.config = options_lighthouse(options);
    layer->shape.B = options->batch;
    layer->shape.H = options->heads;
    layer->shape.D = options->head_dim;
    layer->shape.share = options->heads / options->kv_heads;
    layer->shape.hierarchy.n = options->seq_len;
    return !layer->lighthouse ||
           hierarchy_create(&layer->shape.config, options->seq_len, &layer->shape.hierarchy, error);
}

// So many that the call that moves least has moved twice the cache when its first copy's turn comes again.
static int64_t copies_wanted(const BenchLayer *layer, const Options *options, const BenchApi *api,
                             const Rates *rates) {
    double cache = 2 * (double)api->cache_bytes(), least = cache;
    for (int i = 0; i < CALL_COUNT; i++) {
        if (!is_wanted(CALLS[i].call, layer, options)) continue;
        double bytes = floor_call(CALLS[i].call, &layer->shape, api->element_bytes, false, rates).bytes;
        if (bytes < least) least = bytes;
    }
    return cache > 0 ? 1 + (int64_t)(cache / least) : 1;
}

static json_t *layer_json(const Options *options, const BenchLayer *layer, const EngineApi *api) {
    char device[128];
    api->describe_device(device, sizeof device);
    json_t *json =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "device", device, "batch", (json_int_t)options->batch,
                  "seq_len", (json_int_t)options->seq_len, "heads", (json_int_t)options->heads, "kv_heads",
                  (json_int_t)options->kv_heads, "head_dim", (json_int_t)options->head_dim);
    if (layer->lighthouse) {
        json_t *lighthouse = json_pack(
            "{s:s, s:I, s:I, s:I, s:I, s:I}", "scorer", SCORER_TABLE[options->scorer].name, "levels",
            (json_int_t)options->levels, "pool", (json_int_t)options->pool, "topk", (json_int_t)options->topk,
            "dilation", (json_int_t)options->dilation, "rows", (json_int_t)layer->shape.hierarchy.n_selected);
        json_object_update(json, lighthouse);
        json_decref(lighthouse);
    }
    return json;
}

// Parts that only move rows, together, against a copy of as many bytes.
static void print_moves(const BenchTable *table, const char *name, const BenchCall *moves, int count,
                        const double *seconds, const Floor *floors) {
    BenchRow row = {name, 0, {0, 0, 0}, 0};
    for (int i = 0; i < count; i++) {
        row.seconds += seconds[moves[i]];
        row.floor = floor_sum(row.floor, floors[moves[i]]);
    }
    double percent = 100 * row.floor.bytes / row.seconds / table->rates.copy;
    bench_print(table, &row, json_pack("{s:f}", "percent_of_copy", percent));
    fprintf(stderr, "%36s%.1f %% of copy speed\n", "", percent);
}

// Scores count where they are norms. "Both scatters": the scatter and its backward; "all moves" has the
// backward of the gather too.
static void print_sums(const BenchTable *table, const BenchLayer *layer, const double *seconds,
                       const Floor *floors) {
    static const BenchCall moves[] = {BENCH_SCORE, BENCH_GATHER, BENCH_SCATTER, BENCH_SCATTER_BACKWARD,
                                      BENCH_GATHER_BACKWARD};
    int first = SCORER_TABLE[layer->shape.config.scorer].with_rope ? 0 : 1;
    print_moves(table, first == 0 ? "score, gather, both scatters" : "gather, both scatters", moves + first,
                4 - first, seconds, floors);
    print_moves(table, "all moves", moves + first, 5 - first, seconds, floors);
    fprintf(stderr, "select and order: %.1f us\n", seconds[BENCH_SELECT] * 1e6);
}

static bool time_calls(const BenchTable *table, const Options *options, const BenchLayer *layer, Bench *bench,
                       Error *error) {
    double medians[BENCH_PRODUCT] = {0};
    Floor floors[BENCH_PRODUCT];
    double *seconds = (double *)alloc_or_exit((size_t)options->repeats, sizeof *seconds);
    bool ok = true;
    bench_heading("one layer: %lld sequences of %lld tokens, %lld/%lld heads of %lld; %lld copies in turn",
                  (long long)options->batch, (long long)options->seq_len, (long long)options->heads,
                  (long long)options->kv_heads, (long long)options->head_dim, (long long)bench->copies);
    for (int i = 0; ok && i < CALL_COUNT; i++) {
        BenchCall call = CALLS[i].call;
        if (!is_wanted(call, layer, options)) continue;
        ok = bench->api->time(bench, call, options->bench_warmup, options->repeats, seconds, error);
        if (!ok) break;
        medians[call] = bench_median(seconds, options->repeats);
        floors[call] = floor_call(call, &layer->shape, bench->api->element_bytes, false, &table->rates);
        BenchRow row = {CALLS[i].name, medians[call], floors[call],
                        (double)(options->batch * options->seq_len)};
        json_t *more = json_pack("{s:f}", "fastest_ms", seconds[0] * 1e3);
        BenchCall dense = call == BENCH_LIGHTHOUSE_FORWARD ? BENCH_DENSE_FORWARD : BENCH_DENSE_BOTH;
        if ((call == BENCH_LIGHTHOUSE_FORWARD || call == BENCH_LIGHTHOUSE_BOTH) && medians[dense] > 0) {
            json_object_set_new(more, "dense_over_this", json_real(medians[dense] / medians[call]));
        }
        bench_print(table, &row, more);
    }
    if (ok && layer->lighthouse && !options->no_parts) print_sums(table, layer, medians, floors);
    free(seconds);
    return ok;
}

bool bench_attention(const Options *options, const EngineApi *api, Error *error) {
    BenchLayer layer;
    BenchTable table;
    memset(&table, 0, sizeof table);
    if (!describe_layer(options, &layer, error)) return false;
    table.kind = "attention";
    table.shape = layer_json(options, &layer, api);
    bool ok = bench_rates(&table, api->bench, error);
    Bench *bench = NULL;
    if (ok) {
        layer.copies = copies_wanted(&layer, options, api->bench, &table.rates);
        bench = api->bench->create(&layer, error);
    }
    ok = bench && time_calls(&table, options, &layer, bench, error);
    if (bench) api->bench->destroy(bench);
    json_decref(table.shape);
    return ok;
}
