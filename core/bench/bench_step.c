// `bench step`: whole training steps, forward, backward and update, and what each part takes of them.
#include "core/bench/bench_kinds.h"
#include "core/bench/bench_rows.h"
#include "core/base/clock.h"
#include "core/engine/fit.h"
#include "core/engine/offload.h"
#include "core/cost/flops.h"
#include "core/base/json_file.h"
#include "core/cost/traffic.h"
#include "core/checkpoint/trainer_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const Options *options;
    const EngineApi *api;
    Ranks *ranks;
    BenchTable table;
    EngineConfig config;
    Engine *engine;
    size_t bytes;    // of the engine's plan
    int32_t *tokens; // (batch, N+1)
    int64_t step;    // updates made
} StepBench;

typedef struct {
    double seconds;
    double parts[PART_COUNT];
} StepTime;

static bool configure(StepBench *b, Error *error) {
    const Options *options = b->options;
    EngineConfig *config = &b->config;
    bool shaped = options->preset || options->source[OPTION_layers] == SOURCE_COMMAND_LINE;
    if (!shaped) {
        return error_set(
            error, STATUS_USAGE,
            "no model is given: name one with --preset, or give --layers and the other dimensions");
    }
    options_engine(options, config);
    config->ranks = b->ranks;
    config->micro_steps = 1;
    const char *dense = options->bench_attention == BENCH_DENSE ? "all" : options->dense_layers;
    return options_dense_layers(dense, options->layers, config->dense_layer, error);
}

// Bytes of the engine's plan, where it fits; 0 on error.
static size_t plan_bytes(const StepBench *b, const EngineConfig *config, Error *error) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    bool ok = b->api->plan(config, plan, error) && fit_check(b->api, config, plan, error);
    size_t bytes = ok ? plan->total : 0;
    free(plan);
    return bytes;
}

// An engine for this attention alone, and tokens for it.
static bool open_engine(StepBench *b, Attention attention, Error *error) {
    b->config.use_lighthouse = b->config.one_stage = attention == ATTENTION_LIGHTHOUSE;
    b->bytes = plan_bytes(b, &b->config, error);
    if (!ranks_agree(b->ranks, b->bytes > 0, error)) return false;
    b->engine = b->api->create(&b->config, error);
    if (!b->engine) return false;
    b->step = 0;
    engine_draw_weights(b->engine, 1, 1, false);
    int64_t count = b->config.batch * (b->config.context + 1);
    int64_t V = b->config.model.vocab_size < 256 ? b->config.model.vocab_size : 256;
    if (!b->tokens) b->tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *b->tokens);
    for (int64_t i = 0; i < count; i++) {
        b->tokens[i] = (int32_t)((uint64_t)i * 0x9e3779b97f4a7c15u >> 32) & 0x7fffffff;
        b->tokens[i] %= (int32_t)V;
    }
    return true;
}

static bool one_step(StepBench *b, Attention attention, double *seconds, Error *error) {
    AdamW adamw = {0};
    adamw.step = ++b->step;
    adamw.lr = 1e-4;
    adamw.beta1 = 0.9;
    adamw.beta2 = 0.95;
    adamw.eps = ADAMW_EPS;
    adamw.weight_decay = 0.1;
    adamw.clip = 1;
    int64_t targets = b->config.batch * b->config.context * b->ranks->data_size;
    double nats, norm, start = now();
    bool ok = engine_forward_backward(b->engine, b->tokens, attention, targets, &nats, error);
    if (!ranks_agree_worked(b->ranks, ok, error) ||
        !ranks_agree_worked(b->ranks, engine_update(b->engine, &adamw, &norm, error), error))
        return false;
    *seconds = now() - start;
    return true;
}

static int by_seconds(const void *a, const void *b) {
    double x = ((const StepTime *)a)->seconds, y = ((const StepTime *)b)->seconds;
    return (x > y) - (x < y);
}

// The median step of those that nothing disturbs; and the median one of those in which parts are told apart.
static bool time_steps(StepBench *b, Attention attention, double *median, StepTime *timed, Error *error) {
    int64_t repeats = b->options->repeats;
    double *seconds = (double *)alloc_or_exit((size_t)repeats, sizeof *seconds), ignored;
    StepTime *times = (StepTime *)alloc_or_exit((size_t)repeats, sizeof *times);
    bool ok = true;
    for (int64_t i = 0; ok && i < b->options->bench_warmup; i++) ok = one_step(b, attention, &ignored, error);
    for (int64_t i = 0; ok && i < repeats; i++) ok = one_step(b, attention, &seconds[i], error);
    for (int64_t i = 0; ok && i < repeats && !b->options->no_parts; i++) {
        engine_time_parts(b->engine, times[i].parts);
        ok = one_step(b, attention, &times[i].seconds, error);
    }
    engine_time_parts(b->engine, NULL);
    if (ok) {
        *median = bench_median(seconds, repeats);
        qsort(times, (size_t)repeats, sizeof *times, by_seconds);
        *timed = times[repeats / 2];
    }
    free(seconds);
    free(times);
    return ok;
}

// The least time of a part of this rank's work, and what it sends to others.
static Floor own_floor(const StepBench *b, Part part, Attention attention) {
    size_t element = b->api->bench->element_bytes;
    Floor floor = floor_part(part, &b->config, attention, element, &b->table.rates);
    double share = part == PART_OPTIMIZER ? b->ranks->size : b->ranks->context_size;
    Floor own = {floor.bytes / share, floor.flops / share, floor.seconds / share};
    if (part == PART_RANKS) {
        Traffic moved = traffic_update(&b->config, attention, b->config.batch,
                                       b->api == engine_cpu() ? &TRANSPORT_CPU : &TRANSPORT_CUDA);
        own.bytes = traffic_total(&moved);
    }
    if (part == PART_HOST) own.bytes = 2 * (offload_bytes(&b->config) + offload_update_bytes(&b->config));
    return own;
}

