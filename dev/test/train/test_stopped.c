// Runs of the built program that signals stop, or another program would disturb: they end in the same bits as
// one that did not stop.
#include "core/base/clock.h"
#include "core/base/files.h"
#include "dev/test/support/held.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
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

// Waits for the end of a program that was told to stop.
static void expect_stopped(Program *program, const char *said) {
    Outcome outcome = program_wait(program);
    if (outcome.status != 75 || !strstr(outcome.err, said))
        fail_msg("wanted '%s'; status %d: %s", said, outcome.status, outcome.err);
    outcome_free(&outcome);
}

// Sends a signal and waits for the end, which must come within 30 s and say that all is saved.
static void expect_preempted(Program *program, int signal, const char *said) {
    double start = now();
    program_signal(program, signal);
    expect_stopped(program, said);
    double seconds = now() - start;
    if (seconds > 30) fail_msg("signal %d: it ended after %.1f s", signal, seconds);
    print_message("signal %d: saved and ended after %.2f s\n", signal, seconds);
}

#define LONG_STEPS 36
#define LONG_TRAIN TINY_TRAIN "--steps 36 --global-batch 1 --switch-at 12 --schedule cosine --min-lr 1e-3 "

// A process that dies loses what came after its last checkpoint, and its lines in the log.
static void test_killed(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    static const int last[] = {6, 12, 18}; // before, at and after the switch
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        char run[32];
        snprintf(run, sizeof run, "killed_%d", last[i]);
        Program *program =
            held_behind(run, last[i], HELD_TILL_TOLD, LONG_TRAIN "--out %s --checkpoint-every 3", run);
        program_signal(program, SIGKILL);
        Outcome outcome = program_wait(program);
        assert_int_equal(outcome.status, 128 + SIGKILL);
        outcome_free(&outcome);
        // A torn line, as a crash may leave it.
        char *path = path_join(run, "log.jsonl");
        FILE *log = fopen(path, "a");
        assert_true(log && fputs("{\"step\":", log) >= 0 && fclose(log) == 0);
        free(path);
        DONE(LONG_TRAIN "--out %s --resume auto", run); // the first save may not have been done yet
        expect_same_steps("whole", run, LONG_STEPS);
        expect_same_checkpoint("whole", run, LONG_STEPS);
    }
}

static void test_signals(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGUSR2, SIGXCPU};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char run[32], command[64];
        snprintf(run, sizeof run, "signal_%d", signals[i]);
        int step = i == 0 ? 3 : 14;
        Program *program = held_behind(run, step, HELD_TILL_SIGNAL, LONG_TRAIN "--out %s", run);
        snprintf(command, sizeof command, "stopped by signal %d after step %d,", signals[i], step);
        expect_preempted(program, signals[i], command);
        DONE("train --resume %s", run);
        expect_same_steps("whole", run, LONG_STEPS);
        expect_same_checkpoint("whole", run, LONG_STEPS);
    }
}

// An update of a million micro-steps, and a validation of as many sequences, do not hold up the end: the
// update is begun anew by the run that goes on, from the state before it.
static void test_signal_in_long_work(void **state) {
    (void)state;
    struct timespec moment = {0, 500000000};
    DONE(TINY_TRAIN "--out whole --steps 4 --switch-at 2");
    static const char *const runs[] = {"begun", "new"};
    DONE(TINY_TRAIN "--out begun --steps 2 --switch-at 2");
    for (int i = 0; i < 2; i++) {
        char said[64];
        Program *program = program_start(
            TINY_TRAIN "--out %s --resume auto --steps 4 --switch-at 2 --global-batch 1000000", runs[i]);
        snprintf(said, sizeof said, "after step %d, which is saved", i == 0 ? 2 : 0);
        assert_true(tiny_wait_for(runs[i], i == 0 ? "\"event\":\"resume\"" : ""));
        nanosleep(&moment, NULL);
        expect_preempted(program, SIGTERM, said);
        DONE(TINY_TRAIN "--out %s --resume auto --steps 4 --switch-at 2", runs[i]);
        expect_same_steps("whole", runs[i], 4);
        expect_same_checkpoint("whole", runs[i], 4);
        json_t *log = tiny_log(runs[i]);
        assert_null(tiny_event(log, "switch", 1));
        json_decref(log);
    }

    shard_make_counting("long.bin", 2, 0, 20000 * TINY_CONTEXT + 1, 256);
    Program *program = program_start(
        TINY_TRAIN "--out validating --steps 4 --val long.bin --val-every 3 --val-batches 20000");
    assert_true(tiny_wait("validating", 3));
    expect_preempted(program, SIGUSR1, "after step 3, which is saved");
    json_t *log = tiny_log("validating");
    assert_null(tiny_event(log, "validation", 0));
    json_decref(log);
    DONE("train --resume validating --val-batches 2"); // it is made up for
    log = tiny_log("validating");
    assert_int_equal(line_integer(tiny_event(log, "validation", 0), "step"), 3); // Lighthouse, and dense
    assert_int_equal(line_integer(tiny_event(log, "validation", 1), "step"), 3);
    assert_int_equal(line_integer(tiny_event(log, "validation", 2), "step"), 4);
    json_decref(log);
}

