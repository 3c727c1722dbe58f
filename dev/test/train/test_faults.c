// Runs of the built program that die, or whose disk fails, at every single operation on the run's folder,
// each in turn: nothing that was saved is lost, and what goes on from it ends in the same bits as a run that
// nothing disturbed. The faults come from support/fault_shim.c.
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "dev/test/support/faults.h"
#include "dev/test/support/held.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// Two saves, and the second is followed by the deletion of the first.
#define STEPS 2
#define TRAIN                                                                          \
    TINY_TRAIN "--layers 1 --seq-len 64 --attention dense --global-batch 1 --steps 2 " \
               "--checkpoint-every 1 --keep 1 "

// ---- What runs do to their files

#define MOST_OPERATIONS 4096

typedef struct {
    char thread[8], how[8], what[16], path[128],
        to[128]; // as the shim tells; paths relative to the run's folder
} Operation;

typedef struct {
    Operation operations[MOST_OPERATIONS];
    int count;
} Trace;

typedef struct {
    char folder[PATH_MAX]; // where the test runs, with the run `whole` that nothing disturbed
    Trace whole;           // of that run
    Trace last;            // of the run before
} Fixture;

// The thread that trains, and the one that saves.
static const char *const threads[] = {"main", "other"};

static void read_trace(Trace *trace) {
    char *text = scratch_read(".", "trace", NULL), *rest = NULL;
    trace->count = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_true(trace->count < MOST_OPERATIONS);
        Operation *operation = &trace->operations[trace->count++];
        int words = sscanf(line, "%7s %7s %15s %127s %127s", operation->thread, operation->how,
                           operation->what, operation->path, operation->to);
        assert_true(words >= 4);
    }
    free(text);
}

static Program *start_with_fault(const Fixture *f, const char *run, Fault fault, const char *options) {
    char under[PATH_MAX + 16], trace[PATH_MAX + 16];
    snprintf(under, sizeof under, "%s/%s", f->folder, run);
    snprintf(trace, sizeof trace, "%s/trace", f->folder);
    scratch_write(".", "trace", "", 0);
    faults_begin(fault, under, trace);
    Program *program = program_start("%s --out %s", options, under);
    faults_end();
    return program;
}

static Outcome run_with_fault(Fixture *f, const char *run, Fault fault, const char *options) {
    Outcome outcome = program_wait(start_with_fault(f, run, fault, options));
    read_trace(&f->last);
    return outcome;
}

static Fixture *fixture_create(void) {
    static const Fault none = {"kill", "main", 0};
    Fixture *f = (Fixture *)alloc_or_exit(1, sizeof *f);
    assert_non_null(getcwd(f->folder, sizeof f->folder));
    Outcome outcome = run_with_fault(f, "whole", none, TRAIN);
    if (outcome.status != 0) fail_msg("%s", outcome.err);
    outcome_free(&outcome);
    f->whole = f->last;
    return f;
}

static bool is(const Operation *operation, const char *what) {
    return strcmp(operation->what, what) == 0;
}

// The n-th operation of a thread; NULL where there are fewer.
static const Operation *operation_of(const Trace *trace, const char *thread, int n) {
    for (int i = 0; i < trace->count; i++) {
        if (strcmp(trace->operations[i].thread, thread) == 0 && --n == 0) return &trace->operations[i];
    }
    return NULL;
}

// The step whose checkpoint a rename makes appear; -1 for any other operation, and one that failed.
static int64_t published(const Operation *operation) {
    bool done = is(operation, "rename") && strcmp(operation->how, "ok") == 0;
    return done ? checkpoint_name_step(operation->to) : -1;
}

// Step of the last checkpoint that a run has left; -1 for none.
static int64_t last_saved(const Trace *trace) {
    int64_t step = -1;
    for (int i = 0; i < trace->count; i++) {
        if (published(&trace->operations[i]) >= 0) step = published(&trace->operations[i]);
    }
    return step;
}

// ---- What is left behind

static void tell(const Fixture *f, Fault fault, const char *said) {
    const Operation *operation = operation_of(&f->last, fault.thread, fault.at);
    fail_msg("%s at operation %d of thread %s, %s %s: %s", fault.kind, fault.at, fault.thread,
             operation ? operation->what : "which", operation ? operation->path : "was not made", said);
}

