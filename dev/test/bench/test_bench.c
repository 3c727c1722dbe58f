// bench: what it prints of a small layer and of small steps, floors against what the shapes give, and what it
// refuses.
#include "core/cost/floors.h"
#include "core/cost/flops.h"
#include "dev/test/support/program.h"
#include "dev/test/support/temporary_folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DENSE_LAYER                                                                                         \
    "bench attention --device cpu --seq-len 512 --heads 2 --kv-heads 1 --head-dim 64 --repeats 2 --warmup " \
    "1 "
#define LAYER DENSE_LAYER "--levels 2 --pool 2 --topk 128 "
#define STEP                                                                                                 \
    "bench step --device cpu --preset tiny --layers 3 --dense-layers 0 --seq-len 512 --levels 2 --topk 128 " \
    "--repeats 2 --warmup 1 "

// ---- rows

// All lines of standard output.
static json_t *rows_of(const char *line) {
    char *text = program_output("%s", line), *rest = NULL;
    json_t *rows = json_array();
    for (char *word = strtok_r(text, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest)) {
        json_t *row = json_loads(word, 0, NULL);
        if (!json_is_object(row)) fail_msg("%s: no JSON object: %s", line, word);
        json_array_append_new(rows, row);
    }
    free(text);
    return rows;
}

// The row of that name, of that attention unless NULL; NULL where there is none.
static json_t *find_row(json_t *rows, const char *name, const char *attention) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        const char *own = json_string_value(json_object_get(row, "attention"));
        if (strcmp(json_string_value(json_object_get(row, "name")), name) != 0) continue;
        if (!attention || (own && strcmp(own, attention) == 0)) return row;
    }
    return NULL;
}

static double number(json_t *rows, const char *name, const char *attention, const char *key) {
    const json_t *row = find_row(rows, name, attention);
    if (!row) fail_msg("no row \"%s\"", name);
    const json_t *value = json_object_get(row, key);
    if (!json_is_number(value)) fail_msg("row \"%s\" has no number \"%s\"", name, key);
    return json_number_value(value);
}

static void expect_near(double value, double expected, double relative) {
    if (fabs(value - expected) > relative * fabs(expected)) fail_msg("%.9g, expected %.9g", value, expected);
}

static const char *const PARTS[] = {"score",   "select and order", "gather",
                                    "scatter", "scatter backward", "gather backward"};

static void test_attention(void **state) {
    (void)state;
    json_t *rows = rows_of(LAYER);
    double copy = number(rows, "copy", NULL, "gb_per_s") * 1e9;
    double product = number(rows, "matrix product", NULL, "tflop_per_s") * 1e12;
    assert_true(copy > 0 && product > 0);
    assert_int_equal(json_array_size(rows), 2 + 12 + 2);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        assert_string_equal(json_string_value(json_object_get(row, "bench")), "attention");
        assert_int_equal(json_integer_value(json_object_get(row, "seq_len")), 512);
        assert_int_equal(json_integer_value(json_object_get(row, "kv_heads")), 1);
        assert_int_equal(json_integer_value(json_object_get(row, "rows")), 512 / 2 + 2 * 128);
        if (i < 2) continue;
        double ms = json_number_value(json_object_get(row, "ms"));
        double floor = json_number_value(json_object_get(row, "floor_ms"));
        double moving = json_number_value(json_object_get(row, "bytes")) / copy;
        double computing = json_number_value(json_object_get(row, "flops")) / product;
        assert_true(ms > 0 && floor > 0 && floor >= 1e3 * fmax(moving, computing) * (1 - 1e-5));
        expect_near(json_number_value(json_object_get(row, "ratio")), ms / floor, 1e-5);
    }
    for (i = 0; i < sizeof PARTS / sizeof *PARTS; i++) {
        expect_near(number(rows, PARTS[i], NULL, "floor_ms"),
                    1e3 * number(rows, PARTS[i], NULL, "bytes") / copy, 1e-5);
        expect_near(number(rows, PARTS[i], NULL, "tokens_per_s"), 512e3 / number(rows, PARTS[i], NULL, "ms"),
                    1e-5);
    }
    expect_near(number(rows, "lighthouse forward", NULL, "dense_over_this"),
                number(rows, "dense forward", NULL, "ms") / number(rows, "lighthouse forward", NULL, "ms"),
                1e-5);
    double moves = 0;
    const char *const moved[] = {"score", "gather", "scatter", "scatter backward"};
    for (i = 0; i < 4; i++) moves += number(rows, moved[i], NULL, "ms");
    expect_near(number(rows, "score, gather, both scatters", NULL, "ms"), moves, 1e-5);
    expect_near(number(rows, "all moves", NULL, "ms"), moves + number(rows, "gather backward", NULL, "ms"),
                1e-5);
    json_decref(rows);
}