// The lock of a program that was killed, even as it stood still, holds nobody up.
static void test_stale_lock(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "start_%d", i);
        Program *program = held_behind(name, 4 + 4 * i, HELD_TILL_TOLD,
                                       LONG_TRAIN "--out run --checkpoint-every 2 --resume auto");
        program_signal(program, SIGSTOP);
        program_expect(2, "run: another program is training this run", LONG_TRAIN "--resume auto --out run");
        program_signal(program, SIGKILL);
        Outcome outcome = program_wait(program);
        assert_int_equal(outcome.status, 128 + SIGKILL);
        outcome_free(&outcome);
    }
    DONE(LONG_TRAIN "--resume auto --out run");
    expect_same_steps("whole", "run", LONG_STEPS);
    expect_same_checkpoint("whole", "run", LONG_STEPS);
}

// Two programs cannot write one run; the first goes on undisturbed.
static void test_second_program(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    Program *program = held_behind("run", 2, HELD_TILL_TOLD, LONG_TRAIN "--out run --checkpoint-every 1");
    program_expect(2, "run: another program is training this run", LONG_TRAIN "--resume auto --out run");
    held_go("run");
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
    expect_same_steps("whole", "run", LONG_STEPS);
    expect_same_checkpoint("whole", "run", LONG_STEPS);
}

// One that comes while the run validates is heeded as soon as that is done.
static void test_signal_in_validation(void **state) {
    (void)state;
    shard_make_counting("val_1.bin", 2, 0, TINY_CONTEXT + 1, 256); // its one sequence is the last
    Program *program = held_before("validating", 3, "/val_1.bin", HELD_TILL_TOLD,
                                   LONG_TRAIN "--out validating --val-every 3 --val-batches 3");
    program_signal(program, SIGTERM);
    held_heeds("validating", 1);
    held_go("validating");
    expect_stopped(program, "after step 3, which is saved");
    json_t *log = tiny_log("validating");
    assert_non_null(tiny_event(log, "validation", 0)); // it was not cut short
    json_decref(log);
}

// Batch systems send a signal twice, or two kinds, within milliseconds.
static void test_signals_that_repeat(void **state) {
    (void)state;
    static const int pairs[][2] = {
        {SIGTERM, SIGTERM}, {SIGHUP, SIGTERM}, {SIGTERM, SIGINT}, {SIGINT, SIGTERM}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char run[32];
        snprintf(run, sizeof run, "run_%d", (int)i);
        Program *program = held_behind(run, 3, HELD_TILL_TOLD, LONG_TRAIN "--out %s", run);
        program_signal(program, pairs[i][0]);
        held_heeds(run, 1);
        program_signal(program, pairs[i][1]);
        held_heeds(run, 2);
        held_go(run);
        expect_stopped(program, "after step 3, which is saved; go on with");
    }
}

