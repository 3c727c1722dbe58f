// RoPE scaling: frequencies against those of transformers, and its text there and back.
#include "core/model/rope_scaling.h"
#include "dev/test/support/expect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define EVERY 4 // pairs between two that the goldens keep

typedef struct {
    const char *name, *text;
    double theta;
    int64_t D, positions;
    double attention_factor;
    double inverse[ROPE_MAX_PAIRS / EVERY];
} RopeGolden;

#include "rope_golden.h"

// theirs are float32
static void test_goldens(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const RopeGolden *golden = &goldens[i];
        RopeScaling scaling;
        Error error;
        expect_ok(rope_scaling_parse(golden->text, &scaling, &error), &error);
        RopeFrequencies f = rope_frequencies(&scaling, golden->theta, golden->D, golden->positions);
        if (fabs(f.attention_factor - golden->attention_factor) > 1e-12)
            fail_msg("%s: attention factor %.17g, not %.17g", golden->name, f.attention_factor,
                     golden->attention_factor);
        for (int64_t pair = 0; pair < golden->D / 2; pair += EVERY) {
            double wanted = golden->inverse[pair / EVERY];
            if (fabs(f.inverse[pair] - wanted) > 1e-6 * wanted)
                fail_msg("%s: frequency %d is %.9g, not %.9g", golden->name, (int)pair, f.inverse[pair],
                         wanted);
        }
    }
}

static void test_plain(void **state) {
    (void)state;
    const RopeScaling plain = {ROPE_DEFAULT};
    RopeFrequencies f = rope_frequencies(&plain, 10000, 128, 1 << 20);
    assert_true(f.attention_factor == 1 && f.inverse[0] == 1);
    assert_true(fabs(f.inverse[32] - 0.01) < 1e-15);
}

static void test_text(void **state) {
    (void)state;
    const char *const texts[] = {
        "none",
        "linear:factor=2.5",
        "dynamic:factor=4,original=2048",
        "yarn:factor=4,original=32768,beta_fast=16,beta_slow=2,mscale=0.5,mscale_all_dim=0.7",
        "yarn:factor=4,original=32768,attention_factor=1.1,truncate=false",
        "yarn:factor=1.2345678901234567,original=1000000000,truncate=true",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        RopeScaling scaling;
        Error error;
        char text[ROPE_TEXT_SIZE];
        expect_ok(rope_scaling_parse(texts[i], &scaling, &error), &error);
        rope_scaling_text(scaling, text);
        assert_string_equal(text, texts[i]);
    }
}

static void test_refused(void **state) {
    (void)state;
    const struct {
        const char *text, *part;
    } cases[] = {
        {"", "there is no type ''; there are none, default, linear, dynamic, llama3, yarn"},
        {"longrope:factor=4", "there is no type 'longrope'"},
        {"yarn", "yarn needs factor"},
        {"yarn:factor=4", "yarn needs original"},
        {"dynamic:factor=4", "dynamic needs original"},
        {"none:factor=4", "default has no field 'factor'"},
        {"linear:factor=4,original=4096", "linear has no field 'original'"},
        {"linear:factor", "'factor' is not of the form field=value"},
        {"linear:factor=", "factor must be a number above 0"},
        {"linear:factor=4x", "factor must be a number above 0"},
        {"linear:factor=inf", "factor must be a number above 0"},
        {"linear:factor=4,factor=4", "factor is given twice"},
        {"linear:factor=1e13", "factor must be 1e+12 or less, and is 1e+13"},
        {"linear:factor=0.9", "factor must be 1 or more, and is 0.9"},
        {"yarn:factor=4,original=0.5", "original must be a whole number from 1 to 1000000000, and is 0.5"},
        {"yarn:factor=4,original=4096,truncate=1", "truncate must be true or false"},
        {"yarn:factor=4,original=4096,beta_slow=32", "beta_fast 32 must be above beta_slow 32"},
        {"llama3:factor=8,original=8192,low_freq_factor=1", "llama3 needs high_freq_factor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RopeScaling scaling;
        Error error;
        assert_false(rope_scaling_parse(cases[i].text, &scaling, &error));
        assert_int_equal(error.status, STATUS_USAGE);
        if (!strstr(error.message, cases[i].part)) fail_msg("%s: not %s", error.message, cases[i].part);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("rope_scaling", tests, NULL, NULL) ? 1 : 0;
}
