// Training on data that end, are reshuffled, or change under the program.
#include "core/base/files.h"
#include "core/checkpoint/trainer_state.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/faults.h"
#include "dev/test/support/program.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Epochs

// Six updates of two sequences, five of which are an epoch.
#define STEPS       6
#define EPOCH_TRAIN TINY_TRAIN "--layers 1 --attention dense "

// Of a step in a run's log.
static double loss_of(const char *run, size_t step) {
    json_t *steps = tiny_steps(run);
    double loss = line_number(json_array_get(steps, step - 1), "loss");
    json_decref(steps);
    return loss;
}

static void test_console(void **state) {
    (void)state;
    char *out = program_output(EPOCH_TRAIN "--out run --steps 6");
    expect_part(out, "data: 2 shards, 3940 tokens, 5 sequences; the run takes 2.4 epochs of them\n");
    expect_part(out,
                "step 3: all 5 sequences of the data were taken; epoch 2 begins, in an order of its own");
    expect_part(out, "step 6: all 5 sequences of the data were taken; epoch 3 begins");
    free(out);
    out = program_output("train --resume run --steps 8 --data-order packed");
    expect_part(out, "the run takes 3.2 epochs of them, 2.4 of them before\n");
    expect_part(out, "step 8: all 5 sequences of the data were taken; epoch 4 begins, in the same order");
    free(out);
}

// Either order is the same through the first epoch; a run that was stopped amid an epoch of its own order
// goes on in the same bits.
static void test_order(void **state) {
    (void)state;
    DONE(EPOCH_TRAIN "--out shuffled --steps 6");
    DONE(EPOCH_TRAIN "--out packed --steps 6 --data-order packed");
    for (size_t step = 1; step <= STEPS; step++) {
        bool same = loss_of("shuffled", step) == loss_of("packed", step);
        if (step <= 2) assert_true(same);
        if (step >= 4) assert_false(same);
    }
    DONE(EPOCH_TRAIN "--out parts --steps 6 --stop-at 4");
    DONE("train --resume parts");
    expect_same_steps("shuffled", "parts", STEPS);
    expect_same_checkpoint("shuffled", "parts", STEPS);
    DONE("train --config packed/run.json --out again");
    expect_same_checkpoint("packed", "again", STEPS);
}

// A checkpoint, or a run.json, of before there was an order to choose goes on in the order that it had.
static void test_of_before(void **state) {
    (void)state;
    Error error;
    TrainerState saved;
    Manifest manifest;
    DONE(EPOCH_TRAIN "--out packed --steps 6 --data-order packed");
    DONE(EPOCH_TRAIN "--out old --steps 6 --stop-at 4 --data-order packed");
    expect_ok(trainer_state_read("old/step_00000004", &saved, &manifest, &error), &error);
    assert_int_equal(json_object_del(saved.settings, "data-order"), 0);
    expect_ok(trainer_state_write("old/step_00000004", &saved, &manifest, &error), &error);
    json_decref(saved.settings);
    DONE("train --resume old");
    expect_same_checkpoint("packed", "old", STEPS);

    json_t *json = json_load_file("packed/run.json", 0, NULL);
    assert_int_equal(json_object_del(json_object_get(json, "settings"), "data-order"), 0);
    assert_int_equal(json_dump_file(json, "old.json", 0), 0);
    json_decref(json);
    DONE("train --config old.json --out again");
    expect_same_checkpoint("packed", "again", STEPS);
}

static void test_missing_shard(void **state) {
    (void)state;
    assert_int_equal(rename("train_1.bin", "train_2.bin"), 0);
    file_copy("val_0.bin", "val_1.bin");
    file_copy("val_0.bin", "val_3.bin");
    program_expect(0, "shard train_1.bin is missing",
                   EPOCH_TRAIN "--out run --steps 1 --data train_[02].bin");
    file_copy("train_0.bin", "train_3.bin");
    program_expect(0, "shard train_1.bin is missing", EPOCH_TRAIN "--out all --steps 1");
    program_expect(0, "shard val_2.bin is missing", EPOCH_TRAIN "--out val --steps 1 --val-every 1");
    program_expect(0, "shard val_2.bin is missing", "eval --model run --data val_*.bin");
}

