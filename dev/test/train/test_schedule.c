// Learning rates at the borders of every schedule, and the stage of an update.
#include "core/cost/flops.h"
#include "core/train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

// 100 updates, 10 of them warm-up.
static Options make(int schedule) {
    Options options;
    memset(&options, 0, sizeof options);
    options.schedule = schedule;
    options.lr = 2e-3;
    options.min_lr = 1e-4;
    options.warmup = 10;
    options.steps = 100;
    options.decay_steps = 20;
    return options;
}

static void assert_lr(const Options *options, int64_t step, double expected) {
    double lr = schedule_lr(options, step);
    if (!(fabs(lr - expected) <= 1e-15)) fail_msg("update %d: %.17g, not %.17g", (int)step, lr, expected);
}

static void test_warmup(void **state) {
    (void)state;
    for (int schedule = SCHEDULE_CONSTANT; schedule <= SCHEDULE_WSD; schedule++) {
        Options options = make(schedule);
        assert_lr(&options, 0, 2e-3 / 10);
        assert_lr(&options, 4, 1e-3);
        assert_lr(&options, 8, 2e-3 * 9 / 10);
        assert_lr(&options, 9, 2e-3);
    }
}

static void test_constant(void **state) {
    (void)state;
    Options options = make(SCHEDULE_CONSTANT);
    assert_lr(&options, 10, 2e-3);
    assert_lr(&options, 99, 2e-3);
    assert_lr(&options, 100000, 2e-3);
    options.warmup = 0;
    assert_lr(&options, 0, 2e-3);
}

static void test_linear(void **state) {
    (void)state;
    Options options = make(SCHEDULE_LINEAR);
    assert_lr(&options, 10, 1e-4 + 1.9e-3 * 89 / 90);
    assert_lr(&options, 54, 1e-4 + 1.9e-3 / 2);
    assert_lr(&options, 98, 1e-4 + 1.9e-3 / 90);
    assert_lr(&options, 99, 1e-4);
    assert_lr(&options, 150, 1e-4);
    options.warmup = 0;
    assert_lr(&options, 0, 1e-4 + 1.9e-3 * 99 / 100);
}

static void test_cosine(void **state) {
    (void)state;
    Options options = make(SCHEDULE_COSINE);
    assert_lr(&options, 10, 1e-4 + 1.9e-3 * (1 + cos(M_PI / 90)) / 2);
    assert_lr(&options, 39, 1e-4 + 1.9e-3 * 0.75); // a third of the way
    assert_lr(&options, 54, 1e-4 + 1.9e-3 / 2);
    assert_lr(&options, 69, 1e-4 + 1.9e-3 * 0.25);
    assert_lr(&options, 99, 1e-4);
    assert_lr(&options, 150, 1e-4);
}

static void test_wsd(void **state) {
    (void)state;
    Options options = make(SCHEDULE_WSD);
    assert_lr(&options, 10, 2e-3);
    assert_lr(&options, 79, 2e-3); // 80 … 99 decay
    assert_lr(&options, 80, 1e-4 + 1.9e-3 * 19 / 20);
    assert_lr(&options, 89, 1e-4 + 1.9e-3 / 2);
    assert_lr(&options, 99, 1e-4);
    assert_lr(&options, 150, 1e-4);
    options.decay_steps = 0;
    assert_lr(&options, 99, 2e-3);
}

static void test_attention(void **state) {
    (void)state;
    Options options = make(SCHEDULE_CONSTANT);
    options.attention = ATTENTION_LIGHTHOUSE;
    assert_int_equal(schedule_attention(&options, 0), ATTENTION_LIGHTHOUSE);
    assert_int_equal(schedule_attention(&options, 99), ATTENTION_LIGHTHOUSE);
    options.switch_at = 60;
    assert_int_equal(schedule_attention(&options, 0), ATTENTION_LIGHTHOUSE);
    assert_int_equal(schedule_attention(&options, 59), ATTENTION_LIGHTHOUSE);
    assert_int_equal(schedule_attention(&options, 60), ATTENTION_DENSE);
    assert_int_equal(schedule_attention(&options, 99), ATTENTION_DENSE);
    options.attention = ATTENTION_DENSE;
    assert_int_equal(schedule_attention(&options, 0), ATTENTION_DENSE);
}

static void test_end(void **state) {
    (void)state;
    Options options = make(SCHEDULE_CONSTANT);
    assert_int_equal(schedule_end(&options), 100);
    options.stop_at = 40;
    assert_int_equal(schedule_end(&options), 40);
    options.stop_at = 101;
    assert_int_equal(schedule_end(&options), 100);
}

// Of 100 updates 60 under Lighthouse attention; the dense ones take as many times as long as they have FLOPs.
static void test_left(void **state) {
    (void)state;
    Options options = make(SCHEDULE_CONSTANT);
    EngineConfig config;
    memset(&config, 0, sizeof config);
    ModelConfig model = {2, 64, 2, 1, 64, 128, 264, 10000, 1e-5};
    LighthouseConfig lighthouse = {SCORER_NORM, 3, 4, 128, 4};
    config.model = model;
    config.lighthouse = lighthouse;
    options.seq_len = 16384;
    double times = flops_sequence(&config, 16384, ATTENTION_DENSE) /
                   flops_sequence(&config, 16384, ATTENTION_LIGHTHOUSE);
    assert_true(times > 2);
    assert_true(schedule_left(&options, &config, 1) == 99);
    options.switch_at = 60;
    assert_true(schedule_left(&options, &config, 1) == 59 + 40 * times);
    assert_true(schedule_left(&options, &config, 60) == 40 * times);
    assert_true(schedule_left(&options, &config, 61) == 39);
    options.stop_at = 60;
    assert_true(schedule_left(&options, &config, 1) == 59);
    options.stop_at = 0;
    options.switch_at = 0;
    options.attention = ATTENTION_DENSE;
    assert_true(schedule_left(&options, &config, 100) == 0);
}

