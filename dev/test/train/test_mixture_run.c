// Runs on a mixture of sources: what they log, how they go on, and what is refused.
#include "core/base/files.h"
#include "core/checkpoint/trainer_state.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SOURCES "--data train_*.bin:0.75 other.bin:0.25 "

// A second source beside the first: 2 sequences.
static void make_other(void) {
    shard_make_counting("other.bin", 2, 0, 2 * TINY_CONTEXT + 40, 250);
}

static int64_t tokens_of(const json_t *line, size_t source) {
    return json_integer_value(json_array_get(json_object_get(line, "source_tokens"), source));
}

// 2 sequences an update: after 8 updates 12 sequences of the one and 4 of the other.
static void expect_shares(const char *run) {
    json_t *steps = tiny_steps(run), *line = json_array_get(steps, 7);
    assert_int_equal(tokens_of(line, 0), 12 * TINY_CONTEXT);
    assert_int_equal(tokens_of(line, 1), 4 * TINY_CONTEXT);
    json_decref(steps);
}

static void test_goes_on(void **state) {
    (void)state;
    make_other();
    char *said = program_output(TINY_TRAIN SOURCES "--out whole --steps 8 --checkpoint-every 2");
    expect_part(
        said, "data: train_*.bin, 75%: 2 shards, 3940 tokens, 5 sequences; the run takes 2.4 epochs of them");
    expect_part(said,
                "data: other.bin, 25%: 1 shard, 1576 tokens, 2 sequences; the run takes 2 epochs of them");
    expect_part(said, "all 2 sequences of other.bin were taken; epoch 2 begins, in an order of its own");
    free(said);
    expect_shares("whole");
    for (int step = 1; step < 8; step += 2) { // each update but the first two in a program of its own
        char words[16];
        snprintf(words, sizeof words, "--steps %d", step);
        if (step == 1) DONE(TINY_TRAIN SOURCES "--out run %s", words);
        if (step > 1) DONE("train --resume run %s", words);
    }
    DONE("train --resume run --steps 8");
    expect_same_steps("whole", "run", 8);
    expect_same_checkpoint("whole", "run", 8);
    expect_shares("run");
    json_t *log = tiny_log("run"), *epoch = tiny_event(log, "epoch", 0);
    expect_part(line_text(epoch, "source"), "/train_*.bin");
    json_decref(log);
}

// run.json gives the run again, from another folder too.
static void test_again(void **state) {
    (void)state;
    make_other();
    DONE(TINY_TRAIN SOURCES "--out run --steps 3");
    DONE("train --config run/run.json --out again");
    expect_same_checkpoint("run", "again", 3);
    assert_int_equal(chdir("run"), 0);
    DONE("train --resume . --steps 4");
    assert_int_equal(chdir(".."), 0);
}

static void test_refused(void **state) {
    (void)state;
    make_other();
    DONE(TINY_TRAIN SOURCES "--out run --steps 2");
    program_expect(2, "is not what the run to resume was trained on",
                   "train --resume run --steps 3 --data train_*.bin");
    program_expect(2, "--data train_*.bin:0.5 other.bin:0.5 (shards: 3, tokens: 5516",
                   "train --resume run --steps 3 --data train_*.bin:0.5 other.bin:0.5");
    program_expect(2, "is not what the run to resume was trained on",
                   "train --resume run --steps 3 --data other.bin:0.25 train_*.bin:0.75");
    program_expect(2, "--data a:0,6: '0,6' is no weight; write", TINY_TRAIN "--out x --data a:0,6 b:0.4");
    program_expect(2, "--data a:nan: the weight nan must be", TINY_TRAIN "--data a:nan b:0.4 --dry-run");
    DONE(TINY_TRAIN "--data elsewhere:1 b:0.4 --dry-run"); // a plan needs no shards
    program_expect(2, "--data b: has no weight", TINY_TRAIN "--out x --steps 1 --data a:1 b");
    program_expect(2, "--data a: has no weight", TINY_TRAIN "--out x --steps 1 --data a b:1");
    program_expect(2, "the shell has expanded", TINY_TRAIN "--out x --steps 1 --data a b");
    program_expect(2, "the weight 0 must be from", TINY_TRAIN "--out x --steps 1 --data a:0 b:1");
    program_expect(3, "error: --data: no file matches a;",
                   TINY_TRAIN "--out x --steps 1 --data a:1 other.bin:1");
    assert_false(folder_exists("x"));
    // The same, written otherwise, is the same.
    DONE("train --resume run --steps 3 --data train_*.bin:3 other.bin:1");
}

// Other weights begin with --new-data, as a run from the same weights that had only them.
static void test_new_weights(void **state) {
    (void)state;
    make_other();
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE("train --resume run --out mixed --steps 2 --new-data " SOURCES);
    DONE("train --resume mixed --out other --steps 4 --new-data --data train_*.bin:1 other.bin:1");
    DONE("train --resume mixed --out parted --steps 3 --new-data --data train_*.bin:1 other.bin:1");
    DONE("train --resume parted --steps 4");
    expect_same_checkpoint("other", "parted", 4);
    json_t *steps = tiny_steps("other");
    assert_int_equal(tokens_of(json_array_get(steps, 1), 0), 2 * TINY_CONTEXT);
    assert_int_equal(tokens_of(json_array_get(steps, 1), 1), 2 * TINY_CONTEXT);
    json_decref(steps);
    DONE("train --resume mixed --out back --steps 3 --new-data --data train_*.bin");
}

// One source is what it is without a weight: state and bits.
static void test_one_source(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out plain --steps 3");
    DONE(TINY_TRAIN "--out run --steps 3 --data train_*.bin:0.3");
    expect_same_steps("plain", "run", 3);
    expect_same_checkpoint("plain", "run", 3);
    char *text = scratch_read("run/step_00000003", STATE_FILE_NAME, NULL);
    assert_null(strstr(text, "sources"));
    free(text);
    DONE("train --resume plain --steps 4 --data train_*.bin:7");
}

static void test_on_ranks(void **state) {
    (void)state;
    make_other();
    DONE(TINY_TRAIN SOURCES "--out one --steps 8");
    program_ranks(2, false);
    DONE(TINY_TRAIN SOURCES "--out two --steps 8");
    program_ranks(1, false);
    expect_shares("two");
    json_t *one = tiny_steps("one"), *two = tiny_steps("two");
    for (size_t i = 0; i < 8; i++) {
        const json_t *a = json_array_get(one, i), *b = json_array_get(two, i);
        assert_true(json_equal(json_object_get(a, "source_tokens"), json_object_get(b, "source_tokens")));
        assert_true(fabs(line_number(a, "loss") - line_number(b, "loss")) < 1e-5);
    }
    json_decref(one);
    json_decref(two);
}

static void test_info(void **state) {
    (void)state;
    make_other();
    DONE(TINY_TRAIN SOURCES "--out run --steps 2");
    char *said = program_output("info run/step_00000002");
    expect_part(said, "source 2 of 2: 768 tokens taken, at cursor 768 of epoch 0");
    free(said);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_goes_on),     IN_TINY_FOLDER(test_again),      IN_TINY_FOLDER(test_refused),
        IN_TINY_FOLDER(test_new_weights), IN_TINY_FOLDER(test_one_source), IN_TINY_FOLDER(test_on_ranks),
        IN_TINY_FOLDER(test_info),
    };
    program_find();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