// A person who presses Ctrl-C twice does not wait.
static void test_second_interrupt(void **state) {
    (void)state;
    Program *program = held_behind("run", 3, HELD_TILL_TOLD, LONG_TRAIN "--out run");
    program_signal(program, SIGINT);
    held_heeds("run", 1);
    usleep(100000);
    program_signal(program, SIGINT);
    held_heeds("run", 2);
    held_go("run"); // it would save now, but is no more
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 128 + SIGINT);
    assert_false(folder_exists("run/step_00000003"));
    outcome_free(&outcome);
}

// One press that arrives twice is one. Both have to come within 50 ms, which a busy machine may not give
// every time.
static void test_interrupt_that_repeats(void **state) {
    (void)state;
    double seconds = 1;
    for (int i = 0; i < 50 && seconds > 0.04; i++) {
        char run[32];
        snprintf(run, sizeof run, "run_%d", i);
        Program *program = held_behind(run, 3, HELD_TILL_TOLD, LONG_TRAIN "--out %s", run);
        double start = now();
        program_signal(program, SIGINT);
        held_heeds(run, 1);
        program_signal(program, SIGINT);
        held_heeds(run, 2);
        seconds = now() - start;
        held_go(run);
        if (seconds <= 0.04) {
            expect_stopped(program, "after step 3, which is saved");
        } else { // it may be one press or two
            Outcome outcome = program_wait(program);
            outcome_free(&outcome);
        }
    }
    assert_true(seconds <= 0.04);
}

// What nohup starts outlives its terminal.
static void test_hangup_under_nohup(void **state) {
    (void)state;
    program_hangup(true);
    Program *program = held_behind("run", 3, HELD_TILL_TOLD, LONG_TRAIN "--out run");
    program_hangup(false);
    program_signal(program, SIGHUP);
    held_go("run");
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
}

static void test_auto(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    // From nothing, killed before the first checkpoint, begun again, killed after one, and on to the end.
    for (int round = 0; round < 2; round++) {
        Program *program =
            held_behind(round == 0 ? "first" : "second", round == 0 ? 4 : 8, HELD_TILL_TOLD,
                        LONG_TRAIN "--resume auto --out run --checkpoint-every %d", round == 0 ? 0 : 5);
        assert_true(round == 0 || tiny_wait_saved("run", 5));
        program_signal(program, SIGKILL);
        Outcome outcome = program_wait(program);
        outcome_free(&outcome);
        assert_int_equal(folder_exists("run/step_00000005"), round);
    }
    DONE(LONG_TRAIN "--resume auto --out run --checkpoint-every 5");
    expect_same_steps("whole", "run", LONG_STEPS);
    expect_same_checkpoint("whole", "run", LONG_STEPS);
    // Nothing is left to do, and nothing changes.
    char *said = program_output(LONG_TRAIN "--resume auto --out run --checkpoint-every 5");
    assert_non_null(strstr(said, ", run; there was nothing left to do"));
    free(said);
    expect_same_steps("whole", "run", LONG_STEPS);
    program_expect(2, "already holds a run", LONG_TRAIN "--out run");

    // A log that no run of ours wrote stays as it is.
    scratch_write("other", "log.jsonl", "keep me", -1);
    program_expect(2, "other/log.jsonl is not this program's", LONG_TRAIN "--resume auto --out other");
    char *kept = scratch_read("other", "log.jsonl", NULL);
    assert_string_equal(kept, "keep me");
    free(kept);
}

// test_stopped [PATTERN]: the tests of these names alone
int main(int argc, char **argv) {
    program_find();
    held_find();
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_killed),
        IN_TINY_FOLDER(test_signals),
        IN_TINY_FOLDER(test_signals_that_repeat),
        IN_TINY_FOLDER(test_second_interrupt),
        IN_TINY_FOLDER(test_interrupt_that_repeats),
        IN_TINY_FOLDER(test_hangup_under_nohup),
        IN_TINY_FOLDER(test_signal_in_validation),
        IN_TINY_FOLDER(test_signal_in_long_work),
        IN_TINY_FOLDER(test_second_program),
        IN_TINY_FOLDER(test_stale_lock),
        IN_TINY_FOLDER(test_auto),
    };
    return cmocka_run_group_tests_name("stopped", tests, NULL, NULL) ? 1 : 0;
}