// ---- Schedules

static void test_schedules(void **state) {
    (void)state;
    program_expect(2, "--warmup 2 leaves --schedule linear no room in --steps 2",
                   EPOCH_TRAIN "--out run --steps 2 --schedule linear");
    program_expect(2, "no room in --steps 20: the warm-up may take 10",
                   EPOCH_TRAIN "--out run --steps 20 --warmup 11 --schedule wsd --decay-steps 10");
    assert_false(folder_exists("run"));
    program_expect(0, "--warmup 2000 is as long as the run", EPOCH_TRAIN "--out run --steps 2 --warmup 2000");
    static const char *const presets[] = {"530m", "270m", "small", "tiny", "2b", "8b"};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        Outcome outcome = program_run("train --preset %s --data train_*.bin --dry-run", presets[i]);
        if (strstr(outcome.err, "warning") || outcome.status == 2)
            fail_msg("%s: %s", presets[i], outcome.err);
        outcome_free(&outcome);
    }
}

// ---- Shards that vanish

// Trains without end, does something to the second shard, and expects the end.
static void expect_lost(const char *run, void (*harm)(void), const char *part) {
    Program *program = program_start(EPOCH_TRAIN "--steps 100000 --out %s", run);
    assert_true(tiny_wait(run, 4)); // all of it was read before
    harm();
    Outcome outcome = program_wait(program);
    if (outcome.status != 3) fail_msg("%s: status %d: %s", run, outcome.status, outcome.err);
    expect_part(outcome.err, "train_1.bin");
    expect_part(outcome.err, part);
    outcome_free(&outcome);
    tiny_files();
}

static void shrink(void) {
    assert_int_equal(truncate("train_1.bin", 100), 0);
}

static void delete_it(void) {
    assert_int_equal(unlink("train_1.bin"), 0);
}

static void pack_anew(void) {
    shard_make_counting("another.bin", 2, 0, TINY_SEQUENCES * TINY_CONTEXT + 100 - 1500, 200);
    assert_int_equal(rename("another.bin", "train_1.bin"), 0);
}

static void damage(void) {
    file_flip_bit("train_1.bin", 1000);
}

static void test_lost_shards(void **state) {
    (void)state;
    expect_lost("shrunk", shrink, "is cut short");
    expect_lost("deleted", delete_it, "No such file");
    expect_lost("replaced", pack_anew, "was replaced by another");
    expect_lost("damaged", damage, "is damaged");
}

static void test_lost_shards_on_ranks(void **state) {
    (void)state;
    program_ranks(2, false);
    expect_lost("shrunk", shrink, "is cut short");
    expect_lost("deleted", delete_it, "No such file");
    program_ranks(1, false);
}

static void test_disk_fails(void **state) {
    (void)state;
    char *folder = getcwd(NULL, 0), pattern[600];
    static const Fault unreadable = {"unreadable", "main", 0};
    DONE(EPOCH_TRAIN "--out run --steps 1");
    snprintf(pattern, sizeof pattern, "%s/val_0.bin", folder);
    faults_begin(unreadable, pattern, "trace");
    program_expect(3, "val_0.bin: cannot be read at byte 0: Input/output error",
                   "eval --model run --data val_*.bin");
    program_expect(3, "val_0.bin: cannot be read at byte 0: Input/output error",
                   EPOCH_TRAIN "--out other --steps 1 --val-every 1");
    snprintf(pattern, sizeof pattern, "%s/run/step_00000001/model.safetensors", folder);
    faults_begin(unreadable, pattern, "trace");
    program_expect(3, "model.safetensors: cannot be read at byte 0", "eval --model run --data val_*.bin");
    faults_end();
    free(folder);
}

int main(void) {
    program_find();
    faults_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_console),     IN_TINY_FOLDER(test_order),
        IN_TINY_FOLDER(test_of_before),   IN_TINY_FOLDER(test_missing_shard),
        IN_TINY_FOLDER(test_lost_shards), IN_TINY_FOLDER(test_lost_shards_on_ranks),
        IN_TINY_FOLDER(test_disk_fails),  IN_TINY_FOLDER(test_schedules),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
