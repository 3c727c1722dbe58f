// The CPU engine behind its interface: what must give the same bits, what must agree to rounding, and what it
// refuses.
#include "cpu/engine.h"
#include "dev/test/support/numbers.h"

#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define VOCABULARY 264

// Three layers, the middle one dense; room for B sequences of N tokens.
static EngineConfig make(Scorer scorer, int64_t B, int64_t N) {
    const ModelConfig model = {3, 72, 4, 2, 64, 88, VOCABULARY, 10000, 1e-5};
    const LighthouseConfig lighthouse = {scorer, 2, 2, 128, 4};
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model = model;
    config.lighthouse = lighthouse;
    config.dense_layer[1] = true;
    config.use_lighthouse = true;
    config.training = true;
    config.batch = B;
    config.context = N;
    return config;
}

// Weights spread more than the initial ones, so that every layer matters.
static Engine *create(const EngineConfig *config) {
    Error error;
    Engine *engine = engine_cpu()->create(config, &error);
    if (!engine) fail_msg("%s", error.message);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        int64_t size = param_size(param);
        float *values = numbers_new(size, 50 + (uint64_t)p, param->n_dims == 1 ? 0.1 : 0.13);
        for (int64_t i = 0; i < size && param->n_dims == 1; i++) values[i] += 1;
        engine_write(engine, TENSOR_WEIGHT, p, 0, size, values);
        free(values);
    }
    return engine;
}

static int32_t *new_tokens(int64_t count, uint64_t stream) {
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)numbers_between(stream, (uint64_t)i, 0, VOCABULARY - 1);
    }
    return tokens;
}

// All trained tensors of one kind, one behind the other; *count elements.
static float *read_all(Engine *engine, TensorKind kind, int64_t *count) {
    float *values = (float *)alloc_or_exit((size_t)engine->table.n_trained, sizeof *values);
    *count = 0;
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        if (!param->trained) continue;
        engine_read(engine, kind, p, 0, param_size(param), values + *count);
        *count += param_size(param);
    }
    assert_int_equal(*count, engine->table.n_trained);
    return values;
}

static void assert_same_bits(Engine *a, Engine *b, TensorKind kind) {
    int64_t count;
    float *x = read_all(a, kind, &count), *y = read_all(b, kind, &count);
    assert_memory_equal(x, y, (size_t)count * sizeof *x);
    assert_false(numbers_zero(x, count));
    free(x);
    free(y);
}

static double train(Engine *engine, const int32_t *tokens, Attention attention, int64_t targets) {
    Error error;
    double nats;
    if (!engine_forward_backward(engine, tokens, attention, targets, &nats, &error))
        fail_msg("%s", error.message);
    return nats;
}

static double evaluate(Engine *engine, const int32_t *tokens, int64_t B, int64_t N, Attention attention) {
    Error error;
    double nats;
    if (!engine_evaluate(engine, tokens, B, N, attention, &nats, &error)) fail_msg("%s", error.message);
    return nats;
}

static AdamW adamw_of(double clip) {
    AdamW adamw = {1, 1e-2, 0.9, 0.95, 1e-8, 0.1, clip, 0};
    return adamw;
}

// ---- the same bits

// Runs two configurations over the same tokens, each on its number of threads.
static void check_same_bits(const EngineConfig *first, int first_threads, const EngineConfig *second,
                            int second_threads, Attention attention) {
    Engine *a = create(first), *b = create(second);
    int32_t *tokens = new_tokens(first->batch * (first->context + 1), 1);
    int64_t targets = first->batch * first->context;
    AdamW adamw = adamw_of(1);
    Error error;
    double norm_a, norm_b;
    for (int step = 0; step < 2; step++) {
        omp_set_num_threads(first_threads);
        double nats_a = train(a, tokens, attention, targets);
        omp_set_num_threads(second_threads);
        double nats_b = train(b, tokens, attention, targets);
        assert_true(nats_a == nats_b);
        assert_same_bits(a, b, TENSOR_GRADIENT);
        adamw.step = step + 1;
        assert_true(engine_update(b, &adamw, &norm_b, &error));
        omp_set_num_threads(first_threads);
        assert_true(engine_update(a, &adamw, &norm_a, &error));
        assert_true(norm_a == norm_b);
        assert_same_bits(a, b, TENSOR_WEIGHT);
        assert_same_bits(a, b, TENSOR_MOMENT2);
    }
    omp_set_num_threads(1);
    free(tokens);
    engine_destroy(a);
    engine_destroy(b);
}

