// --skip-spikes: what the window calls a spike, and runs that meet some: on one rank and several, stopped and
// resumed.
#include "core/checkpoint/spikes.h"
#include "core/base/error.h"
#include "core/model/tokenizer.h"
#include "dev/test/support/program.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- The window

static void test_judges_from_32_on(void **state) {
    (void)state;
    SpikeWindow window;
    memset(&window, 0, sizeof window);
    for (int i = 0; i < SPIKE_LEAST; i++) {
        SpikeLimits none = spikes_limits(&window, 3);
        assert_true(none.loss == INFINITY && none.norm == INFINITY);
        spikes_made(&window, i % 2 ? 1 : 3, i % 2 ? 10 : 30); // deviations near 1 and 10
    }
    SpikeLimits limits = spikes_limits(&window, 3);
    double deviation = sqrt(32.0 / 31);
    assert_true(fabs(limits.loss - (2 + 3 * deviation)) < 1e-12);
    assert_true(fabs(limits.norm - (20 + 30 * deviation)) < 1e-12);
    limits = spikes_limits(&window, 0); // off
    assert_true(limits.loss == INFINITY && limits.norm == INFINITY);
    spikes_forget(&window);
    limits = spikes_limits(&window, 3);
    assert_true(limits.loss == INFINITY);
}

static void test_forgets_what_is_old(void **state) {
    (void)state;
    SpikeWindow window;
    memset(&window, 0, sizeof window);
    for (int i = 0; i < 1000 + SPIKE_WINDOW; i++) spikes_made(&window, i < 1000 ? 100 : 2, i < 1000 ? 1 : 5);
    assert_int_equal(window.count, SPIKE_WINDOW);
    SpikeLimits limits = spikes_limits(&window, 4);
    assert_true(fabs(limits.loss - 2 * (1 + 4e-3)) < 1e-9); // values that do not move: a thousandth each
    assert_true(fabs(limits.norm - 5 * (1 + 4e-3)) < 1e-9);
}

static void test_json(void **state) {
    (void)state;
    SpikeWindow window, back;
    memset(&window, 0, sizeof window);
    for (int i = 0; i < 77; i++) spikes_made(&window, 1.0 / (3 + i), exp(i % 7) / 3);
    window.skipped = 4;
    json_t *json = spikes_json(&window);
    char *text = json_dumps(json, JSON_INDENT(2)); // as in state.json
    json_t *again = json_loads(text, 0, NULL);
    memset(&back, 0, sizeof back);
    assert_true(spikes_parse(again, &back));
    assert_int_equal(back.count, 77);
    assert_int_equal(back.skipped, 4);
    assert_memory_equal(back.loss, window.loss, 77 * sizeof *back.loss);
    assert_memory_equal(back.norm, window.norm, 77 * sizeof *back.norm);
    json_decref(again);
    json_decref(json);
    free(text);

    static const char *const wrong[] = {"[]",
                                        "{\"loss\": [1], \"norm\": [1]}",
                                        "{\"skipped\": -1, \"loss\": [], \"norm\": []}",
                                        "{\"skipped\": 99, \"loss\": [], \"norm\": []}",
                                        "{\"skipped\": 0, \"loss\": [1], \"norm\": []}",
                                        "{\"skipped\": 0, \"loss\": [1], \"norm\": [\"x\"]}",
                                        "{\"skipped\": 0, \"loss\": 1, \"norm\": 1}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json = json_loads(wrong[i], 0, NULL);
        assert_false(spikes_parse(json, &back));
        json_decref(json);
    }
    json = json_pack("{s:i, s:[], s:[]}", "skipped", 0, "loss", "norm");
    for (int i = 0; i <= SPIKE_WINDOW; i++) {
        json_array_append_new(json_object_get(json, "loss"), json_real(1));
        json_array_append_new(json_object_get(json, "norm"), json_real(1));
    }
    assert_false(spikes_parse(json, &back)); // one too many
    json_decref(json);
}

// ---- Runs

#define CONTEXT 64
#define STEPS   170
#define SPIKE   150 // the first step whose sequence is no alphabet; one more follows
#define SHAPE                                                                                   \
    TINY_TRAIN "--device cpu --layers 1 --heads 2 --kv-heads 2 --seq-len 64 --attention dense " \
               "--data spike_*.bin --schedule cosine --min-lr 1e-3 --skip-spikes 6 "            \
               "--log-every 1000 "

// The alphabet over and over, but for sequences `first` to `last` (from 0) of bytes that none can foresee.
static void make_data(const char *path, int64_t sequences, int64_t first, int64_t last) {
    int64_t count = sequences * CONTEXT + 1;
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    uint64_t bits = 1;
    for (int64_t i = 0; i < count; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        bool noise = i > first * CONTEXT && i < (last + 1) * CONTEXT;
        tokens[i] = noise ? (int32_t)(bits >> 56) : 'a' + (int32_t)(i % 26);
    }
    shard_make(path, 2, tokens, count);
    free(tokens);
}

static int set_up(void **state) {
    program_ranks(1, false);
    if (tiny_enter(state)) return 1;
    return 0;
}

