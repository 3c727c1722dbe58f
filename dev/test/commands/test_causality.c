// eval --probe-causality: what Lighthouse trained is causal under dense attention, Lighthouse itself looks
// ahead within its chunk alone, and engines that leak, do not listen, or give other bits every time are found
// out.
#include "core/commands/evaluate.h"
#include "dev/test/support/program.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK 384 // tokens: two chunks of a sequence

static const char *const scorers[] = {"norm", "dilated", "gla"};

// Runs that Lighthouse alone has trained.
static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    for (int i = 0; i < 3; i++)
        DONE(TINY_TRAIN "--out %s --steps 4 --topk 256 --dense-layers none --scorer %s", scorers[i],
             scorers[i]);
    return 0;
}

static json_t *probe(const char *options) {
    return program_json("eval --data val_*.bin --probe-causality %s", options);
}

// Outputs before and after: of probes at 1 + 766 i / 7 of 768 tokens; with chunks two are at their border.
static void check_counts(const json_t *json, int64_t sequences, bool chunks) {
    int64_t before = chunks ? CHUNK + CHUNK - 1 - (438 + 548) : 0;
    for (int64_t i = 0; i < 8; i++) before += 1 + 766 * i / 7;
    assert_int_equal(line_integer(json, "sequences"), sequences);
    assert_int_equal(line_integer(json, "probes"), 8 * sequences);
    assert_int_equal(line_integer(json, "outputs_before"), sequences * before);
    assert_int_equal(line_integer(json, "outputs_after"), sequences * (8 * TINY_CONTEXT - before));
}

static void test_dense(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char options[64];
        snprintf(options, sizeof options, "--model %s --val-batches %d", scorers[i], i);
        json_t *json = probe(options);
        check_counts(json, i ? i : 1, false); // one sequence where it is not said
        assert_int_equal(line_integer(json, "changed_before"), 0);
        assert_int_equal(line_integer(json, "changed_after"), line_integer(json, "outputs_after"));
        assert_true(json_is_true(json_object_get(json, "causal")));
        assert_null(json_object_get(json, "chunk"));
        json_decref(json);
    }
}

static void test_lighthouse(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char options[64];
        snprintf(options, sizeof options, "--model %s --attention lighthouse", scorers[i]);
        json_t *json = probe(options);
        check_counts(json, 1, true);
        assert_int_equal(line_integer(json, "chunk"), CHUNK);
        assert_true(line_integer(json, "changed_before") > 0);
        assert_int_equal(line_integer(json, "changed_beyond_chunk"), 0);
        assert_true(line_integer(json, "farthest") > 0 && line_integer(json, "farthest") < CHUNK);
        assert_true(line_number(json, "largest_change_nats") > line_number(json, "mean_change_nats"));
        assert_true(line_number(json, "mean_change_nats") > 0);
        assert_true(json_is_false(json_object_get(json, "causal")));
        json_decref(json);
    }
}

static void test_usage(void **state) {
    (void)state;
    program_expect(2, "--probe-causality measures no loss",
                   "eval --model norm --data val_*.bin --probe-causality --by-position");
    program_expect(2, "nothing stands before a token",
                   "eval --model norm --data val_*.bin --probe-causality --seq-len 1");
}

// ---- Engines that are not what they should be

static EngineApi odd;
static enum OddKind { LEAKS, DEAF, UNSTEADY } kind;
static int64_t calls;

static bool odd_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                         Attention attention, double *nats, Error *error) {
    int32_t *other = (int32_t *)alloc_or_exit((size_t)(context + 1), sizeof *other);
    for (int64_t n = 0; n <= context; n++) other[n] = tokens[n];
    for (int64_t n = 0; n < context; n++) { // what stands at n is what the next token is
        if (kind == LEAKS) other[n] = tokens[n + 1];
        if (kind == DEAF) other[n] = 'a';
    }
    if (kind == UNSTEADY) other[context / 2] = (int32_t)('a' + calls++ % 26);
    bool ok = engine_cpu()->evaluate(engine, other, batch, context, attention, nats, error);
    free(other);
    return ok;
}

static Engine *odd_create(const EngineConfig *config, Error *error) {
    Engine *engine = engine_cpu()->create(config, error);
    if (engine) engine->api = &odd;
    return engine;
}

static void expect_found(int which, const char *attention, const char *part) {
    char *words[] = {
        (char *)"program", (char *)"eval",      (char *)"--model",           (char *)"norm",
        (char *)"--data",  (char *)"val_*.bin", (char *)"--probe-causality", (char *)"--attention",
        (char *)attention};
    Options options;
    Ranks ranks;
    Error error;
    bool done;
    ranks_imagine(&ranks, 1, 1);
    odd = *engine_cpu();
    odd.create = odd_create;
    odd.evaluate = odd_evaluate;
    kind = (enum OddKind)which;
    if (!options_parse(&options, sizeof words / sizeof *words, words, &done, &error))
        fail_msg("%s", error.message);
    if (evaluate_model(&odd, &options, &ranks, &error)) fail_msg("engine %d is taken for causal", which);
    options_free(&options);
    assert_int_equal(error.status, STATUS_DATA);
    if (!strstr(error.message, part)) fail_msg("%s: %s", part, error.message);
}

static void test_found_out(void **state) {
    (void)state;
    expect_found(LEAKS, "dense", "not causal: changing a token changed 8 of ");
    expect_found(LEAKS, "dense", "up to 1 tokens before it, under dense attention");
    // Within the chunk the look ahead hides the leak: only the probe of a chunk's first token tells.
    expect_found(LEAKS, "lighthouse", "outputs before its chunk");
    expect_found(DEAF, "dense", "changed no output at all");
    expect_found(UNSTEADY, "dense", "the second time");
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_lighthouse),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_found_out),
    };
    return cmocka_run_group_tests(tests, set_up, temporary_folder_leave);
}
