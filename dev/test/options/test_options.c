// The option table and its presets: settings there and back through JSON, the order of sources, and sizes of
// the presets' models.
#include "core/base/files.h"
#include "core/options/options.h"
#include "core/options/help.h"
#include "core/model/hierarchy.h"
#include "core/model/model.h"
#include "core/options/options_table.h"
#include "dev/test/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Parses the words of a line.
static Options parsed(const char *line) {
    char text[1024], *words[64] = {(char *)"train_gpt_lighthouse"}, *rest = NULL;
    int count = 1;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    Options options;
    Error error;
    bool done;
    if (!options_parse(&options, count, words, &done, &error)) fail_msg("%s: %s", line, error.message);
    assert_false(done);
    return options;
}

static int option_named(const char *name, Command command) {
    for (int i = 0; i < OPTION_COUNT; i++)
        if ((OPTION_TABLE[i].commands & command) && strcmp(OPTION_TABLE[i].name, name) == 0) return i;
    fail_msg("no option --%s", name);
    return -1;
}

static void set(Options *options, const char *name, const char *text, Source source) {
    Error error;
    if (!options_set(options, option_named(name, COMMAND_TRAIN), text, source, &error))
        fail_msg("%s", error.message);
}

// ---- The table

static void test_table(void **state) {
    (void)state;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionRow *row = &OPTION_TABLE[i];
        assert_true(row->help[0] && row->group[0] && row->commands);
        if (row->flags & OPTION_STEERS)
            assert_true(row->commands & COMMAND_TRAIN); // settings are those of a run
        if (row->flags & OPTION_FIXED) assert_true(row->flags & OPTION_STEERS);
        for (int j = 0; j < i; j++) { // a word means one thing to a command
            bool same = strcmp(OPTION_TABLE[j].name, row->name) == 0;
            if (same && (OPTION_TABLE[j].commands & row->commands)) fail_msg("--%s stands twice", row->name);
        }
    }
}

static void test_defaults(void **state) {
    (void)state;
    Options options = parsed("train");
    assert_true(options.lr == 2e-3 && options.beta2 == 0.95 && options.weight_decay == 0.1);
    assert_int_equal(options.steps, 16000);
    assert_int_equal(options.global_batch, 32);
    assert_int_equal(options.attention, ATTENTION_LIGHTHOUSE);
    assert_string_equal(options.dense_layers, "0,1,-2,-1");
    assert_null(options.data);
    options_free(&options);
}

static void test_equals_sign(void **state) {
    (void)state;
    Options options =
        parsed("train --lr=0.5 --data=a=b --deterministic --dry-run=false --dense-layers -1,-2");
    assert_true(options.lr == 0.5 && options.deterministic && !options.dry_run);
    assert_string_equal(options.data, "a=b");
    assert_string_equal(options.dense_layers, "-1,-2");
    options_free(&options);
    options = parsed("pack one two --no-shuffle three --out x");
    assert_int_equal(options.n_inputs, 3);
    assert_string_equal(options.inputs[2], "three");
    options_free(&options);
}

// ---- Settings

// Another value than the default, for every option that steers a run.
static void other_value(const OptionRow *row, char *text, size_t size) {
    double number = row->default_text && row->type != OPTION_TYPE_TEXT ? strtod(row->default_text, NULL) : 0;
    switch (row->type) {
    case OPTION_TYPE_INT:
        snprintf(text, size, "%.0f", number + 1 <= row->highest ? number + 1 : number - 1);
        break;
    case OPTION_TYPE_REAL: snprintf(text, size, "%.17g", number > 0.3 ? number / 3 : number + 1.0 / 3); break;
    case OPTION_TYPE_TEXT:
        snprintf(text, size, "%s",
                 row == &OPTION_TABLE[OPTION_no_rope_layers] ? "1"
                 : row == &OPTION_TABLE[OPTION_rope_scaling] ? "linear:factor=2"
                                                             : "\"quoted\" \\ \xc3\xa4 *.bin");
        break;
    case OPTION_TYPE_CHOICE:
        for (const Choice *c = row->choices; c->name; c++) snprintf(text, size, "%s", c->name); // the last
        break;
    case OPTION_TYPE_FLAG: snprintf(text, size, "true"); break;
    }
}