static void expect_skips(const char *run, const int64_t *steps, int count) {
    json_t *log = tiny_log(run);
    for (int i = 0; i <= count; i++) {
        const json_t *event = tiny_event(log, "skip", i);
        if (i == count) {
            if (event)
                fail_msg("%s skipped step %d", run, (int)json_integer_value(json_object_get(event, "step")));
            break;
        }
        assert_non_null(event);
        assert_int_equal(json_integer_value(json_object_get(event, "step")), steps[i]);
        assert_true(json_number_value(json_object_get(event, "loss")) >
                    json_number_value(json_object_get(event, "most_loss")));
        assert_true(json_number_value(json_object_get(event, "most_grad_norm")) > 0);
    }
    json_decref(log);
}

// Two updates are skipped: they count and their data are left behind, but no bit of weights and moments
// changes. A run that is stopped around them decides the same.
static void test_skips_and_resumes(void **state) {
    (void)state;
    static const int64_t skipped[] = {SPIKE, SPIKE + 1};
    make_data("spike_0.bin", STEPS, SPIKE - 1, SPIKE);
    char *said =
        program_output(SHAPE "--global-batch 1 --steps 170 --checkpoint-every 1 --keep 22 --out whole");
    assert_non_null(strstr(said, "step 150: skipped, with loss "));
    free(said);
    expect_skips("whole", skipped, 2);
    assert_true(
        files_equal("whole/step_00000149/model.safetensors", "whole/step_00000151/model.safetensors"));
    assert_true(files_equal("whole/step_00000149/trainer/optimizer.safetensors",
                            "whole/step_00000151/trainer/optimizer.safetensors"));
    assert_false(
        files_equal("whole/step_00000151/model.safetensors", "whole/step_00000152/model.safetensors"));

    static const int stops[] = {20, 140, 149, 150, 151, 152};
    DONE(SHAPE "--global-batch 1 --steps 170 --stop-at 10 --out parts");
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        DONE("train --resume parts --stop-at %d", stops[i]);
    DONE("train --resume parts --log-every 1000");
    expect_same_steps("whole", "parts", STEPS);
    expect_same_checkpoint("whole", "parts", STEPS);
    expect_skips("parts", skipped, 2);
    // Without the window, which it is, the run would have taken the spike.
    DONE("train --resume whole/step_00000149 --skip-spikes 0 --out taken");
    expect_skips("taken", NULL, 0);
    assert_false(
        files_equal("whole/step_00000170/model.safetensors", "taken/step_00000170/model.safetensors"));
}

// The spike lies in the sequences of one rank alone; all skip the update.
static void test_ranks(void **state) {
    (void)state;
    static const int64_t skipped[] = {SPIKE};
    make_data("spike_0.bin", 2 * STEPS, 2 * SPIKE - 1, 2 * SPIKE - 1); // the second sequence of its update
    DONE(SHAPE "--global-batch 2 --steps 170 --out one");
    expect_skips("one", skipped, 1);
    program_ranks(2, false);
    DONE(SHAPE "--global-batch 2 --steps 170 --checkpoint-every 1 --keep 22 --out two");
    expect_skips("two", skipped, 1);
    DONE(SHAPE "--global-batch 2 --steps 170 --stop-at 149 --out parts");
    DONE("train --resume parts --stop-at 150 --device cpu --log-every 1000");
    DONE("train --resume parts --device cpu --log-every 1000");
    DONE(SHAPE "--global-batch 2 --steps 170 --cp 2 --out slices");
    program_ranks(1, false);
    expect_same_steps("two", "parts", STEPS);
    expect_same_checkpoint("two", "parts", STEPS);
    expect_skips("parts", skipped, 1);
    expect_skips("slices", skipped, 1);
    assert_true(files_equal("two/step_00000149/model.safetensors", "two/step_00000150/model.safetensors"));
}

// What does not go back is no spike: the run ends, and a resumed one in the same place.
static void test_no_spike(void **state) {
    (void)state;
    make_data("spike_0.bin", STEPS, SPIKE - 1, STEPS);
    const char *said = "step 159: 10 updates in a row were skipped";
    program_expect(5, said, SHAPE "--global-batch 1 --steps 170 --checkpoint-every 31 --out run");
    program_expect(5, said, "train --resume run --log-every 1000"); // from step 155, with 6 of them behind it
    DONE("train --resume run --skip-spikes 0");
}

// The first losses of another stage are no spikes, however far they are off: here its texts are others too.
static void test_switch(void **state) {
    (void)state;
    make_data("spike_0.bin", 50 * 768 / CONTEXT, 40 * 768 / CONTEXT, 50 * 768 / CONTEXT);
    DONE(TINY_TRAIN
         "--device cpu --dense-layers none --data spike_*.bin --global-batch 1 --steps 50 --switch-at 40 "
         "--skip-spikes 6 --out run");
    expect_skips("run", NULL, 0);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, temporary_folder_leave)

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judges_from_32_on),
        cmocka_unit_test(test_forgets_what_is_old),
        cmocka_unit_test(test_json),
        RUN_TEST(test_skips_and_resumes),
        RUN_TEST(test_ranks),
        RUN_TEST(test_no_spike),
        RUN_TEST(test_switch),
    };
    return cmocka_run_group_tests_name("spikes", tests, NULL, NULL) ? 1 : 0;
}
