// Runs of the built program that go on: in the same bits as one that did not stop, under another attention,
// as a branch.
#include "core/base/files.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Stopped after every single step, through the switch and two ends of an epoch.
static void every_boundary(const char *options) {
    DONE(TINY_TRAIN "--out whole --steps 8 --switch-at 4 %s", options);
    DONE(TINY_TRAIN "--out parts --steps 1 --switch-at 4 %s", options);
    for (int steps = 2; steps <= 8; steps++) DONE("train --resume parts --steps %d", steps);
    expect_same_steps("whole", "parts", 8);
    expect_same_checkpoint("whole", "parts", 8);
    json_t *log = tiny_log("parts");
    assert_int_equal(line_integer(tiny_event(log, "switch", 0), "step"), 4);
    assert_null(tiny_event(log, "switch", 1));
    assert_string_equal(line_text(tiny_event(log, "resume", 0), "changed"), "steps 1 -> 2");
    assert_int_equal(line_integer(tiny_event(log, "resume", 6), "step"), 7);
    assert_null(tiny_event(log, "resume", 7));
    assert_int_equal(line_integer(tiny_event(log, "epoch", 1), "epoch"), 2);
    json_decref(log);
}

static void test_every_boundary(void **state) {
    (void)state;
    every_boundary("");
}

static void test_every_boundary_recompute(void **state) {
    (void)state;
    every_boundary("--recompute block --batch 2 --global-batch 4");
}

static void test_every_boundary_gla(void **state) {
    (void)state;
    every_boundary("--scorer gla --dense-layers none");
}

// One matrix in memory, in files, and in runs that begin from them.
static void test_tied(void **state) {
    (void)state;
    char *weights, *settings;
    size_t size;
    every_boundary("--tie-embeddings --decay matrices");
    weights = scratch_read("whole/step_00000008", "model.safetensors", &size);
    assert_non_null(memmem(weights, size, "model.embed_tokens.weight", 25));
    assert_null(memmem(weights, size, "lm_head", 7));
    free(weights);
    weights = scratch_read("whole/step_00000008", "trainer/optimizer.safetensors", &size);
    assert_null(memmem(weights, size, "lm_head", 7));
    free(weights);
    DONE("train --init whole/step_00000008 --config tiny.json --tie-embeddings --out longer --steps 1");
    settings = scratch_read("longer", "run.json", &size);
    assert_non_null(strstr(settings, "\"tie-embeddings\": true"));
    free(settings);
    program_expect(
        2, "has tie_word_embeddings true in its config.json",
        "train --init whole/step_00000008 --config tiny.json --tie-embeddings=false --out no --steps 1");
    program_expect(2, "--embedding-std 0.5 has no meaning with --tie-embeddings",
                   TINY_TRAIN "--tie-embeddings --embedding-std 0.5 --out no --steps 1");
    program_expect(2, "--tie-embeddings false: the run to resume has true",
                   "train --resume longer --steps 2 --tie-embeddings=false");
}

// The log as it is after a signal at the last step.
static void drop_validations(const char *run) {
    json_t *log = tiny_log(run), *line;
    char path[64];
    size_t i;
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    FILE *file = fopen(path, "w");
    json_array_foreach(log, i, line) {
        const char *event = json_string_value(json_object_get(line, "event"));
        if (event && strcmp(event, "validation") == 0) continue;
        json_dumpf(line, file, JSON_COMPACT);
        fputc('\n', file);
    }
    fclose(file);
    json_decref(log);
}

// A validation that a signal has kept from being made comes when the run goes on; one that was made does not
// come again.
static void test_missed_validation(void **state) {
    (void)state;
    for (int missed = 0; missed < 2; missed++) {
        const char *run = missed ? "missed" : "made";
        DONE(TINY_TRAIN "--steps 3 --val-every 3 --out %s", run);
        json_t *log = tiny_log(run);
        double loss = json_number_value(json_object_get(tiny_event(log, "validation", 1), "loss"));
        if (missed) drop_validations(run);
        json_decref(log);
        DONE("train --resume %s --steps 4", run);
        log = tiny_log(run);
        for (int n = 0; n < 4; n++) { // two attentions after step 3, and after step 4
            assert_int_equal(line_integer(tiny_event(log, "validation", n), "step"), n < 2 ? 3 : 4);
        }
        assert_null(tiny_event(log, "validation", 4));
        assert_true(json_number_value(json_object_get(tiny_event(log, "validation", 1), "loss")) == loss);
        json_decref(log);
    }
    // Where only the dense stage is left, it is made under dense attention alone.
    DONE(TINY_TRAIN "--steps 3 --val-every 0 --out stage");
    DONE("train --resume stage --attention dense --steps 4 --val-every 3");
    json_t *log = tiny_log("stage");
    assert_string_equal(line_text(tiny_event(log, "validation", 0), "attention"), "dense");
    assert_int_equal(line_integer(tiny_event(log, "validation", 1), "step"), 4);
    json_decref(log);
}

// At the very step of the switch it is made up under both attentions, and what follows has the same bits.
static void test_missed_at_switch(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--steps 6 --switch-at 3 --val-every 3 --out whole");
    DONE(TINY_TRAIN "--steps 6 --switch-at 3 --val-every 3 --stop-at 3 --out left");
    drop_validations("left");
    DONE("train --resume left --stop-at 0");
    json_t *whole = tiny_log("whole"), *left = tiny_log("left");
    for (int n = 0; n < 3; n++) {
        const json_t *one = tiny_event(whole, "validation", n), *other = tiny_event(left, "validation", n);
        assert_int_equal(line_integer(other, "step"), n < 2 ? 3 : 6);
        assert_string_equal(line_text(other, "attention"), n == 0 ? "lighthouse" : "dense");
        assert_true(json_number_value(json_object_get(one, "loss")) ==
                    json_number_value(json_object_get(other, "loss")));
    }
    assert_null(tiny_event(left, "validation", 3));
    json_decref(whole);
    json_decref(left);
    expect_same_checkpoint("whole", "left", 6);
}