// The whole layer and the whole step alone: the rates, then a row of each.
static void test_no_parts(void **state) {
    (void)state;
    json_t *rows = rows_of(LAYER "--no-parts");
    assert_int_equal(json_array_size(rows), 2 + 4);
    assert_true(number(rows, "lighthouse forward", NULL, "dense_over_this") > 0);
    json_decref(rows);
    rows = rows_of(STEP "--no-parts");
    assert_int_equal(json_array_size(rows), 2 + 2);
    assert_true(number(rows, "step", "lighthouse", "ms") > 0 && number(rows, "step", "dense", "ms") > 0);
    assert_null(json_object_get(find_row(rows, "step", "dense"), "timed_ms"));
    json_decref(rows);
}

static void test_attention_choices(void **state) {
    (void)state;
    json_t *rows = rows_of(DENSE_LAYER "--attention dense");
    assert_int_equal(json_array_size(rows), 4);
    assert_null(json_object_get(json_array_get(rows, 2), "rows"));
    json_decref(rows);
    static const char *const scorers[] = {"dilated", "gla"};
    for (int i = 0; i < 2; i++) {
        char line[512];
        snprintf(line, sizeof line, LAYER "--attention lighthouse --batch 2 --scorer %s", scorers[i]);
        rows = rows_of(line);
        assert_null(find_row(rows, "dense forward", NULL));
        assert_true(number(rows, "score", NULL, "flops") > 0);
        assert_true(number(rows, "gather, both scatters", NULL, "percent_of_copy") > 0);
        json_decref(rows);
    }
}

static void test_step(void **state) {
    (void)state;
    json_t *rows = rows_of(STEP);
    static const char *const attentions[] = {"lighthouse", "dense"};
    for (int a = 0; a < 2; a++) {
        const char *attention = attentions[a];
        double timed = number(rows, "step", attention, "timed_ms"), sum = 0, floor = 0, share = 0;
        json_t *row;
        size_t i;
        json_array_foreach(rows, i, row) {
            const char *own = json_string_value(json_object_get(row, "attention"));
            if (!own || strcmp(own, attention) != 0 || json_object_get(row, "timed_ms")) continue;
            sum += json_number_value(json_object_get(row, "ms"));
            floor += json_number_value(json_object_get(row, "floor_ms"));
            share += json_number_value(json_object_get(row, "share"));
        }
        expect_near(sum, timed, 1e-4);
        expect_near(share, 1, 1e-4);
        expect_near(number(rows, "step", attention, "floor_ms"), floor, 1e-4);
        double other = number(rows, "other", attention, "ms");
        assert_true(other >= -1e-3 && other < 0.05 * timed); // the parts are all of it
        expect_near(number(rows, "step", attention, "tokens_per_s"),
                    512e3 / number(rows, "step", attention, "ms"), 1e-4);
        assert_true(number(rows, "matrix products", attention, "ms") > 0);
        assert_true(number(rows, "elementwise", attention, "ms") > 0);
        assert_true(number(rows, "head and loss", attention, "ms") > 0);
        assert_true(number(rows, "embedding", attention, "ms") > 0);
        assert_true(number(rows, "optimizer", attention, "ms") > 0);
        assert_true(number(rows, "dense attention", attention, "ms") > 0);
    }
    assert_true(number(rows, "Lighthouse attention", "lighthouse", "ms") > 0);
    assert_null(find_row(rows, "Lighthouse attention", "dense"));
    assert_true(number(rows, "step", "lighthouse", "memory_gb") > number(rows, "step", "dense", "memory_gb"));
    json_decref(rows);
}

// ---- floors

static EngineConfig step_config(void) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    ModelConfig model = {30, 1024, 8, 4, 128, 1536, 128256, 10000, 1e-5};
    LighthouseConfig lighthouse = {SCORER_NORM, 3, 4, 1536, 4};
    config.model = model;
    config.lighthouse = lighthouse;
    config.dense_layer[0] = config.dense_layer[1] = config.dense_layer[28] = config.dense_layer[29] = true;
    config.batch = 2;
    config.context = 98304;
    return config;
}

