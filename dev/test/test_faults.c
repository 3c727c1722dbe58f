// Runs of the built program that die, or whose disk fails, at every single operation on the run's folder,
// each in turn: nothing that was saved is lost, and what goes on from it ends in the same bits as a run that
// nothing disturbed. The faults come from support/fault_shim.c.
#include "core/checkpoint.h"
#include "core/files.h"
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
#define TRAIN                                                                                             \
    TINY_TRAIN "--layers 1 --seq-len 64 --attention dense --dense-layers all --global-batch 1 --steps 2 " \
               "--checkpoint-every 1 --keep 1 "

static char shim[PATH_MAX];

static void shim_find(void) {
    const char *build = getenv("BUILD");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/fault_shim.so", build && build[0] ? build : "build");
    if (realpath(path, shim)) return;
    fprintf(stderr, "%s is not there: make it, or set BUILD\n", path);
    exit(1);
}

// ---- Operations of an undisturbed run

#define MOST_OPERATIONS 512

typedef struct {
    char what[16], path[128], to[128]; // relative to the run's folder
} Operation;

typedef struct {
    char folder[PATH_MAX]; // where the test runs, with the run `whole` that nothing disturbed
    Operation operations[MOST_OPERATIONS];
    int count;
} Fixture;

static Outcome run_with_fault(const Fixture *f, const char *run, const char *kind, int at) {
    char text[16], under[PATH_MAX + 16];
    snprintf(text, sizeof text, "%d", at);
    snprintf(under, sizeof under, "%s/%s", f->folder, run);
    setenv("FAULT_UNDER", under, 1);
    setenv("FAULT_KIND", kind, 1);
    setenv("FAULT_AT", text, 1);
    setenv("LD_PRELOAD", shim, 1);
    Outcome outcome = program_run(TRAIN "--out %s", under);
    unsetenv("LD_PRELOAD");
    return outcome;
}

static void read_trace(Fixture *f) {
    char *text = scratch_read(".", "trace", NULL), *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_true(f->count < MOST_OPERATIONS);
        Operation *operation = &f->operations[f->count++];
        assert_true(sscanf(line, "%15s %127s %127s", operation->what, operation->path, operation->to) >= 2);
    }
    free(text);
}

static int set_up(void **state) {
    if (temporary_folder_enter(state)) return 1;
    tiny_files();
    return 0;
}

static Fixture *fixture_create(void) {
    Fixture *f = (Fixture *)alloc_or_exit(1, sizeof *f);
    assert_non_null(getcwd(f->folder, sizeof f->folder));
    char trace[PATH_MAX + 16];
    snprintf(trace, sizeof trace, "%s/trace", f->folder);
    setenv("FAULT_TRACE", trace, 1);
    Outcome outcome = run_with_fault(f, "whole", "kill", 0);
    unsetenv("FAULT_TRACE");
    if (outcome.status != 0) fail_msg("%s", outcome.err);
    outcome_free(&outcome);
    read_trace(f);
    return f;
}

static bool is(const Operation *operation, const char *what) {
    return strcmp(operation->what, what) == 0;
}

// The step whose checkpoint a rename makes appear; -1 for any other operation.
static int64_t published(const Operation *operation) {
    return is(operation, "rename") ? checkpoint_name_step(operation->to) : -1;
}

// Step of the last checkpoint that is there before operation n (from 1); -1 for none.
static int64_t last_saved(const Fixture *f, int n) {
    int64_t step = -1;
    for (int i = 0; i < n - 1; i++) {
        if (published(&f->operations[i]) >= 0) step = published(&f->operations[i]);
    }
    return step;
}

// ---- What is left behind

static void tell(const Fixture *f, const char *kind, int n, const char *said) {
    const Operation *operation = &f->operations[n - 1];
    fail_msg("%s at operation %d, %s %s: %s", kind, n, operation->what, operation->path, said);
}

// The last checkpoint is that of `step`, and every hash in it is right.
static void expect_saved(const Fixture *f, const char *kind, int n, const char *run, int64_t step) {
    char name[64], *folder = NULL;
    Error error;
    error.message[0] = 0;
    checkpoint_name(step, name, sizeof name);
    if (!checkpoint_latest(run, &folder, &error)) tell(f, kind, n, error.message);
    if ((folder != NULL) != (step >= 0)) tell(f, kind, n, folder ? folder : "no checkpoint is left");
    if (folder && strcmp(path_name(folder), name) != 0) tell(f, kind, n, folder);
    if (folder && !checkpoint_verify(folder, NULL, NULL, &error)) tell(f, kind, n, error.message);
    free(folder);
}