// Both ways to the second stage: one run that switches, and a stopped one resumed under dense attention.
static void test_two_stages(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out switched --steps 7 --switch-at 4");
    DONE(TINY_TRAIN "--out resumed --steps 4");
    DONE("train --resume resumed --attention dense --steps 7");
    expect_same_steps("switched", "resumed", 7);
    expect_same_checkpoint("switched", "resumed", 7);
    // A switch that the run had planned for later is overruled by name.
    DONE(TINY_TRAIN "--out planned --steps 4 --switch-at 6");
    DONE("train --resume planned --attention dense --steps 7");
    expect_same_steps("switched", "planned", 7);
    json_t *log = tiny_log("planned");
    assert_string_equal(line_text(tiny_event(log, "resume", 0), "changed"), "switch-at 6 -> 4, steps 4 -> 7");
    json_decref(log);
}

// A run that ends early, validated and saved, is the beginning of the whole one: the schedule is that of
// --steps.
static void test_stop_at(void **state) {
    (void)state;
#define DECAYING TINY_TRAIN "--steps 6 --schedule linear --warmup 0 --val-every 100 "
    DONE(DECAYING "--out whole");
    DONE(DECAYING "--out run --stop-at 4");
    assert_false(folder_exists("run/step_00000006"));
    json_t *log = tiny_log("run");
    assert_int_equal(line_integer(tiny_event(log, "validation", 0), "step"), 4);
    assert_int_equal(line_integer(tiny_event(log, "checkpoint", 0), "step"), 4);
    json_decref(log);
    program_expect(2, "--stop-at 3: the run to resume has done 4 steps already",
                   DECAYING "--out run --resume auto --stop-at 3");
    DONE(DECAYING "--out run --resume auto --stop-at 6");
    expect_same_steps("whole", "run", 6);
    expect_same_checkpoint("whole", "run", 6);
}

// ---- Branches

// A parent is known by its absolute path.
static void expect_parent(const json_t *run) {
    char *wanted = path_absolute("parent/step_00000003");
    assert_string_equal(line_text(run, "parent"), wanted);
    assert_int_equal(line_integer(run, "parent_step"), 3);
    free(wanted);
}

static void test_branch(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out parent --steps 6 --checkpoint-every 3");
    Error error;
    file_copy("parent/log.jsonl", "before.jsonl");
    file_copy("parent/run.json", "before.json");
    DONE("train --resume parent/step_00000003 --out child");
    assert_true(files_equal("parent/log.jsonl", "before.jsonl"));
    assert_true(files_equal("parent/run.json", "before.json"));
    expect_same_checkpoint("parent", "child", 6);
    assert_false(folder_exists("child/step_00000003"));
    json_t *log = tiny_log("child"), *run = json_load_file("child/run.json", 0, NULL);
    assert_int_equal(line_integer(tiny_event(log, "resume", 0), "step"), 3);
    expect_parent(run);
    json_decref(log);
    json_decref(run);
    program_expect(2, "already holds a run", "train --resume parent/step_00000003 --out child");
    DONE("train --resume child --steps 7"); // what goes on keeps its parent
    run = json_load_file("child/run.json", 0, NULL);
    expect_parent(run);
    json_decref(run);
    assert_true(tree_remove("child/step_00000007", &error));
    // --out of the run itself is no branch.
    DONE("train --resume parent --out parent --steps 7");
    DONE("train --resume parent/step_00000007/ --steps 8");
    DONE("train --resume parent/step_00000008/trainer/.. --steps 9");
    assert_true(folder_exists("parent/step_00000008") && folder_exists("parent/step_00000009"));
    // A branch that died before its first checkpoint is not begun from nothing.
    assert_true(tree_remove("child/step_00000006", &error));
    DONE(TINY_TRAIN "--resume auto --out child --steps 6");
    expect_same_checkpoint("parent", "child", 6);
}

// A setting of the run that another schedule has no meaning for is ended by what the message says.
static void test_other_schedule(void **state) {
    (void)state;
    program_expect(0, NULL, TINY_TRAIN "--out wsd --steps 3 --schedule wsd --decay-steps 1 --min-lr 1e-3");
    program_expect(2, "only for --schedule wsd; end it with --decay-steps 0",
                   "train --resume wsd --steps 4 --schedule constant");
    program_expect(2, "no meaning with --schedule constant; end it with --min-lr 0",
                   "train --resume wsd --steps 4 --schedule constant --decay-steps 0");
    program_expect(0, NULL, "train --resume wsd --steps 4 --schedule constant --decay-steps 0 --min-lr 0");
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_every_boundary),     IN_TINY_FOLDER(test_every_boundary_recompute),
        IN_TINY_FOLDER(test_every_boundary_gla), IN_TINY_FOLDER(test_tied),
        IN_TINY_FOLDER(test_two_stages),         IN_TINY_FOLDER(test_missed_validation),
        IN_TINY_FOLDER(test_missed_at_switch),   IN_TINY_FOLDER(test_stop_at),
        IN_TINY_FOLDER(test_other_schedule),     IN_TINY_FOLDER(test_branch),
    };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL) ? 1 : 0;
}
