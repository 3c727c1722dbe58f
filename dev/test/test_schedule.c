// Learning rates at the borders of every schedule, and the stage of an update.
#include "core/flops.h"
#include "core/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup), cmocka_unit_test(test_constant), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_cosine), cmocka_unit_test(test_wsd),      cmocka_unit_test(test_attention),
        cmocka_unit_test(test_end),    cmocka_unit_test(test_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