// ---- Settings that fit each other or do not

// A run of 100 updates, all as given on the command line.
static Options make_given(int schedule, int64_t warmup, int64_t decay) {
    Options options = make(schedule);
    options.warmup = warmup;
    options.decay_steps = decay;
    for (int i = 0; i < OPTION_COUNT; i++) options.source[i] = SOURCE_COMMAND_LINE;
    return options;
}

// What the check says: an error, or else its warnings, which are gone after the next call.
static const char *said_of(const Options *options, bool *ok) {
    static char text[4096];
    Error error = {0, ""};
    FILE *file = tmpfile();
    fflush(stderr);
    int terminal = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    *ok = schedule_check(options, &error);
    fflush(stderr);
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    if (!*ok) snprintf(text, sizeof text, "%d %s", error.status, error.message);
    return text;
}

static void expect_refused(Options options, const char *part) {
    bool ok;
    const char *said = said_of(&options, &ok);
    if (ok || strncmp(said, "2 ", 2) != 0 || !strstr(said, part)) fail_msg("'%s', not '%s'", said, part);
}

static void expect_warned(Options options, const char *part) {
    bool ok;
    const char *said = said_of(&options, &ok);
    if (!ok || !strstr(said, part)) fail_msg("'%s', not '%s'", said, part);
}

static void expect_silent(Options options) {
    bool ok;
    const char *said = said_of(&options, &ok);
    if (!ok || said[0]) fail_msg("'%s'", said);
}

static void test_ramps(void **state) {
    (void)state;
    expect_silent(make_given(SCHEDULE_WSD, 80, 20));
    expect_refused(
        make_given(SCHEDULE_WSD, 81, 20),
        "--warmup 81 leaves --schedule wsd --decay-steps 20 no room in --steps 100: the warm-up may "
        "take 80");
    expect_refused(make_given(SCHEDULE_WSD, 2000, 100), "the warm-up may take 0");
    expect_silent(make_given(SCHEDULE_WSD, 0, 100));
    expect_silent(make_given(SCHEDULE_LINEAR, 99, 0));
    expect_refused(make_given(SCHEDULE_LINEAR, 100, 0), "leaves --schedule linear no room in --steps 100");
    expect_refused(make_given(SCHEDULE_COSINE, 2000, 0), "leaves --schedule cosine no room in --steps 100");
    Options options = make_given(SCHEDULE_COSINE, 2000, 0);
    options.source[OPTION_warmup] = SOURCE_DEFAULT;
    expect_refused(options, "--warmup 2000 (the default) leaves");
    for (int i = 0; i < OPTION_COUNT; i++) options.source[i] = SOURCE_RESUME;
    expect_warned(options, "the run to resume began so, and goes on");
    options.source[OPTION_steps] = SOURCE_COMMAND_LINE;
    expect_refused(options, "no room in --steps 100");
}

static void test_long_warmup(void **state) {
    (void)state;
    expect_silent(make_given(SCHEDULE_CONSTANT, 99, 0));
    Options options = make_given(SCHEDULE_CONSTANT, 2000, 0);
    options.steps = 20;
    options.source[OPTION_warmup] = SOURCE_DEFAULT;
    expect_warned(options,
                  "--warmup 2000 (the default) is as long as the run of --steps 20 or longer: the last "
                  "update has lr 2e-05, of --lr 0.002");
    expect_warned(make_given(SCHEDULE_CONSTANT, 100, 0), "--warmup 100 is as long");
}

static void test_never(void **state) {
    (void)state;
    char val[] = "val.bin";
    Options options = make_given(SCHEDULE_CONSTANT, 0, 0);
    options.val = val;
    options.val_every = options.checkpoint_every = 100;
    expect_silent(options);
    options.val_every = 101;
    expect_warned(options, "--val-every 101: the run has --steps 100, so that comes at its end alone");
    options.source[OPTION_val_every] = SOURCE_DEFAULT;
    expect_silent(options);
    options.val_every = 0;
    options.source[OPTION_val] = SOURCE_CONFIG;
    expect_silent(options);
    options.source[OPTION_val] = SOURCE_COMMAND_LINE;
    expect_warned(options, "--val val.bin is not used: with --val-every 0 no update is validated");
    options.source[OPTION_val] = SOURCE_CONFIG;
    options.checkpoint_every = 1000;
    expect_warned(options, "--checkpoint-every 1000: the run has --steps 100");
    options.source[OPTION_checkpoint_every] = SOURCE_PRESET;
    expect_silent(options);
    options.lr = 0;
    options.min_lr = 0;
    expect_warned(options, "--lr 0: no update changes the model");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup),      cmocka_unit_test(test_constant), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_cosine),      cmocka_unit_test(test_wsd),      cmocka_unit_test(test_attention),
        cmocka_unit_test(test_end),         cmocka_unit_test(test_left),     cmocka_unit_test(test_ramps),
        cmocka_unit_test(test_long_warmup), cmocka_unit_test(test_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