// Every setting comes back from run.json's text as it went in, and a change of any is told.
static void test_settings_round_trip(void **state) {
    (void)state;
    Options options = parsed("train");
    for (int i = 0; i < OPTION_COUNT; i++) {
        char text[128];
        Error error;
        if (!(OPTION_TABLE[i].flags & OPTION_STEERS)) continue;
        other_value(&OPTION_TABLE[i], text, sizeof text);
        if (!options_set(&options, i, text, SOURCE_COMMAND_LINE, &error)) fail_msg("%s", error.message);
    }
    json_t *settings = options_settings(&options);
    char *text = json_dumps(settings, JSON_REAL_PRECISION(17));
    json_t *read = json_loads(text, 0, NULL);
    free(text);

    Options again = parsed("train");
    Error error;
    char *changes = options_describe_changes(&again, read, NULL);
    for (int i = 0; i < OPTION_COUNT; i++) {
        char change[80];
        snprintf(change, sizeof change, "%s ", OPTION_TABLE[i].name);
        if (OPTION_TABLE[i].flags & OPTION_STEERS) assert_non_null(strstr(changes, change));
    }
    free(changes);
    assert_false(options_check_fixed(&again, read, &error));
    assert_int_equal(error.status, STATUS_USAGE);

    assert_true(options_read_settings(&again, read, SOURCE_CONFIG, "run.json", &error));
    json_t *written = options_settings(&again);
    assert_true(json_equal(settings, written));
    changes = options_describe_changes(&again, read, NULL);
    assert_string_equal(changes, "");
    free(changes);
    assert_true(options_check_fixed(&again, read, &error));
    json_decref(settings);
    json_decref(read);
    json_decref(written);
    options_free(&options);
    options_free(&again);
}

// Settings of before an option was there are those of today's default model.
static void test_settings_of_before(void **state) {
    (void)state;
    Options options = parsed("train");
    json_t *settings = options_settings(&options);
    Error error;
    json_object_del(settings, "family");
    json_object_del(settings, "sliding-window");
    json_object_del(settings, "rope-scaling");
    json_object_del(settings, "no-rope-layers");
    assert_false(options_check_fixed(&options, settings, &error));
    options_complete_settings(settings);
    expect_ok(options_check_fixed(&options, settings, &error), &error);
    set(&options, "family", "mistral", SOURCE_COMMAND_LINE);
    assert_false(options_check_fixed(&options, settings, &error));
    json_decref(settings);
    options_free(&options);
}

// Default, init, resume, preset, config, command line: whatever the order in which they come.
static void test_sources(void **state) {
    (void)state;
    Options options = parsed("train --steps 7 --preset tiny");
    Error error;
    assert_true(options_apply_preset(&options, &error));
    assert_int_equal(options.steps, 7);
    assert_int_equal(options.layers, 6);
    set(&options, "layers", "9", SOURCE_RESUME);
    assert_int_equal(options.layers, 6);
    set(&options, "layers", "8", SOURCE_CONFIG);
    assert_int_equal(options.layers, 8);
    assert_true(options_apply_preset(&options, &error));
    assert_int_equal(options.layers, 8);
    set(&options, "lr", "0.5", SOURCE_INIT);
    assert_true(options.lr != 0.5 && options.lr != 2e-3); // the preset's
    set(&options, "beta1", "0.5", SOURCE_INIT);
    assert_true(options.beta1 == 0.5);
    // What is impossible is refused even where a later source has set the option.
    assert_false(options_set(&options, OPTION_steps, "many", SOURCE_PRESET, &error));
    options_free(&options);
}

static void test_dense_layers(void **state) {
    (void)state;
    bool dense[MODEL_MAX_LAYERS];
    Error error;
    assert_true(options_dense_layers("0,1,-2,-1", 30, dense, &error));
    for (int i = 0; i < 30; i++) assert_int_equal(dense[i], i < 2 || i >= 28);
    assert_true(options_dense_layers("none", 3, dense, &error));
    assert_false(dense[0] || dense[1] || dense[2]);
    assert_true(options_dense_layers("all", 3, dense, &error));
    assert_true(dense[0] && dense[1] && dense[2]);
    assert_true(options_dense_layers("1", 3, dense, &error));
    assert_true(!dense[0] && dense[1] && !dense[2]);
}

// ---- Presets

static void test_presets(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters, context;
    } wanted[] = {{"530m", 530117632, 98304},         {"270m", 268104704, 98304},
                  {"small", 27079168, 16384},         {"2b", INT64_C(2136049664), 98304},
                  {"8b", INT64_C(8030261248), 98304}, {"tiny", 0, 2048}};
    assert_int_equal(sizeof wanted / sizeof *wanted, PRESET_COUNT);
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        char line[64];
        Error error;
        snprintf(line, sizeof line, "train --preset %s", wanted[i].name);
        Options options = parsed(line);
        assert_true(options_apply_preset(&options, &error));
        ModelConfig model = options_model(&options);
        LighthouseConfig lighthouse = options_lighthouse(&options);
        Hierarchy hierarchy;
        assert_true(model_config_check(&model, &error));
        assert_int_equal(options.seq_len, wanted[i].context);
        assert_true(hierarchy_create(&lighthouse, options.seq_len, &hierarchy, &error));
        assert_true(hierarchy.n_selected < hierarchy.n); // else Lighthouse would gain nothing
        ParamTable table = param_table_create(&model, false);
        if (wanted[i].parameters) {
            assert_int_equal(table.n_trained, wanted[i].parameters);
        } else {
            assert_in_range(table.n_trained, 800000, 1300000);
            assert_true(options.layers >= 6 && options.head_dim == 64);
        }
        param_table_free(&table);
        options_free(&options);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_equals_sign),
        cmocka_unit_test(test_settings_round_trip),
        cmocka_unit_test(test_settings_of_before),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_dense_layers),
        cmocka_unit_test(test_presets),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL) ? 1 : 0;
}