// The last checkpoint is that of `step`, and every hash in it is right.
static void expect_saved(const Fixture *f, Fault fault, int64_t step) {
    char name[64], *folder = NULL;
    Error error;
    error.message[0] = 0;
    checkpoint_name(step, name, sizeof name);
    if (!checkpoint_latest("run", &folder, &error)) tell(f, fault, error.message);
    if ((folder != NULL) != (step >= 0)) tell(f, fault, folder ? folder : "no checkpoint is left");
    if (folder && strcmp(path_name(folder), name) != 0) tell(f, fault, folder);
    if (folder && !checkpoint_verify(folder, NULL, NULL, &error)) tell(f, fault, error.message);
    free(folder);
}

// The same command goes on and ends as a run that nothing disturbed, with nothing left lying about.
static void expect_goes_on(const Fixture *f, Fault fault) {
    Outcome outcome = program_run(TRAIN "--out run --resume auto");
    if (outcome.status != 0) tell(f, fault, outcome.err);
    outcome_free(&outcome);
    expect_same_steps("whole", "run", STEPS);
    expect_same_checkpoint("whole", "run", STEPS);
    if (last_saved(&f->last) == STEPS) return; // there was no save more that would have cleaned up
    assert_int_equal(scratch_count("run"), scratch_count("whole"));
}

static void remove_run(void) {
    Error error;
    if (!tree_remove("run", &error)) fail_msg("%s", error.message);
}

// ---- Tests

static void test_killed_everywhere(void **state) {
    (void)state;
    Fixture *f = fixture_create();
    for (int t = 0; t < 2; t++) {
        Fault fault = {"kill", threads[t], 1};
        for (; operation_of(&f->whole, threads[t], fault.at); fault.at++) {
            Outcome outcome = run_with_fault(f, "run", fault, TRAIN);
            if (outcome.status != 128 + SIGKILL) tell(f, fault, outcome.err);
            outcome_free(&outcome);
            expect_saved(f, fault, last_saved(&f->last));
            expect_goes_on(f, fault);
            remove_run();
        }
        assert_true(fault.at > 10);
        Outcome outcome = run_with_fault(f, "run", fault, TRAIN); // there is no more
        assert_int_equal(outcome.status, 0);
        outcome_free(&outcome);
        remove_run();
    }
    free(f);
}

// The run ends with status 3 and a line that says why, and what had been saved is still there.
static void fail_once(Fixture *f, Fault fault, const char *why, int *failed) {
    const Operation *operation = operation_of(&f->whole, fault.thread, fault.at);
    bool grows = !is(operation, "sync") && !is(operation, "rename") && !is(operation, "remove");
    Outcome outcome = run_with_fault(f, "run", fault, TRAIN);
    bool spared = strcmp(fault.kind, "full") == 0 && !grows; // that operation itself succeeds
    if (outcome.status != 3 && !(spared && outcome.status == 0)) tell(f, fault, outcome.err);
    if (outcome.status == 3 && !strstr(outcome.err, why)) tell(f, fault, outcome.err);
    if (outcome.status == 3 && !strstr(outcome.err, "/run")) tell(f, fault, outcome.err);
    *failed += outcome.status == 3;
    outcome_free(&outcome);
    expect_saved(f, fault, last_saved(&f->last));
    if (fault.at % 4 == 0) expect_goes_on(f, fault);
    remove_run();
}

static void fail_everywhere(const char *kind, const char *why) {
    Fixture *f = fixture_create();
    int failed = 0;
    for (int t = 0; t < 2; t++) {
        Fault fault = {kind, threads[t], 1};
        for (; operation_of(&f->whole, threads[t], fault.at); fault.at++) fail_once(f, fault, why, &failed);
    }
    assert_true(failed > f->whole.count / 2);
    free(f);
}

static void test_error_everywhere(void **state) {
    (void)state;
    fail_everywhere("error", "Input/output error");
}

static void test_full_disk(void **state) {
    (void)state;
    fail_everywhere("full", "No space left on device");
}

static void test_read_only(void **state) {
    (void)state;
    fail_everywhere("readonly", "Read-only file system");
}