// What each part took of the step in which they are told apart.
static void print_parts(const StepBench *b, const char *attention, const StepTime *timed,
                        const Floor *floors) {
    double other = timed->seconds;
    for (int part = 0; part < PART_COUNT; part++) other -= timed->parts[part];
    for (int part = 0; part <= PART_COUNT; part++) {
        BenchRow row = {"other", other, {0, 0, 0}, 0};
        if (part < PART_COUNT) {
            BenchRow own = {part_name((Part)part), timed->parts[part], floors[part], 0};
            row = own;
        }
        if (part < PART_COUNT && row.seconds == 0 && row.floor.seconds == 0) continue;
        bench_print(&b->table, &row,
                    json_pack("{s:s, s:f}", "attention", attention, "share", row.seconds / timed->seconds));
    }
    fprintf(stderr, "parts of a step of %.3f ms in which they are told apart\n", timed->seconds * 1e3);
}

static void print_step(const StepBench *b, Attention attention, double median, const StepTime *timed) {
    char device[128];
    double peak = b->api->describe_device(device, sizeof device);
    double sequences = (double)(b->config.batch * b->ranks->data_size);
    double tokens = sequences * (double)b->config.context;
    double flops = flops_sequence(&b->config, b->config.context, attention) * sequences;
    double mfu = peak > 0 ? flops / median / peak / b->ranks->size : NAN;
    Floor floors[PART_COUNT], all = {0, 0, 0};
    for (int part = 0; part < PART_COUNT; part++) {
        floors[part] = own_floor(b, (Part)part, attention);
        if (part != PART_RANKS && part != PART_HOST) all = floor_sum(all, floors[part]);
    }
    const char *name = attention_name(attention);
    bench_heading("%s: %.0f tokens a step of %d rank%s, %.2f GB each; medians of %lld behind %lld", name,
                  tokens, b->ranks->size, b->ranks->size > 1 ? "s" : "", (double)b->bytes / 1e9,
                  (long long)b->options->repeats, (long long)b->options->bench_warmup);
    BenchRow step = {"step", median, all, tokens};
    json_t *more = json_pack("{s:s, s:o, s:f, s:I, s:I}", "attention", name, "mfu", json_number(mfu),
                             "memory_gb", (double)b->bytes / 1e9, "repeats", (json_int_t)b->options->repeats,
                             "warmup", (json_int_t)b->options->bench_warmup);
    if (!b->options->no_parts) json_object_set_new(more, "timed_ms", json_real(timed->seconds * 1e3));
    bench_print(&b->table, &step, more);
    if (mfu > 0) fprintf(stderr, "MFU %.1f %%\n", 100 * mfu);
    if (!b->options->no_parts) print_parts(b, name, timed, floors);
}

static json_t *step_json(const StepBench *b) {
    char device[128];
    b->api->describe_device(device, sizeof device);
    ParamTable table = param_table_create(&b->config.model, false);
    json_t *json = json_pack(
        "{s:s, s:i, s:i, s:s?, s:I, s:I, s:I, s:s, s:b, s:s, s:s, s:i}", "device", device, "ranks",
        b->ranks->size, "cp", b->ranks->context_size, "preset", b->options->preset, "parameters",
        (json_int_t)table.n_trained, "batch", (json_int_t)b->config.batch, "seq_len",
        (json_int_t)b->config.context, "dense_layers", b->options->dense_layers, "recompute",
        b->config.recompute, "matmul", choice_name(MATMUL_CHOICES, b->options->matmul), "offload",
        choice_name(OFFLOAD_CHOICES, b->options->offload), "zero", b->config.share_gradients ? 2 : 1);
    param_table_free(&table);
    return json;
}

// Lighthouse first, then dense.
static bool bench_attentions(StepBench *b, Error *error) {
    bool ok = true;
    for (int attention = ATTENTION_LIGHTHOUSE; ok && attention <= ATTENTION_DENSE; attention++) {
        int other = attention == ATTENTION_LIGHTHOUSE ? BENCH_DENSE : BENCH_LIGHTHOUSE;
        if (b->options->bench_attention == other) continue;
        StepTime timed;
        double median;
        ok = open_engine(b, (Attention)attention, error) &&
             time_steps(b, (Attention)attention, &median, &timed, error);
        if (ok && !b->table.quiet) print_step(b, (Attention)attention, median, &timed);
        engine_destroy(b->engine);
        b->engine = NULL;
    }
    return ok;
}

bool bench_step(const Options *options, const EngineApi *api, Ranks *ranks, Error *error) {
    StepBench b;
    memset(&b, 0, sizeof b);
    b.options = options;
    b.api = api;
    b.ranks = ranks;
    b.table.kind = "step";
    b.table.quiet = !ranks_first(ranks);
    bool ok = ranks_agree(ranks, configure(&b, error), error);
    if (ok) b.table.shape = step_json(&b);
    ok = ok && ranks_agree(ranks, bench_rates(&b.table, api->bench, error), error);
    ok = ok && bench_attentions(&b, error);
    free(b.tokens);
    json_decref(b.table.shape);
    return ok;
}
