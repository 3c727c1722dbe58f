// The CPU engine behind its interface: what must give the same bits, what must agree to rounding, and what it
// refuses.
#include "cpu/engine.h"
#include "dev/test/support/numbers.h"
#include "dev/test/support/small_engine.h"

#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- the same bits

// Runs two configurations over the same tokens, each on its number of threads.
static void check_same_bits(const EngineConfig *first, int first_threads, const EngineConfig *second,
                            int second_threads, Attention attention) {
    Engine *a = small_engine_create(first), *b = small_engine_create(second);
    int32_t *tokens = small_engine_tokens(first->batch * (first->context + 1), 1);
    int64_t targets = first->batch * first->context;
    AdamW adamw = small_adamw(1);
    Error error;
    double norm_a, norm_b;
    for (int step = 0; step < 2; step++) {
        omp_set_num_threads(first_threads);
        double nats_a = small_engine_train(a, tokens, attention, targets);
        omp_set_num_threads(second_threads);
        double nats_b = small_engine_train(b, tokens, attention, targets);
        assert_true(nats_a == nats_b);
        expect_same_bits(a, b, TENSOR_GRADIENT);
        adamw.step = step + 1;
        assert_true(engine_update(b, &adamw, &norm_b, &error));
        omp_set_num_threads(first_threads);
        assert_true(engine_update(a, &adamw, &norm_a, &error));
        assert_true(norm_a == norm_b);
        expect_same_bits(a, b, TENSOR_WEIGHT);
        expect_same_bits(a, b, TENSOR_MOMENT2);
    }
    omp_set_num_threads(1);
    free(tokens);
    engine_destroy(a);
    engine_destroy(b);
}

static void test_recompute_changes_no_bit(void **state) {
    (void)state;
    for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
        EngineConfig keep = small_engine_config((Scorer)scorer, 2, 264), recompute = keep;
        recompute.recompute = true;
        check_same_bits(&keep, 1, &recompute, 1, ATTENTION_LIGHTHOUSE);
        if (scorer == SCORER_NORM) check_same_bits(&keep, 1, &recompute, 1, ATTENTION_DENSE);
    }
}

static void test_threads_change_no_bit(void **state) {
    (void)state;
    for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
        EngineConfig config = small_engine_config((Scorer)scorer, 2, 264);
        check_same_bits(&config, 1, &config, 2, ATTENTION_LIGHTHOUSE);
        if (scorer == SCORER_NORM) check_same_bits(&config, 1, &config, 2, ATTENTION_DENSE);
    }
}

// The losses of all targets add up to that of the evaluation, and the head makes them of the outputs.
static void test_evaluated_rows(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_NORM, 2, 264);
    Engine *engine = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(2 * 265, 2);
    int64_t rows = 2 * 200, C = config.model.dim, V = config.model.vocab_size;
    int head = param_find(&engine->table, PARAM_HEAD, -1);
    double *nats = (double *)alloc_or_exit((size_t)rows, sizeof *nats), sum = 0, want;
    float *outputs = (float *)alloc_or_exit((size_t)(rows * C), sizeof *outputs), *some = outputs + 300 * C;
    float *weights = (float *)alloc_or_exit((size_t)(V * C), sizeof *weights);
    want = small_engine_evaluate(engine, tokens, 2, 200, ATTENTION_DENSE);
    engine_read_evaluated(engine, 0, rows, nats, NULL);
    engine_read_evaluated(engine, 300, rows - 300, NULL, some);
    engine_read(engine, TENSOR_WEIGHT, head, 0, V * C, weights);
    for (int64_t i = 0; i < rows; i++) sum += nats[i];
    assert_true(sum == want);
    for (int64_t row = 300; row < rows; row++) { // of the second sequence
        double exponentials = 0, target = 0;
        for (int64_t v = 0; v < V; v++) {
            double logit = 0;
            for (int64_t c = 0; c < C; c++) logit += (double)outputs[row * C + c] * weights[v * C + c];
            exponentials += exp(logit);
            if (v == tokens[201 + row - 200 + 1]) target = logit;
        }
        assert_true(fabs(log(exponentials) - target - nats[row]) < 1e-4);
    }
    void *buffers[] = {tokens, nats, outputs, weights};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
    engine_destroy(engine);
}