static void test_recompute_changes_no_bit(void **state) {
    (void)state;
    for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
        EngineConfig keep = make((Scorer)scorer, 2, 264), recompute = keep;
        recompute.recompute = true;
        check_same_bits(&keep, 1, &recompute, 1, ATTENTION_LIGHTHOUSE);
        if (scorer == SCORER_NORM) check_same_bits(&keep, 1, &recompute, 1, ATTENTION_DENSE);
    }
}

static void test_threads_change_no_bit(void **state) {
    (void)state;
    for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
        EngineConfig config = make((Scorer)scorer, 2, 264);
        check_same_bits(&config, 1, &config, 2, ATTENTION_LIGHTHOUSE);
        if (scorer == SCORER_NORM) check_same_bits(&config, 1, &config, 2, ATTENTION_DENSE);
    }
}

// An engine with room for more gives what one of just this size gives.
static void test_evaluate_other_sizes(void **state) {
    (void)state;
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= ATTENTION_DENSE; attention++) {
        for (int scorer = SCORER_NORM; scorer <= SCORER_GLA; scorer++) {
            EngineConfig large = make((Scorer)scorer, 3, 384), exact = make((Scorer)scorer, 2, 264);
            Engine *a = create(&large), *b = create(&exact);
            int32_t *tokens = new_tokens(2 * 265, 2);
            double nats = evaluate(b, tokens, 2, 264, (Attention)attention);
            assert_true(evaluate(a, tokens, 2, 264, (Attention)attention) == nats);
            assert_true(train(b, tokens, (Attention)attention, 2 * 264) == nats);
            double single = evaluate(a, tokens, 1, 264, (Attention)attention) +
                            evaluate(a, tokens + 265, 1, 264, (Attention)attention);
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
    EngineConfig one = make(SCORER_NORM, 1, 264), two = make(SCORER_NORM, 2, 264);
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= ATTENTION_DENSE; attention++) {
        Engine *a = create(&one), *b = create(&two);
        int32_t *tokens = new_tokens(2 * 265, 3);
        double nats = train(a, tokens, (Attention)attention, 2 * 264);
        nats += train(a, tokens + 265, (Attention)attention, 2 * 264);
        assert_true(fabs(nats / train(b, tokens, (Attention)attention, 2 * 264) - 1) < 1e-7);
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

static void test_imposed_selection_reproduces(void **state) {
    (void)state;
    EngineConfig config = make(SCORER_DILATED, 2, 264);
    Engine *free_one = create(&config), *imposed = create(&config);
    int32_t *tokens = new_tokens(2 * 265, 4), *other = new_tokens(2 * 265, 5);
    const int64_t S = 264 / 2 + 2 * 128;
    int32_t *selections[3], *others[3];
    for (int layer = 0; layer < 3; layer++) {
        selections[layer] = (int32_t *)alloc_or_exit((size_t)(2 * 4 * S), sizeof(int32_t));
        others[layer] = (int32_t *)alloc_or_exit((size_t)(2 * 4 * S), sizeof(int32_t));
    }
    train(imposed, other, ATTENTION_LIGHTHOUSE, 1);
    for (int layer = 0; layer < 3; layer += 2) engine_read_selection(imposed, layer, others[layer]);
    engine_destroy(imposed);
    imposed = create(&config);

    double nats = train(free_one, tokens, ATTENTION_LIGHTHOUSE, 1);
    for (int layer = 0; layer < 3; layer += 2) {
        engine_read_selection(free_one, layer, selections[layer]);
        engine_impose_selection(imposed, layer, others[layer]);
    }
    assert_true(evaluate(imposed, tokens, 2, 264, ATTENTION_LIGHTHOUSE) != nats); // it is obeyed
    for (int layer = 0; layer < 3; layer += 2) engine_impose_selection(imposed, layer, selections[layer]);
    assert_true(train(imposed, tokens, ATTENTION_LIGHTHOUSE, 1) == nats);
    assert_same_bits(free_one, imposed, TENSOR_GRADIENT);
    engine_impose_selection(imposed, 0, NULL);
    engine_impose_selection(imposed, 2, NULL);
    assert_true(evaluate(imposed, other, 2, 264, ATTENTION_LIGHTHOUSE) ==
                evaluate(free_one, other, 2, 264, ATTENTION_LIGHTHOUSE));
    for (int layer = 0; layer < 3; layer++) {
        free(selections[layer]);
        free(others[layer]);
    }
    free(tokens);
    free(other);
    engine_destroy(free_one);
    engine_destroy(imposed);
}

// ---- update

// A gradient with one bad number in one tensor.
static void check_refused(float bad) {
    EngineConfig config = make(SCORER_NORM, 1, 264);
    Engine *engine = create(&config), *untouched = create(&config);
    int32_t *tokens = new_tokens(265, 6);
    AdamW adamw = adamw_of(1);
    Error error;
    int64_t count;
    double norm;
    train(engine, tokens, ATTENTION_DENSE, 264);
    train(untouched, tokens, ATTENTION_DENSE, 264);
    assert_true(engine_update(engine, &adamw, &norm, &error));
    assert_true(engine_update(untouched, &adamw, &norm, &error));

    train(engine, tokens, ATTENTION_DENSE, 264);
    engine_write(engine, TENSOR_GRADIENT, param_find(&engine->table, PARAM_K, 1), 17, 1, &bad);
    assert_false(engine_update(engine, &adamw, &norm, &error));
    assert_int_equal(error.status, STATUS_NONFINITE);
    assert_non_null(strstr(error.message, "norm"));
    assert_false(isfinite(norm));
    assert_same_bits(engine, untouched, TENSOR_WEIGHT);
    assert_same_bits(engine, untouched, TENSOR_MOMENT1);
    assert_same_bits(engine, untouched, TENSOR_MOMENT2);
    float *gradient = read_all(engine, TENSOR_GRADIENT, &count);
    assert_true(numbers_zero(gradient, count));
    free(gradient);
    free(tokens);
    engine_destroy(engine);
    engine_destroy(untouched);
}

static void test_update_refuses_what_is_not_finite(void **state) {
    (void)state;
    check_refused(NAN);
    check_refused(HUGE_VALF);
    check_refused(-HUGE_VALF);
}

// An update whose norm is above `most` is skipped: nothing but the gradients changes.
static void check_skipped(double most, bool skips) {
    EngineConfig config = make(SCORER_NORM, 1, 264);
    Engine *engine = create(&config), *untouched = create(&config);
    int32_t *tokens = new_tokens(265, 6);
    AdamW adamw = adamw_of(1);
    Error error;
    int64_t count;
    double norm, again;
    train(engine, tokens, ATTENTION_DENSE, 264);
    train(untouched, tokens, ATTENTION_DENSE, 264);
    assert_true(engine_update(engine, &adamw, &norm, &error));
    assert_true(engine_update(untouched, &adamw, &norm, &error));

    train(engine, tokens, ATTENTION_DENSE, 264);
    train(untouched, tokens, ATTENTION_DENSE, 264);
    float *gradient = read_all(engine, TENSOR_GRADIENT, &count);
    norm = sqrt(numbers_dot(gradient, gradient, count));
    free(gradient);
    adamw.most_norm = most * norm;
    assert_true(engine_update(engine, &adamw, &again, &error));
    assert_true(fabs(again / norm - 1) < 1e-9);
    assert_int_equal(adamw_skips(&adamw, again), skips);
    adamw.most_norm = 0;
    if (!skips) assert_true(engine_update(untouched, &adamw, &norm, &error));
    assert_same_bits(engine, untouched, TENSOR_WEIGHT);
    assert_same_bits(engine, untouched, TENSOR_MOMENT1);
    assert_same_bits(engine, untouched, TENSOR_MOMENT2);
    gradient = read_all(engine, TENSOR_GRADIENT, &count);
    assert_true(numbers_zero(gradient, count));
    free(gradient);
    free(tokens);
    engine_destroy(engine);
    engine_destroy(untouched);
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
    EngineConfig config = make(SCORER_NORM, 1, 264);
    Engine *clipped = create(&config), *scaled = create(&config);
    int32_t *tokens = new_tokens(265, 7);
    AdamW with = adamw_of(clip), without = adamw_of(0);
    Error error;
    int64_t count;
    double norm, scaled_norm;
    train(clipped, tokens, ATTENTION_DENSE, 264);
    float *gradient = read_all(clipped, TENSOR_GRADIENT, &count);
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
    assert_same_bits(clipped, scaled, TENSOR_MOMENT1);
    assert_same_bits(clipped, scaled, TENSOR_WEIGHT);
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

// ---- decode

static double log_softmax(const float *logits, int32_t token) {
    double sum = 0;
    for (int i = 0; i < VOCABULARY; i++) sum += exp((double)logits[i] - logits[token]);
    return -log(sum);
}

static void decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits) {
    Error error;
    if (!engine_decode(engine, tokens, count, position, logits, &error)) fail_msg("%s", error.message);
}

static Engine *create_decoder(int64_t context, int64_t cache) {
    EngineConfig config = make(SCORER_NORM, 1, context);
    config.use_lighthouse = false;
    config.training = false;
    config.cache = cache;
    return create(&config);
}

static void assert_close(const float *got, const float *want) {
    double doubles[VOCABULARY];
    for (int i = 0; i < VOCABULARY; i++) doubles[i] = want[i];
    double error = numbers_error(got, doubles, VOCABULARY);
    if (!(error < 5e-6)) fail_msg("logits are off by %.2e", error);
}

// Token by token: after each the loss of the next is what one target more adds to the loss of the sequence.
static void test_decode_is_the_model(void **state) {
    (void)state;
    enum { COUNT = 150 };
    Engine *engine = create_decoder(COUNT, COUNT);
    int32_t *tokens = new_tokens(COUNT + 1, 8);
    float logits[VOCABULARY];
    for (int64_t n = 0; n < COUNT; n++) {
        decode(engine, tokens + n, 1, n, logits);
        if (n % 10 != 9 && n > 2) continue;
        double before = n ? evaluate(engine, tokens, 1, n, ATTENTION_DENSE) : 0;
        double added = evaluate(engine, tokens, 1, n + 1, ATTENTION_DENSE) - before;
        if (!(fabs(added + log_softmax(logits, tokens[n + 1])) < 2e-5)) {
            fail_msg("token %d: %.7f nats, not %.7f", (int)n, -log_softmax(logits, tokens[n + 1]), added);
        }
    }
    free(tokens);
    engine_destroy(engine);
}

// In pieces of any sizes, at once, and at once through activations that hold fewer rows than the text has.
static void test_decode_in_pieces(void **state) {
    (void)state;
    enum { COUNT = 150 };
    Engine *large = create_decoder(COUNT, COUNT), *narrow = create_decoder(37, COUNT);
    int32_t *tokens = new_tokens(COUNT, 9);
    float single[VOCABULARY], other[VOCABULARY];
    const int64_t cuts[] = {0, 1, 2, 40, 129, 130, 131, COUNT};
    for (int64_t n = 0; n < COUNT; n++) decode(large, tokens + n, 1, n, single);
    for (int i = 0; i < 7; i++) decode(large, tokens + cuts[i], cuts[i + 1] - cuts[i], cuts[i], other);
    assert_close(other, single);
    decode(large, tokens, COUNT, 0, other);
    assert_close(other, single);
    decode(narrow, tokens, COUNT, 0, other);
    assert_close(other, single);
    decode(narrow, tokens, 20, 0, other); // a second text over the first: what lies behind is not seen
    decode(large, tokens, 20, 0, single);
    assert_close(other, single);
    free(tokens);
    engine_destroy(large);
    engine_destroy(narrow);
}

static void test_decode_refuses_more_than_the_cache_holds(void **state) {
    (void)state;
    Engine *engine = create_decoder(40, 40);
    int32_t *tokens = new_tokens(41, 10);
    float logits[VOCABULARY];
    Error error;
    assert_false(engine_decode(engine, tokens, 41, 0, logits, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_non_null(strstr(error.message, "41 tokens do not fit the cache of 40"));
    assert_false(engine_decode(engine, tokens, 1, 40, logits, &error));
    assert_true(engine_decode(engine, tokens, 40, 0, logits, &error));
    free(tokens);
    engine_destroy(engine);
}

// Rows of unlike batches and contexts within the same engine, against each sequence decoded by itself.
static void test_predict_is_the_model(void **state) {
    (void)state;
    enum { ROWS = 150 };
    static const int64_t shapes[][2] = {{1, 150}, {2, 75}, {3, 37}, {150, 1}, {1, 1}};
    Engine *engine = create_decoder(ROWS, ROWS);
    int32_t *tokens = new_tokens(ROWS, 11);
    float *logits = (float *)alloc_or_exit(ROWS * VOCABULARY, sizeof *logits), single[VOCABULARY];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t B = shapes[i][0], N = shapes[i][1];
        Error error;
        if (!engine_predict(engine, tokens, B, N, logits, &error)) fail_msg("%s", error.message);
        for (int64_t b = 0; b < B; b++) {
            decode(engine, tokens + b * N, N, 0, single);
            assert_close(logits + b * VOCABULARY, single);
        }
    }
    free(logits);
    free(tokens);
    engine_destroy(engine);
}

// ---- tensors and memory

static void test_read_and_write(void **state) {
    (void)state;
    EngineConfig config = make(SCORER_GLA, 1, 264);
    Engine *engine = create(&config);
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
        EngineConfig config = make(SCORER_DILATED, 2, 264);
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
    EngineConfig config = make(SCORER_NORM, 1, 265);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    double nats;
    assert_false(engine_cpu()->plan(&config, plan, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_null(engine_cpu()->create(&config, &error));
    assert_non_null(strstr(error.message, "--seq-len 265"));
    config.context = 264;
    Engine *engine = create(&config);
    int32_t *tokens = new_tokens(265, 11);
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
        cmocka_unit_test(test_evaluate_other_sizes),
        cmocka_unit_test(test_accumulation_equals_one_batch),
        cmocka_unit_test(test_imposed_selection_reproduces),
        cmocka_unit_test(test_update_refuses_what_is_not_finite),
        cmocka_unit_test(test_update_skips_a_large_norm),
        cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_decode_is_the_model),
        cmocka_unit_test(test_decode_in_pieces),
        cmocka_unit_test(test_decode_refuses_more_than_the_cache_holds),
        cmocka_unit_test(test_predict_is_the_model),
        cmocka_unit_test(test_read_and_write),
        cmocka_unit_test(test_plan_is_what_create_takes),
        cmocka_unit_test(test_impossible_contexts),
    };
    omp_set_num_threads(1); // more only where that is what is tested
    return cmocka_run_group_tests(tests, NULL, NULL);
}
