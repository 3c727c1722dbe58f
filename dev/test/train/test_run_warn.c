// What a run says at its start: settings without effect, a learning rate that jumps up, settings that a start
// which saved nothing had, a checkpoint of another run. And what a report says of a log with gaps.
#include "core/base/files.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

// Runs the program, which must end well, and holds what it says against a part of a warning; NULL: none.
static void expect_said(const char *part, const char *line) {
    Outcome outcome = program_run("%s", line);
    bool as_wanted = part ? strstr(outcome.err, part) != NULL : !strstr(outcome.err, "warning");
    if (outcome.status != 0 || !as_wanted)
        fail_msg("%s: status %d, wanted %s, said %s", line, outcome.status, part ? part : "no warning",
                 outcome.err);
    outcome_free(&outcome);
}

static void test_without_effect(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"--skip-spikes 3 skips nothing in this run", TINY_TRAIN "--out a --steps 32 --skip-spikes 3"},
        {NULL, TINY_TRAIN "--out b --steps 33 --skip-spikes 3"},
        {NULL, "train --resume b --steps 34 --skip-spikes 4"}, // the window is full already
        {"skips nothing", "train --resume b --steps 36 --skip-spikes 4 --attention dense"},
        {"skips nothing", TINY_TRAIN "--out c --steps 40 --switch-at 20 --skip-spikes 3"},
        {"--keep 2 deletes nothing", TINY_TRAIN "--out d --steps 3 --keep 2 --checkpoint-every 0"},
        {"--keep 2 deletes nothing", TINY_TRAIN "--out e --steps 3 --keep 2 --checkpoint-every 3"},
        {NULL, TINY_TRAIN "--out f --steps 3 --keep 2 --checkpoint-every 1"},
        {NULL, "train --resume f --steps 4 --keep 1 --checkpoint-every 0"}, // two go
        {"--zero 2 changes nothing on one rank", TINY_TRAIN "--out z --steps 1 --zero 2"},
        {NULL, "train --resume z --steps 3"}, // a run that has lost its other ranks
        {NULL, TINY_TRAIN "--out y --steps 3 --zero 1"},
        {NULL, TINY_TRAIN "--out x --steps 3 --dry-run --ranks 2 --zero 2"},
        {"--val-batches 1 is not used", TINY_TRAIN "--out g --steps 3 --val-batches 1"},
        {"--val-batches 9: --val val_*.bin holds 2 sequences",
         TINY_TRAIN "--out h --steps 3 --val-batches 9 --val-every 2"},
        {NULL, TINY_TRAIN "--out i --steps 3 --val-batches 2 --val-every 2"},
        {"--val-batches 3: --data val_*.bin holds 2 sequences",
         "eval --model i --data val_*.bin --val-batches 3"},
        {NULL, "eval --model i --data val_*.bin --val-batches 2"},
        {"--data *_0.bin takes val_0.bin too", TINY_TRAIN "--out j --steps 3 --data *_0.bin"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_said(cases[i][0], cases[i][1]);
}