// The parts' operations are those of the model as the utilisation counts them, and the scores that attention
// makes again; norms' weights aside.
static void test_floors_of_step(void **state) {
    (void)state;
    const Rates rates = {4e12, 7e14};
    EngineConfig config = step_config();
    for (int a = 0; a < 2; a++) {
        Attention attention = (Attention)a;
        double flops = 0, again = 0;
        for (int part = 0; part < PART_COUNT; part++)
            flops += floor_part((Part)part, &config, attention, 2, &rates).flops;
        for (int i = 0; i < 30; i++) {
            bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config.dense_layer[i];
            again += 2 * flops_attention(&config, config.context, lighthouse) / 6;
        }
        expect_near(flops, 2 * flops_sequence(&config, config.context, attention) + again, 1e-3);
    }
    Floor none = floor_part(PART_LIGHTHOUSE, &config, ATTENTION_DENSE, 2, &rates);
    assert_true(none.seconds == 0);
    // 38 bytes a parameter: float32 gradient for the norm, eight float32 accesses, a bf16 copy
    ParamTable table = param_table_create(&config.model, false);
    expect_near(floor_part(PART_OPTIMIZER, &config, ATTENTION_DENSE, 2, &rates).seconds,
                38.0 * (double)table.n_trained / rates.copy, 1e-9);
    param_table_free(&table);
    // 61 norms of 6 tensors; RoPE of 12 heads four times, eight tensors of SwiGLU
    double rows = 2 * 98304, width = 61 * 6 * 1024 + 30 * (4 * 12 * 128 + 8 * 1536);
    expect_near(floor_part(PART_ELEMENTWISE, &config, ATTENTION_DENSE, 2, &rates).bytes, 2 * rows * width,
                1e-12);
}

static void test_floors_of_layer(void **state) {
    (void)state;
    const Rates rates = {4e12, 7e14};
    LighthouseShape shape;
    Error error;
    LighthouseConfig config = {SCORER_NORM, 3, 4, 1536, 4};
    shape.config = config;
    shape.B = 2, shape.H = 8, shape.D = 128, shape.share = 2;
    assert_true(hierarchy_create(&config, 98304, &shape.hierarchy, &error));
    double heads = 16, row = 256, N = 98304, S = 18432, E = 98304 + 24576 + 6144;
    expect_near(floor_call(BENCH_SCORE, &shape, 2, false, &rates).bytes,
                1.5 * heads * N * row + 2 * heads * (E - N) * 4, 1e-12);
    expect_near(floor_call(BENCH_SCORE, &shape, 2, true, &rates).bytes, 2 * heads * E * 4, 1e-12);
    expect_near(floor_call(BENCH_GATHER, &shape, 2, false, &rates).bytes,
                2 * heads * N * row + 3 * heads * S * row + heads * S * 4, 1e-12);
    expect_near(floor_call(BENCH_SCATTER, &shape, 2, false, &rates).bytes,
                heads * N * row + heads * S * row + heads * E * 4, 1e-12);
    Floor attend = floor_call(BENCH_ATTEND, &shape, 2, false, &rates);
    expect_near(attend.flops, 2 * heads * S * S * 128, 1e-12);
    expect_near(attend.seconds, attend.flops / rates.product, 1e-12); // bound by its products
    Floor forward = floor_call(BENCH_DENSE_FORWARD, &shape, 2, false, &rates);
    Floor both = floor_call(BENCH_DENSE_BOTH, &shape, 2, false, &rates);
    expect_near(forward.flops, 2 * heads * N * N * 128, 1e-12);
    expect_near(both.flops, 7 * heads * N * N * 128, 1e-12);
    double seconds = 0;
    for (int part = 0; part < BENCH_LAYER_PARTS; part++)
        seconds += floor_call((BenchCall)part, &shape, 2, false, &rates).seconds;
    expect_near(floor_call(BENCH_LIGHTHOUSE_BOTH, &shape, 2, false, &rates).seconds, seconds, 1e-12);
}

// ---- refusals

static void test_refusals(void **state) {
    (void)state;
    program_expect(2, "error: bench: say what to time, bench attention or bench step", "bench");
    program_expect(2, "bench layer: say what to time", "bench layer");
    program_expect(2, "no model is given", "bench step --device cpu");
    free(program_output("bench step --device cpu --preset tiny --layers 1 --seq-len 64 --attention dense "
                        "--repeats 1 --no-parts")); // of one layer, whatever layers Lighthouse would leave
    program_expect(2, "--preset big: there are", "bench step --preset big --device cpu");
    program_expect(2, "--kv-heads 3 does not divide", "bench attention --device cpu --kv-heads 3");
    program_expect(2, "--head-dim", "bench attention --device cpu --head-dim 80");
    program_expect(2, "--topk 100", "bench attention --device cpu --topk 100");
    program_expect(2, "--repeats 0: must be from 1", "bench attention --repeats 0");
    program_expect(4, "fit no machine",
                   "bench attention --device cpu --attention dense --seq-len 1e9 --batch 1e6");
    program_expect(4, "memory are needed", "bench attention --device cpu --attention dense --seq-len 1e9");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),         cmocka_unit_test(test_no_parts),
        cmocka_unit_test(test_attention_choices), cmocka_unit_test(test_step),
        cmocka_unit_test(test_floors_of_step),    cmocka_unit_test(test_floors_of_layer),
        cmocka_unit_test(test_refusals),
    };
    program_find();
    return cmocka_run_group_tests(tests, temporary_folder_enter, temporary_folder_leave);
}
