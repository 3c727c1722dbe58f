// The CPU engine as generation uses it: decoding and prediction give what the model gives.
#include "cpu/engine.h"
#include "dev/test/support/numbers.h"
#include "dev/test/support/small_engine.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- decode

static double log_softmax(const float *logits, int32_t token) {
    double sum = 0;
    for (int i = 0; i < SMALL_VOCABULARY; i++) sum += exp((double)logits[i] - logits[token]);
    return -log(sum);
}

static void decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits) {
    Error error;
    if (!engine_decode(engine, tokens, count, position, logits, &error)) fail_msg("%s", error.message);
}

static Engine *create_decoder(Family family, int64_t context, int64_t cache) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, context);
    config.use_lighthouse = false;
    config.training = false;
    config.cache = cache;
    config.model.family = family;
    return small_engine_create(&config);
}

static void assert_close(const float *got, const float *want) {
    double doubles[SMALL_VOCABULARY];
    for (int i = 0; i < SMALL_VOCABULARY; i++) doubles[i] = want[i];
    double error = numbers_error(got, doubles, SMALL_VOCABULARY);
    if (!(error < 5e-6)) fail_msg("logits are off by %.2e", error);
}

// Token by token: after each the loss of the next is what one target more adds to the loss of the sequence.
static void check_decode(Family family) {
    enum { COUNT = 150 };
    Engine *engine = create_decoder(family, COUNT, COUNT);
    int32_t *tokens = small_engine_tokens(COUNT + 1, 8);
    float logits[SMALL_VOCABULARY];
    for (int64_t n = 0; n < COUNT; n++) {
        decode(engine, tokens + n, 1, n, logits);
        if (n % 10 != 9 && n > 2) continue;
        double before = n ? small_engine_evaluate(engine, tokens, 1, n, ATTENTION_DENSE) : 0;
        double added = small_engine_evaluate(engine, tokens, 1, n + 1, ATTENTION_DENSE) - before;
        if (!(fabs(added + log_softmax(logits, tokens[n + 1])) < 2e-5)) {
            fail_msg("token %d: %.7f nats, not %.7f", (int)n, -log_softmax(logits, tokens[n + 1]), added);
        }
    }
    free(tokens);
    engine_destroy(engine);
}

static void test_decode_is_the_model(void **state) {
    (void)state;
    for (int family = 0; family < FAMILY_COUNT; family++) check_decode((Family)family);
}

// In pieces of any sizes, at once, and at once through activations that hold fewer rows than the text has.
static void test_decode_in_pieces(void **state) {
    (void)state;
    enum { COUNT = 150 };
    Engine *large = create_decoder(FAMILY_QWEN2, COUNT, COUNT),
           *narrow = create_decoder(FAMILY_QWEN2, 37, COUNT);
    int32_t *tokens = small_engine_tokens(COUNT, 9);
    float single[SMALL_VOCABULARY], other[SMALL_VOCABULARY];
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
    Engine *engine = create_decoder(FAMILY_LLAMA, 40, 40);
    int32_t *tokens = small_engine_tokens(41, 10);
    float logits[SMALL_VOCABULARY];
    Error error;
    assert_false(engine_decode(engine, tokens, 41, 0, logits, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_non_null(strstr(error.message, "41 tokens do not fit the cache of 40"));
    assert_false(engine_decode(engine, tokens, 1, 40, logits, &error));
    assert_true(engine_decode(engine, tokens, 40, 0, logits, &error));
    free(tokens);
    engine_destroy(engine);
}

// Logits after `count` tokens, through activations of `context` rows.
static void decode_stretched(RopeType type, int64_t context, int64_t count, float *logits) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, context);
    config.use_lighthouse = config.training = false;
    config.cache = count;
    config.model.rope_scaling.type = type;
    config.model.rope_scaling.factor = 4;
    config.model.rope_scaling.original = 100;
    Engine *engine = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(count, 12);
    decode(engine, tokens, count, 0, logits);
    free(tokens);
    engine_destroy(engine);
}

// RoPE that the length stretches: by the text's, however many rows go through at a time.
static void test_decode_dynamic(void **state) {
    (void)state;
    float one[SMALL_VOCABULARY], other[SMALL_VOCABULARY];
    decode_stretched(ROPE_DYNAMIC, 150, 150, one);
    decode_stretched(ROPE_DYNAMIC, 256, 150, other);
    assert_close(other, one);
    decode_stretched(ROPE_DYNAMIC, 40, 150, other);
    assert_close(other, one);
    decode_stretched(ROPE_DEFAULT, 40, 150, other);
    assert_true(one[0] != other[0]);
    decode_stretched(ROPE_DYNAMIC, 256, 90, one); // within the original length
    decode_stretched(ROPE_DEFAULT, 256, 90, other);
    assert_memory_equal(one, other, sizeof one);
}

// Rows of unlike batches and contexts within the same engine, against each sequence decoded by itself.
static void test_predict_is_the_model(void **state) {
    (void)state;
    enum { ROWS = 150 };
    static const int64_t shapes[][2] = {{1, 150}, {2, 75}, {3, 37}, {150, 1}, {1, 1}};
    Engine *engine = create_decoder(FAMILY_QWEN3, ROWS, ROWS);
    int32_t *tokens = small_engine_tokens(ROWS, 11);
    float *logits = (float *)alloc_or_exit(ROWS * SMALL_VOCABULARY, sizeof *logits), single[SMALL_VOCABULARY];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t B = shapes[i][0], N = shapes[i][1];
        Error error;
        if (!engine_predict(engine, tokens, B, N, logits, &error)) fail_msg("%s", error.message);
        for (int64_t b = 0; b < B; b++) {
            decode(engine, tokens + b * N, N, 0, single);
            assert_close(logits + b * SMALL_VOCABULARY, single);
        }
    }
    free(logits);
    free(tokens);
    engine_destroy(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_is_the_model),
        cmocka_unit_test(test_decode_in_pieces),
        cmocka_unit_test(test_decode_refuses_more_than_the_cache_holds),
        cmocka_unit_test(test_decode_dynamic),
        cmocka_unit_test(test_predict_is_the_model),
    };
    omp_set_num_threads(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