static void test_rate_that_rises(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {NULL, TINY_TRAIN "--out run --steps 4 --schedule cosine"},
        {"the learning rate rises where the run goes on, from 0 to",
         "train --resume run --steps 8 --out more"},
        {NULL, "train --resume run --steps 8 --out low --schedule constant --lr 1e-4"},
        {NULL, TINY_TRAIN "--out half --steps 8 --stop-at 6 --schedule wsd --decay-steps 4"},
        {NULL, "train --resume half"},
        {NULL, TINY_TRAIN "--out warm --steps 8 --stop-at 2 --warmup 6"},
        {NULL, "train --resume warm"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_said(cases[i][0], cases[i][1]);
}

// Waits until a run has done some updates.
static void wait_for_updates(const char *log, int count) {
    struct timespec moment = {0, 20000000};
    for (int look = 0; look < 1500; look++) {
        size_t size;
        Error ignored;
        char *text = file_exists(log) ? file_read(log, SIZE_MAX, &size, &ignored) : NULL;
        int found = 0;
        for (const char *at = text; at && (at = strstr(at, "tok_per_s")); at++) found++;
        free(text);
        if (found >= count) return;
        nanosleep(&moment, NULL);
    }
    fail_msg("%s: no %d updates", log, count);
}

static void test_settings_are_lost(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2");
    Program *program = program_start("train --resume run --steps 100000 --lr 0.001 --checkpoint-every 0");
    wait_for_updates("run/log.jsonl", 4);
    program_signal(program, SIGKILL);
    Outcome outcome = program_wait(program);
    outcome_free(&outcome);
    expect_said(
        "the last start of run saved nothing, and what it was told is not taken: --steps 100000, --lr "
        "0.001, --checkpoint-every 0;",
        "train --resume run --steps 2 --dry-run");
    expect_said(NULL, "train --resume run --steps 3 --lr 0.001 --checkpoint-every 0 --dry-run --out other");
    expect_said("not taken: --steps 100000;", "train --resume run --steps 3 --lr 0.001 --checkpoint-every 0");
    expect_said(NULL, "train --resume run --steps 4");
}

static void copy_checkpoint(const char *from, const char *to) {
    static const char *const names[] = {"config.json",
                                        "model.safetensors",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "trainer/optimizer.safetensors",
                                        "trainer/state.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *source = path_join(from, names[i]), *target = path_join(to, names[i]);
        file_copy(source, target);
        free(source);
        free(target);
    }
}

static void test_checkpoint_of_another_run(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out one --steps 3 --checkpoint-every 1");
    DONE(TINY_TRAIN "--out two --steps 3 --lr 0.002");
    expect_said(NULL, "train --resume one --steps 4");
    assert_int_equal(rename("one/step_00000003", "kept"), 0);
    Error error;
    assert_true(tree_remove("one/step_00000004", &error));
    copy_checkpoint("two/step_00000003", "one/step_00000003");
    expect_said("one/step_00000003 is a checkpoint of another run",
                "train --resume one --steps 5 --lr 0.002");
    expect_said(NULL, "train --resume one --steps 6"); // it is this run's from there on
    expect_said(NULL, "train --resume two/step_00000003 --steps 4 --out branch");
    assert_int_equal(rename("two", "moved"), 0);
    expect_said(NULL, "train --resume moved --steps 5");
    assert_int_equal(unlink("moved/run.json"), 0);
    expect_said(NULL, "train --resume moved --steps 6"); // and keeps its identity
    expect_said(NULL, "train --resume moved --steps 7");
}

// Runs in one report, of other units, or validated on other sequences.
static void test_losses_that_do_not_compare(void **state) {
    (void)state;
    char ids[8 * TINY_CONTEXT];
    for (size_t i = 0; i < sizeof ids; i++) ids[i] = i % 2 ? 0 : (char)(i * 7 % 60);
    scratch_write(".", "own.bin", ids, sizeof ids);
    DONE("pack own.bin --tokens uint16 --vocab 60 --val-fraction 0 --out ids");
    DONE(TINY_TRAIN "--out one --steps 2 --val-batches 2 --val-every 2");
    DONE(TINY_TRAIN "--out same --steps 2 --val-batches 2 --val-every 1");
    DONE(TINY_TRAIN "--out fewer --steps 2 --val-batches 1 --val-every 2");
    DONE(TINY_TRAIN "--out none --steps 2");
    DONE(TINY_TRAIN "--data ids/train_*.bin --out numbers --steps 2");
    expect_said(NULL, "report one none same --out loss.svg");
    expect_said("one was validated on 2 sequences of 768 tokens, fewer on 1 of 768: their validation losses",
                "report none one same fewer --out loss.svg");
    expect_said("losses of one are nats a byte, those of numbers nats a token",
                "report numbers one --out loss.svg");
}

static void test_log_with_gaps(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --checkpoint-every 2");
    DONE("train --resume run/step_00000002 --out branch --steps 4");
    expect_said(NULL, "report run branch --out whole.svg");
    assert_int_equal(unlink("run/log.jsonl"), 0);
    DONE("train --resume run --steps 6");
    expect_said("run: its log lacks 4 of the updates, the first behind step 0", "report run --out part.svg");
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_without_effect),
        IN_TINY_FOLDER(test_rate_that_rises),
        IN_TINY_FOLDER(test_settings_are_lost),
        IN_TINY_FOLDER(test_checkpoint_of_another_run),
        IN_TINY_FOLDER(test_losses_that_do_not_compare),
        IN_TINY_FOLDER(test_log_with_gaps),
    };
    return cmocka_run_group_tests_name("run_warn", tests, NULL, NULL) ? 1 : 0;
}