// Writes that make less than they were asked for, or that a signal interrupts, are gone on with.
static void test_halting_writes(void **state) {
    (void)state;
    Fixture *f = fixture_create();
    static const char *const kinds[] = {"short", "interrupt"};
    for (int i = 0; i < 2; i++) {
        Fault fault = {kinds[i], "main", 0};
        Outcome outcome = run_with_fault(f, "run", fault, TRAIN);
        if (outcome.status != 0) fail_msg("%s: %s", kinds[i], outcome.err);
        outcome_free(&outcome);
        expect_saved(f, fault, STEPS);
        expect_same_steps("whole", "run", STEPS);
        expect_same_checkpoint("whole", "run", STEPS);
        remove_run();
    }
    free(f);
}

// Whether `path` is in the folder, at any depth, or the folder itself.
static bool within(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == 0 || path[length] == '/');
}

// Whether one of the operations after i and before n does this to a path.
static bool done_between(const Trace *trace, int i, int n, const char *what, const char *path) {
    while (++i < n) {
        if (is(&trace->operations[i], what) && strcmp(trace->operations[i].path, path) == 0) return true;
    }
    return false;
}

// What was written or made in a folder and not synced before operation n: a file after each write, a folder
// after each name it got, but for passing ones. NULL where there is nothing.
static const char *unsynced(const Trace *trace, const char *folder, int n) {
    for (int i = 0; i < n; i++) {
        const Operation *change = &trace->operations[i];
        bool writes = is(change, "write");
        if (!within(change->path, folder) || is(change, "sync") || is(change, "remove")) continue;
        const char *path = is(change, "rename") ? change->to : change->path;
        char *parent = path_parent(path);
        bool synced = done_between(trace, i, n, "sync", writes ? path : parent);
        bool passing = !writes && done_between(trace, i, n, "rename", path);
        bool outside = !writes && !within(parent, folder);
        free(parent);
        if (!synced && !passing && !outside) return path;
    }
    return NULL;
}

// Leaves the operations of the thread that saves.
static void keep_saves(Trace *trace) {
    int kept = 0;
    for (int i = 0; i < trace->count; i++) {
        if (strcmp(trace->operations[i].thread, "other") == 0)
            trace->operations[kept++] = trace->operations[i];
    }
    trace->count = kept;
}

// SIGKILL does not show what a power cut would: that all of a checkpoint is on disk before it gets its name,
// the name before an older one goes.
static void test_order_of_syncs(void **state) {
    (void)state;
    Fixture *f = fixture_create();
    Trace *trace = &f->whole;
    int saves = 0, removals = 0;
    int64_t last = -1;
    keep_saves(trace);
    for (int n = 0; n < trace->count; n++) {
        const Operation *operation = &trace->operations[n];
        if (published(operation) >= 0) {
            const char *missed = unsynced(trace, operation->path, n);
            if (missed) fail_msg("%s is not synced before %s is renamed", missed, operation->path);
            assert_true(n + 1 < trace->count && is(&trace->operations[n + 1], "sync"));
            assert_string_equal(trace->operations[n + 1].path, ".");
            last = published(operation);
            saves++;
        }
        if (!is(operation, "rename") || checkpoint_name_step(operation->path) < 0) continue;
        assert_int_equal(last, checkpoint_name_step(operation->path) + 1);
        removals++;
    }
    assert_int_equal(saves, STEPS);
    assert_int_equal(removals, STEPS - 1);
    free(f);
}

// ---- A slow disk

// Line of the log (from 0) with the step, or with the event of the step; -1 where it is not there.
static int line_of(const json_t *log, const char *event, int64_t step) {
    for (size_t i = 0; i < json_array_size(log); i++) {
        const json_t *line = json_array_get(log, i);
        const char *name = json_string_value(json_object_get(line, "event"));
        if ((event != NULL) != (name != NULL) || (event && strcmp(event, name) != 0)) continue;
        if (json_integer_value(json_object_get(line, "step")) == step) return (int)i;
    }
    return -1;
}

// While a save waits for the disk, here for one that gives nothing until five updates more are done, training
// goes on; the next save waits.
static void test_slow_disk(void **state) {
    (void)state;
    free(program_output(TINY_TRAIN "--steps 80 --out straight"));
    Program *program = held_before("run", 0, "/.step_00000040.tmp/", HELD_TILL_TOLD,
                                   TINY_TRAIN "--steps 80 --checkpoint-every 40 --out run");
    bool goes_on = tiny_wait("run", 45), early = folder_exists("run/step_00000040");
    held_go("run");
    Outcome outcome = program_wait(program);
    if (outcome.status != 0) fail_msg("%s", outcome.err);
    outcome_free(&outcome);
    assert_true(goes_on && !early);
    json_t *log = tiny_log("run");
    assert_true(line_of(log, "checkpoint", 40) > line_of(log, NULL, 45));
    assert_true(line_of(log, "checkpoint", 80) > line_of(log, NULL, 80));
    json_decref(log);
    expect_same_steps("straight", "run", 80);
    expect_same_checkpoint("straight", "run", 80);
}