// The same command goes on and ends as a run that nothing disturbed, with nothing left lying about.
static void expect_goes_on(const Fixture *f, const char *kind, int n) {
    Outcome outcome = program_run(TRAIN "--out run --resume auto");
    if (outcome.status != 0) tell(f, kind, n, outcome.err);
    outcome_free(&outcome);
    expect_same_steps("whole", "run", STEPS);
    expect_same_checkpoint("whole", "run", STEPS);
    if (last_saved(f, n) == STEPS) return; // there was no save more that would have cleaned up
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
    for (int n = 1; n <= f->count; n++) {
        Outcome outcome = run_with_fault(f, "run", "kill", n);
        if (outcome.status != 128 + SIGKILL) tell(f, "kill", n, outcome.err);
        outcome_free(&outcome);
        expect_saved(f, "kill", n, "run", last_saved(f, n));
        expect_goes_on(f, "kill", n);
        remove_run();
    }
    Outcome outcome = run_with_fault(f, "run", "kill", f->count + 1); // there is no more
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
    free(f);
}

// The run ends with status 3 and a line that says why, and what had been saved is still there.
static void fail_everywhere(const char *kind, const char *why) {
    Fixture *f = fixture_create();
    int failed = 0;
    for (int n = 1; n <= f->count; n++) {
        const Operation *operation = &f->operations[n - 1];
        bool grows = !is(operation, "sync") && !is(operation, "rename") && !is(operation, "remove");
        Outcome outcome = run_with_fault(f, "run", kind, n);
        bool spared = strcmp(kind, "full") == 0 && !grows; // that operation itself succeeds
        if (outcome.status != 3 && !(spared && outcome.status == 0)) tell(f, kind, n, outcome.err);
        if (outcome.status == 3 && !strstr(outcome.err, why)) tell(f, kind, n, outcome.err);
        if (outcome.status == 3 && !strstr(outcome.err, "/run")) tell(f, kind, n, outcome.err);
        failed += outcome.status == 3;
        outcome_free(&outcome);
        if (!spared) expect_saved(f, kind, n, "run", last_saved(f, n));
        if (n % 4 == 0) expect_goes_on(f, kind, n);
        remove_run();
    }
    assert_true(failed > f->count / 2);
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
        Outcome outcome = run_with_fault(f, "run", kinds[i], 0);
        if (outcome.status != 0) fail_msg("%s: %s", kinds[i], outcome.err);
        outcome_free(&outcome);
        expect_saved(f, kinds[i], 1, "run", STEPS);
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
static bool done_between(const Fixture *f, int i, int n, const char *what, const char *path) {
    while (++i < n) {
        if (is(&f->operations[i], what) && strcmp(f->operations[i].path, path) == 0) return true;
    }
    return false;
}

// What was written or made in a folder and not synced before operation n: a file after each write, a folder
// after each name it got, but for passing ones. NULL where there is nothing.
static const char *unsynced(const Fixture *f, const char *folder, int n) {
    for (int i = 0; i < n; i++) {
        const Operation *change = &f->operations[i];
        bool writes = is(change, "write");
        if (!within(change->path, folder) || is(change, "sync") || is(change, "remove")) continue;
        const char *path = is(change, "rename") ? change->to : change->path;
        char *parent = path_parent(path);
        bool synced = done_between(f, i, n, "sync", writes ? path : parent);
        bool passing = !writes && done_between(f, i, n, "rename", path);
        bool outside = !writes && !within(parent, folder);
        free(parent);
        if (!synced && !passing && !outside) return path;
    }
    return NULL;
}

// SIGKILL does not show what a power cut would: that all of a checkpoint is on disk before it gets its name,
// the name before an older one goes.
static void test_order_of_syncs(void **state) {
    (void)state;
    Fixture *f = fixture_create();
    int saves = 0, removals = 0;
    for (int n = 0; n < f->count; n++) {
        const Operation *operation = &f->operations[n];
        if (published(operation) >= 0) {
            const char *missed = unsynced(f, operation->path, n);
            if (missed) fail_msg("%s is not synced before %s is renamed", missed, operation->path);
            assert_true(n + 1 < f->count && is(&f->operations[n + 1], "sync"));
            assert_string_equal(f->operations[n + 1].path, ".");
            saves++;
        }
        if (!is(operation, "rename") || checkpoint_name_step(operation->path) < 0) continue;
        assert_int_equal(last_saved(f, n + 1), checkpoint_name_step(operation->path) + 1);
        removals++;
    }
    assert_int_equal(saves, STEPS);
    assert_int_equal(removals, STEPS - 1);
    free(f);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, temporary_folder_leave)

int main(void) {
    program_find();
    shim_find();
    // Hundreds of runs: in memory their syncs take no time, and SIGKILL does not tell it from a disk.
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
    // The shim comes before the sanitizer's own library, which need not be first for what it does.
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 0);
    const struct CMUnitTest tests[] = {
        RUN_TEST(test_killed_everywhere), RUN_TEST(test_error_everywhere), RUN_TEST(test_full_disk),
        RUN_TEST(test_read_only),         RUN_TEST(test_halting_writes),   RUN_TEST(test_order_of_syncs),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL) ? 1 : 0;
}