// An engine with room for more gives what one of just this size gives.
static void test_evaluate_other_sizes(void **state) {
    (void)state;
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= ATTENTION_DENSE; attention++) {
        for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
            EngineConfig large = small_engine_config((Scorer)scorer, 3, 384),
                         exact = small_engine_config((Scorer)scorer, 2, 264);
            Engine *a = small_engine_create(&large), *b = small_engine_create(&exact);
            int32_t *tokens = small_engine_tokens(2 * 265, 2);
            double nats = small_engine_evaluate(b, tokens, 2, 264, (Attention)attention);
            assert_true(small_engine_evaluate(a, tokens, 2, 264, (Attention)attention) == nats);
            assert_true(small_engine_train(b, tokens, (Attention)attention, 2 * 264) == nats);
            double single = small_engine_evaluate(a, tokens, 1, 264, (Attention)attention) +
                            small_engine_evaluate(a, tokens + 265, 1, 264, (Attention)attention);
            assert_true(fabs(single / nats - 1) < 1e-7);
            free(tokens);
            engine_destroy(a);
            engine_destroy(b);
        }
    }
}

// ---- gradients

static void test_accumulation_equals_one_batch(void **state) {
    (void)state;
    EngineConfig one = small_engine_config(SCORER_NORM, 1, 264),
                 two = small_engine_config(SCORER_NORM, 2, 264);
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= ATTENTION_DENSE; attention++) {
        Engine *a = small_engine_create(&one), *b = small_engine_create(&two);
        int32_t *tokens = small_engine_tokens(2 * 265, 3);
        double nats = small_engine_train(a, tokens, (Attention)attention, 2 * 264);
        nats += small_engine_train(a, tokens + 265, (Attention)attention, 2 * 264);
        assert_true(fabs(nats / small_engine_train(b, tokens, (Attention)attention, 2 * 264) - 1) < 1e-7);
        for (int p = 0; p < a->table.count; p++) {
            const float *x = cpu_engine_tensor(a, TENSOR_GRADIENT, p),
                        *y = cpu_engine_tensor(b, TENSOR_GRADIENT, p);
            int64_t size = param_size(&a->table.params[p]);
            double *want = numbers_zeros(size);
            for (int64_t i = 0; i < size; i++) want[i] = y[i];
            double error = numbers_error(x, want, size);
            if (!(error < 5e-6)) fail_msg("%s is off by %.2e", a->table.params[p].name, error);
            free(want);
        }
        free(tokens);
        engine_destroy(a);
        engine_destroy(b);
    }
}

static void test_forced_selection_reproduces(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_DILATED, 2, 264);
    Engine *free_one = small_engine_create(&config), *forced = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(2 * 265, 4), *other = small_engine_tokens(2 * 265, 5);
    const int64_t S = 264 / 2 + 2 * 128;
    int32_t *selections[3], *others[3];
    for (int layer = 0; layer < 3; layer++) {
        selections[layer] = (int32_t *)alloc_or_exit((size_t)(2 * 4 * S), sizeof(int32_t));
        others[layer] = (int32_t *)alloc_or_exit((size_t)(2 * 4 * S), sizeof(int32_t));
    }
    small_engine_train(forced, other, ATTENTION_LIGHTHOUSE, 1);
    for (int layer = 0; layer < 3; layer += 2) engine_read_selection(forced, layer, others[layer]);
    engine_destroy(forced);
    forced = small_engine_create(&config);

    double nats = small_engine_train(free_one, tokens, ATTENTION_LIGHTHOUSE, 1);
    for (int layer = 0; layer < 3; layer += 2) {
        engine_read_selection(free_one, layer, selections[layer]);
        engine_force_selection(forced, layer, others[layer]);
    }
    assert_true(small_engine_evaluate(forced, tokens, 2, 264, ATTENTION_LIGHTHOUSE) != nats); // it is obeyed
    for (int layer = 0; layer < 3; layer += 2) engine_force_selection(forced, layer, selections[layer]);
    assert_true(small_engine_train(forced, tokens, ATTENTION_LIGHTHOUSE, 1) == nats);
    expect_same_bits(free_one, forced, TENSOR_GRADIENT);
    engine_force_selection(forced, 0, NULL);
    engine_force_selection(forced, 2, NULL);
    assert_true(small_engine_evaluate(forced, other, 2, 264, ATTENTION_LIGHTHOUSE) ==
                small_engine_evaluate(free_one, other, 2, 264, ATTENTION_LIGHTHOUSE));
    for (int layer = 0; layer < 3; layer++) {
        free(selections[layer]);
        free(others[layer]);
    }
    free(tokens);
    free(other);
    engine_destroy(free_one);
    engine_destroy(forced);
}