// A signal waits for the save that is under way, and then for its own.
static void test_signal_beside_a_save(void **state) {
    (void)state;
    Program *program = held_before("run", 0, "/.step_00000010.tmp/", HELD_TILL_TOLD,
                                   TINY_TRAIN "--steps 1000 --checkpoint-every 10 --out run");
    assert_true(tiny_wait("run", 11));
    program_signal(program, SIGTERM);
    held_heeds("run", 1);
    assert_false(folder_exists("run/step_00000010"));
    held_go("run");
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 75);
    outcome_free(&outcome);
    json_t *log = tiny_log("run"), *steps = tiny_steps("run");
    int64_t last = (int64_t)json_array_size(steps);
    assert_true(last <= 21); // the next save would have waited
    assert_true(line_of(log, "checkpoint", 10) >= 0 && line_of(log, "checkpoint", last) >= 0);
    json_decref(log);
    json_decref(steps);
    free(program_output("train --resume run --steps %d", (int)last + 2));
    free(program_output(TINY_TRAIN "--out straight --steps %d", (int)last + 2));
    expect_same_checkpoint("straight", "run", last + 2);
    expect_same_steps("straight", "run", last + 2);
}

// A disk that fails under a save beside training: the next steps are made, and then the run ends as above.
static void test_failure_beside_training(void **state) {
    (void)state;
    Fixture *f = fixture_create();
    Fault fault = {"error", "other", 12};
    Outcome outcome = run_with_fault(f, "run", fault, TINY_TRAIN "--steps 1000 --checkpoint-every 4");
    assert_int_equal(outcome.status, 3);
    assert_non_null(strstr(outcome.err, "checkpoint of step 4 not saved"));
    assert_non_null(strstr(outcome.err, "Input/output error"));
    outcome_free(&outcome);
    assert_int_equal(last_saved(&f->last), -1);
    assert_int_equal(scratch_count("run"), 2); // run.json, log.jsonl: nothing half
    free(f);
}

// Two ranks save together: the n-th operation of either's thread fails, and both end with the error; or the
// rank dies, and the other with it. What was saved stays.
static void test_ranks(void **state) {
    (void)state;
    static const char *const kinds[] = {"error", "kill"};
    Fixture *f = fixture_create();
    for (int k = 0; k < 2; k++) {
        for (int n = 2; n <= 30; n += 8) {
            Fault fault = {kinds[k], "other", n};
            program_ranks(2, false);
            Outcome outcome =
                run_with_fault(f, "run", fault,
                               TINY_TRAIN "--seq-len 64 --attention dense --global-batch 2 "
                                          "--steps 12 --checkpoint-every 4 --keep 2 --device cpu");
            program_ranks(1, false);
            if (k == 0 && outcome.status != 3) tell(f, fault, outcome.err);
            if (k == 0 && !strstr(outcome.err, "Input/output error")) tell(f, fault, outcome.err);
            if (k == 1 && outcome.status == 0) tell(f, fault, outcome.err);
            outcome_free(&outcome);
            expect_saved(f, fault, last_saved(&f->last));
            remove_run();
        }
    }
    free(f);
}

// test_faults [PATTERN]: the tests of these names alone
int main(int argc, char **argv) {
    program_find();
    faults_find();
    held_find();
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    // Hundreds of runs: in memory their syncs take no time, and SIGKILL does not tell it from a disk.
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_killed_everywhere),
        IN_TINY_FOLDER(test_error_everywhere),
        IN_TINY_FOLDER(test_full_disk),
        IN_TINY_FOLDER(test_read_only),
        IN_TINY_FOLDER(test_halting_writes),
        IN_TINY_FOLDER(test_order_of_syncs),
        IN_TINY_FOLDER(test_slow_disk),
        IN_TINY_FOLDER(test_failure_beside_training),
        IN_TINY_FOLDER(test_signal_beside_a_save),
        IN_TINY_FOLDER(test_ranks),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL) ? 1 : 0;
}
