// Sampling: the distribution it draws from, the cut of top-p, and temperature 0.
#include "core/commands/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { TOKENS = 5, DRAWS = 100000 };

static Sampler make(double temperature, double top_p) {
    Sampler sampler = {temperature, top_p, 11};
    return sampler;
}

// log of 0.1, 0.4, 0.2, 0.05, 0.25, moved by a constant that must not matter.
static void logits_of(float *logits) {
    const double p[TOKENS] = {0.1, 0.4, 0.2, 0.05, 0.25};
    for (int i = 0; i < TOKENS; i++) logits[i] = (float)(log(p[i]) + 40);
}

// Counts of many draws against probabilities: five standard deviations at most.
static void check_distribution(Sampler sampler, const double *p) {
    float logits[TOKENS];
    int counts[TOKENS] = {0};
    logits_of(logits);
    for (uint64_t i = 0; i < DRAWS; i++) counts[sampler_draw(&sampler, logits, TOKENS, i)]++;
    for (int i = 0; i < TOKENS; i++) {
        double expected = DRAWS * p[i], deviation = sqrt(expected * (1 - p[i]));
        if (!(fabs(counts[i] - expected) <= 5 * deviation)) {
            fail_msg("token %d: %d draws, expected %.0f", i, counts[i], expected);
        }
    }
}

static void test_distribution(void **state) {
    (void)state;
    const double p[TOKENS] = {0.1, 0.4, 0.2, 0.05, 0.25};
    check_distribution(make(1, 1), p);
}

static void test_temperature(void **state) {
    (void)state;
    double p[TOKENS] = {0.1, 0.4, 0.2, 0.05, 0.25}, sum = 0;
    for (int i = 0; i < TOKENS; i++) sum += p[i] * p[i];
    for (int i = 0; i < TOKENS; i++) p[i] = p[i] * p[i] / sum;
    check_distribution(make(0.5, 1), p); // half the temperature squares the probabilities
}

static void test_top_p(void **state) {
    (void)state;
    const double two[TOKENS] = {0, 0.4 / 0.65, 0, 0, 0.25 / 0.65};
    const double three[TOKENS] = {0, 0.4 / 0.85, 0.2 / 0.85, 0, 0.25 / 0.85};
    const double one[TOKENS] = {0, 1, 0, 0, 0};
    check_distribution(make(1, 0.64), two);   // 0.4 is too little, 0.4 + 0.25 is enough
    check_distribution(make(1, 0.66), three); // 0.65 is too little
    check_distribution(make(1, 0.39), one);
    check_distribution(make(1, 1e-6), one); // the likeliest always stays
}

static void test_temperature_0(void **state) {
    (void)state;
    const float logits[] = {1, 3, -2, 3, 2.5f};
    for (uint64_t i = 0; i < 50; i++) {
        Sampler sampler = make(0, 1);
        assert_int_equal(sampler_draw(&sampler, logits, 5, i), 1); // of equals the first
        assert_int_equal(sampler_draw(&sampler, logits, 1, i), 0);
    }
    Sampler cold = make(1e-3, 1);
    const float apart[] = {1, 2, -5000, 1.9f};
    for (uint64_t i = 0; i < 50; i++) assert_int_equal(sampler_draw(&cold, apart, 4, i), 1);
}

static void test_draws_follow_seed_and_index(void **state) {
    (void)state;
    float logits[TOKENS];
    logits_of(logits);
    Sampler a = make(1, 1), b = make(1, 1), other = make(1, 1);
    other.seed = 12;
    int differ = 0, changes = 0;
    for (uint64_t i = 0; i < 200; i++) {
        int32_t token = sampler_draw(&a, logits, TOKENS, i);
        assert_int_equal(token, sampler_draw(&b, logits, TOKENS, i));
        differ += token != sampler_draw(&other, logits, TOKENS, i);
        changes += token != sampler_draw(&a, logits, TOKENS, i + 1);
    }
    assert_true(differ > 100 && changes > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_top_p),
        cmocka_unit_test(test_temperature_0),
        cmocka_unit_test(test_draws_follow_seed_and_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