// ---- tensors and memory

static void test_read_and_write(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_GLA, 1, 264);
    Engine *engine = small_engine_create(&config);
    const float values[] = {5, 6, 7};
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        for (int kind = TENSOR_WEIGHT; kind <= TENSOR_MOMENT2; kind++) {
            if (!param->trained && kind != TENSOR_WEIGHT) continue;
            int64_t size = param_size(param), at = size - 3;
            float *before = (float *)alloc_or_exit((size_t)size, sizeof *before);
            float *after = (float *)alloc_or_exit((size_t)size, sizeof *after);
            engine_read(engine, (TensorKind)kind, p, 0, size, before);
            engine_write(engine, (TensorKind)kind, p, at, 3, values);
            engine_read(engine, (TensorKind)kind, p, 0, size, after);
            assert_memory_equal(before, after, (size_t)at * sizeof *before);
            assert_memory_equal(after + at, values, sizeof values);
            engine_read(engine, (TensorKind)kind, p, at + 1, 1, after);
            assert_true(after[0] == 6);
            free(before);
            free(after);
        }
    }
    // Every tensor is its own memory: all still hold what was written.
    for (int p = 0; p < engine->table.count; p++) {
        float last;
        engine_read(engine, TENSOR_WEIGHT, p, param_size(&engine->table.params[p]) - 1, 1, &last);
        assert_true(last == 7);
    }
    engine_destroy(engine);
}

static size_t heap_in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void test_plan_is_what_create_takes(void **state) {
    (void)state;
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    size_t last = SIZE_MAX;
    for (int variant = 0; variant < 3; variant++) { // each takes less than the one before
        EngineConfig config = small_engine_config(SCORER_DILATED, 2, 264);
        Error error;
        config.recompute = variant == 1;
        config.training = variant < 2;
        assert_true(engine_cpu()->plan(&config, plan, &error));
        size_t before = heap_in_use(), end = 0;
        Engine *engine = engine_cpu()->create(&config, &error);
        size_t taken = heap_in_use() - before, weights = (size_t)engine->table.trained_size * sizeof(float);
        for (int i = 0; i < plan->count; i++) {
            assert_true(plan->rows[i].offset >= end); // one behind the other
            assert_null(plan->rows[i].pointer);
            end = plan->rows[i].offset + plan->rows[i].bytes;
        }
        assert_true(end <= plan->total && plan->total < last);
        assert_int_equal(plan_purpose_bytes(plan, "weights"), weights);
        assert_int_equal(plan_purpose_bytes(plan, "gradients"), variant < 2 ? weights : 0);
        assert_int_equal(plan_purpose_bytes(plan, "optimizer"), variant < 2 ? 2 * weights : 0);
#ifndef __SANITIZE_ADDRESS__ // which counts for itself
        assert_true(taken >= plan->total && taken < plan->total + 64 * 1024);
#else
        (void)taken;
#endif
        last = plan->total;
        engine_destroy(engine);
    }
    free(plan);
}

static void test_impossible_contexts(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_NORM, 1, 265);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    double nats;
    assert_false(engine_cpu()->plan(&config, plan, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_null(engine_cpu()->create(&config, &error));
    assert_non_null(strstr(error.message, "--seq-len 265"));
    config.context = 264;
    Engine *engine = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(265, 11);
    assert_false(engine_evaluate(engine, tokens, 1, 200, ATTENTION_LIGHTHOUSE, &nats, &error));
    assert_non_null(strstr(error.message, "--seq-len 200"));
    assert_true(engine_evaluate(engine, tokens, 1, 200, ATTENTION_DENSE, &nats, &error));
    free(tokens);
    free(plan);
    engine_destroy(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recompute_changes_no_bit),
        cmocka_unit_test(test_threads_change_no_bit),
        cmocka_unit_test(test_evaluated_rows),
        cmocka_unit_test(test_evaluate_other_sizes),
        cmocka_unit_test(test_accumulation_equals_one_batch),
        cmocka_unit_test(test_forced_selection_reproduces),
        cmocka_unit_test(test_read_and_write),
        cmocka_unit_test(test_plan_is_what_create_takes),
        cmocka_unit_test(test_impossible_contexts),
    };
    omp_set_num_threads(1); // more only where that is what is tested
    return cmocka_run_group_tests(tests, NULL, NULL);
}
