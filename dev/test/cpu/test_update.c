// The update of the CPU engine: clipped, skipped, or refused.
#include "cpu/engine.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/numbers.h"
#include "dev/test/support/small_engine.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// An engine with the moments of one update.
static Engine *updated_once(const int32_t *tokens) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, 264);
    Engine *engine = small_engine_create(&config);
    AdamW adamw = small_adamw(1);
    Error error;
    double norm;
    small_engine_train(engine, tokens, ATTENTION_DENSE, 264);
    assert_true(engine_update(engine, &adamw, &norm, &error));
    return engine;
}

// Weights and moments of an engine are those of the other, its gradients zero. Destroys both.
static void expect_same_after(Engine *engine, Engine *other) {
    int64_t count;
    expect_same_bits(engine, other, TENSOR_WEIGHT);
    expect_same_bits(engine, other, TENSOR_MOMENT1);
    expect_same_bits(engine, other, TENSOR_MOMENT2);
    float *gradient = small_engine_read(engine, TENSOR_GRADIENT, &count);
    assert_true(numbers_zero(gradient, count));
    free(gradient);
    engine_destroy(engine);
    engine_destroy(other);
}

// A gradient with one bad number in one tensor.
static void check_refused(float bad) {
    int32_t *tokens = small_engine_tokens(265, 6);
    AdamW adamw = small_adamw(1);
    Engine *engine = updated_once(tokens), *untouched = updated_once(tokens);
    Error error;
    double norm;
    small_engine_train(engine, tokens, ATTENTION_DENSE, 264);
    engine_write(engine, TENSOR_GRADIENT, param_find(&engine->table, PARAM_K, 1), 17, 1, &bad);
    expect_failed(engine_update(engine, &adamw, &norm, &error), &error, STATUS_NONFINITE, "norm");
    assert_false(isfinite(norm));
    expect_same_after(engine, untouched);
    free(tokens);
}

static void test_update_refuses_what_is_not_finite(void **state) {
    (void)state;
    check_refused(NAN);
    check_refused(HUGE_VALF);
    check_refused(-HUGE_VALF);
}

// An update whose norm is above `most` is skipped: nothing but the gradients changes.
static void check_skipped(double most, bool skips) {
    int32_t *tokens = small_engine_tokens(265, 6);
    AdamW adamw = small_adamw(1);
    Engine *engine = updated_once(tokens), *untouched = updated_once(tokens);
    Error error;
    int64_t count;
    double norm, again;
    small_engine_train(engine, tokens, ATTENTION_DENSE, 264);
    small_engine_train(untouched, tokens, ATTENTION_DENSE, 264);
    float *gradient = small_engine_read(engine, TENSOR_GRADIENT, &count);
    norm = sqrt(numbers_dot(gradient, gradient, count));
    free(gradient);
    adamw.most_norm = most * norm;
    assert_true(engine_update(engine, &adamw, &again, &error));
    assert_true(fabs(again / norm - 1) < 1e-9);
    assert_int_equal(adamw_skips(&adamw, again), skips);
    adamw.most_norm = 0;
    if (!skips) assert_true(engine_update(untouched, &adamw, &norm, &error));
    expect_same_after(engine, untouched);
    free(tokens);
}

static void test_update_skips_a_large_norm(void **state) {
    (void)state;
    check_skipped(0.999, true);
    check_skipped(-1, true);
    check_skipped(1.001, false);
    check_skipped(HUGE_VAL, false);
}

// An update clipped to a norm is the update of the gradient scaled down by hand.
static void check_clip(double clip) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, 264);
    Engine *clipped = small_engine_create(&config), *scaled = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(265, 7);
    AdamW with = small_adamw(clip), without = small_adamw(0);
    Error error;
    int64_t count;
    double norm, scaled_norm;
    small_engine_train(clipped, tokens, ATTENTION_DENSE, 264);
    float *gradient = small_engine_read(clipped, TENSOR_GRADIENT, &count);
    double want = sqrt(numbers_dot(gradient, gradient, count)), factor = fmin(1, clip / (want + 1e-6));
    for (int p = 0; p < scaled->table.count; p++) {
        float *x = cpu_engine_tensor(scaled, TENSOR_GRADIENT, p),
              *y = cpu_engine_tensor(clipped, TENSOR_GRADIENT, p);
        for (int64_t i = 0; i < param_size(&scaled->table.params[p]); i++) x[i] = y[i] * (float)factor;
    }
    assert_true(engine_update(clipped, &with, &norm, &error));
    assert_true(engine_update(scaled, &without, &scaled_norm, &error));
    assert_true(fabs(norm / want - 1) < 1e-9); // before clipping
    assert_true(fabs(scaled_norm / (want * factor) - 1) < 1e-6);
    expect_same_bits(clipped, scaled, TENSOR_MOMENT1);
    expect_same_bits(clipped, scaled, TENSOR_WEIGHT);
    free(gradient);
    free(tokens);
    engine_destroy(clipped);
    engine_destroy(scaled);
}

static void test_clipping(void **state) {
    (void)state;
    check_clip(1e-3); // far below the norm
    check_clip(1e6);  // far above
}

// Weights after an update of this decay.   Destroy the engine
static Engine *decayed(const int32_t *tokens, double weight_decay, bool matrices) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, 264);
    config.model.family = FAMILY_QWEN2;
    Engine *engine = small_engine_create(&config);
    AdamW adamw = small_adamw(1);
    Error error;
    double norm;
    adamw.weight_decay = weight_decay;
    adamw.matrices = matrices;
    small_engine_train(engine, tokens, ATTENTION_DENSE, 264);
    assert_true(engine_update(engine, &adamw, &norm, &error));
    return engine;
}

// Each parameter is that of an update with decay or of one without, to the bit.
static void test_decay_of_matrices(void **state) {
    (void)state;
    int32_t *tokens = small_engine_tokens(265, 7);
    Engine *all = decayed(tokens, 0.1, false), *none = decayed(tokens, 0, false),
           *matrices = decayed(tokens, 0.1, true);
    for (int p = 0; p < all->table.count; p++) {
        const Param *param = &all->table.params[p];
        bool decays = param->n_dims == 2 && param->role != PARAM_EMBEDDING;
        bool bias = param->role >= PARAM_Q_BIAS && param->role <= PARAM_V_BIAS;
        const float *got = cpu_engine_tensor(matrices, TENSOR_WEIGHT, p);
        const float *as = cpu_engine_tensor(decays ? all : none, TENSOR_WEIGHT, p);
        const float *not_as = cpu_engine_tensor(decays ? none : all, TENSOR_WEIGHT, p);
        size_t bytes = (size_t)param_size(param) * sizeof *got;
        if (memcmp(got, as, bytes) != 0 || (memcmp(got, not_as, bytes) == 0) != bias)
            fail_msg("%s", param->name); // no decay takes biases
    }
    free(tokens);
    engine_destroy(all);
    engine_destroy(none);
    engine_destroy(matrices);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_refuses_what_is_not_finite),
        cmocka_unit_test(test_update_skips_a_large_norm),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_decay_of_matrices),
    };
    omp_set_num_threads(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
