// Checkpoints: saved whole or not at all, loaded bit for bit, found and pruned.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/saved_run.h"
#include "dev/test/support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Saving and loading

static void test_round_trip(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Engine *other = fake_engine_create(&saved_model, true);
    Error error;
    expect_ok(checkpoint_load(other, f->folder, &error), &error);
    assert_true(fake_engine_same_weights(f->engine, other, true));
    assert_true(fake_engine_same_moments(f->engine, other));
    engine_destroy(other);

    TrainerState state, saved = saved_state(10);
    assert_true(checkpoint_read_state(f->folder, &state, &error));
    assert_int_equal(state.step, 10);
    assert_int_equal(state.cursor, 40960);
    assert_int_equal(state.epoch, 3);
    assert_int_equal(state.tokens, 40967);
    assert_int_equal(state.attention, ATTENTION_DENSE);
    assert_true(json_equal(state.settings, saved.settings));
    json_decref(state.settings);
    json_decref(saved.settings);
}

static void test_files(void **data) {
    SavedRun *f = (SavedRun *)*data;
    assert_int_equal(scratch_count(f->run), 1);
    assert_int_equal(scratch_count(f->folder), 5);
    char *trainer = path_join(f->folder, "trainer");
    assert_int_equal(scratch_count(trainer), 3);
    free(trainer);
    for (int i = 0; i < CHECKPOINT_FILES; i++)
        assert_true(scratch_exists(f->folder, checkpoint_file_names[i]));
    assert_true(scratch_exists(f->folder, STATE_FILE_NAME));
}

static void test_gates(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    // Present and not wanted: ignored.
    Engine *plain = fake_engine_create(&saved_model, false);
    expect_ok(checkpoint_load(plain, f->folder, &error), &error);
    assert_true(fake_engine_same_weights(plain, f->engine, false));

    // Wanted and not present: those of the engine stay.
    saved_run_save(plain, f->run, 11);
    char *folder = path_join(f->run, "step_00000011");
    assert_false(scratch_exists(folder, checkpoint_file_names[FILE_GATES]));
    Engine *gated = fake_engine_create(&saved_model, true);
    int gate = param_find(&gated->table, PARAM_GLA_WEIGHT, 1);
    float drawn = 0.5f, kept = 0;
    engine_write(gated, TENSOR_WEIGHT, gate, 3, 1, &drawn);
    expect_ok(checkpoint_load(gated, folder, &error), &error);
    engine_read(gated, TENSOR_WEIGHT, gate, 3, 1, &kept);
    assert_true(kept == drawn);
    assert_true(fake_engine_same_weights(plain, gated, false));
    free(folder);
    engine_destroy(plain);
    engine_destroy(gated);
}

static void test_same_step_is_replaced(void **data) {
    SavedRun *f = (SavedRun *)*data;
    fake_engine_fill(f->engine, 5);
    saved_run_save(f->engine, f->run, 10);
    assert_int_equal(scratch_count(f->run), 1);
    Engine *other = fake_engine_create(&saved_model, true);
    Error error;
    assert_true(checkpoint_load(other, f->folder, &error));
    assert_true(fake_engine_same_weights(f->engine, other, true));
    engine_destroy(other);
}

// ---- Saves that fail or are killed

static void test_unwritable_run(void **data) {
    SavedRun *f = (SavedRun *)*data;
    scratch_write(f->run, "file", "x", -1);
    char *run = path_join(f->run, "file/run");
    TrainerState state = saved_state(1);
    Error error;
    expect_failed(checkpoint_save(f->engine, run, &state, SAVED_CONTEXT, NULL, &error), &error, STATUS_DATA,
                  "cannot make the folder");
    json_decref(state.settings);
    free(run);
}

// Files of this process may not grow beyond `bytes`.
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_latest(const char *run, const char *name) {
    char *folder;
    Error error;
    expect_ok(checkpoint_latest(run, &folder, &error), &error);
    assert_non_null(folder);
    assert_string_equal(path_name(folder), name);
    free(folder);
}

static void test_full_disk(void **data) {
    SavedRun *f = (SavedRun *)*data;
    TrainerState state = saved_state(20);
    Error error;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100000);
    bool saved = checkpoint_save(f->engine, f->run, &state, SAVED_CONTEXT, NULL, &error);
    limit_files(RLIM_INFINITY);
    signal(SIGXFSZ, SIG_DFL);
    expect_failed(saved, &error, STATUS_DATA, "checkpoint of step 20 not saved");
    expect_part(error.message, "model.safetensors");
    assert_int_equal(scratch_count(f->run), 1);
    expect_latest(f->run, "step_00000010");
    json_decref(state.settings);
}

static void test_killed_save(void **data) {
    SavedRun *f = (SavedRun *)*data;
    pid_t child = fork();
    if (child == 0) { // the limit's signal ends it in the midst of a file
        struct rlimit core = {0, 0};
        setrlimit(RLIMIT_CORE, &core);
        signal(SIGXFSZ, SIG_DFL);
        limit_files(100000);
        saved_run_save(f->engine, f->run, 20);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
    assert_true(scratch_exists(f->run, ".step_00000020.tmp/model.safetensors"));
    expect_latest(f->run, "step_00000010");

    scratch_write(f->run, ".step_00000003.old/trainer/state.json", "{}", -1);
    scratch_write(f->run, ".step_notes", "the user's", -1);
    saved_run_save(f->engine, f->run, 30);
    assert_int_equal(scratch_count(f->run), 3);
    assert_true(scratch_exists(f->run, ".step_notes"));
    expect_latest(f->run, "step_00000030");
}

// ---- Finding and pruning

static void test_latest(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    saved_run_save(f->engine, f->run, 9);
    saved_run_save(f->engine, f->run, 100000);
    scratch_write(f->run, "step_99/x", "x", -1); // no name of ours
    expect_latest(f->run, "step_00100000");

    char *newest = path_join(f->run, "step_00100000"), *folder;
    scratch_write(newest, "config.json", "{}", -1);
    expect_latest(f->run, "step_00000010");
    scratch_flip(f->folder, STATE_FILE_NAME, 20, 1);
    expect_latest(f->run, "step_00000009");
    char *oldest = path_join(f->run, "step_00000009"), *model = path_join(oldest, "model.safetensors");
    unlink(model);
    expect_failed(checkpoint_latest(f->run, &folder, &error), &error, STATUS_DATA,
                  "none of its 3 checkpoints is whole");
    assert_null(folder);
    expect_part(error.message, "step_00000009/model.safetensors");
    free(newest);
    free(oldest);
    free(model);
}

static void test_find(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    char *found = checkpoint_find(f->run, &error);
    assert_string_equal(found, f->folder);
    free(found);
    found = checkpoint_find(f->folder, &error);
    assert_string_equal(found, f->folder);
    free(found);

    scratch_write(f->run, "empty/file", "x", -1);
    char *empty = path_join(f->run, "empty"), *none = path_join(f->run, "none"), *folder;
    expect_failed(checkpoint_find(empty, &error) != NULL, &error, STATUS_DATA,
                  "neither a checkpoint nor a run");
    expect_failed(checkpoint_find(none, &error) != NULL, &error, STATUS_DATA, "no such run or checkpoint");
    assert_true(checkpoint_latest(none, &folder, &error));
    assert_null(folder);
    free(empty);
    free(none);
}

static void test_prune(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    for (int64_t step = 20; step <= 50; step += 10) saved_run_save(f->engine, f->run, step);
    assert_true(checkpoint_prune(f->run, 0, &error));
    assert_int_equal(scratch_count(f->run), 5);
    scratch_flip(f->run, "step_00000050/" STATE_FILE_NAME, 9, 2); // damaged: not one of the two to keep
    assert_true(checkpoint_prune(f->run, 2, &error));
    assert_int_equal(scratch_count(f->run), 3);
    assert_true(scratch_exists(f->run, "step_00000030"));
    assert_true(scratch_exists(f->run, "step_00000040"));
    expect_latest(f->run, "step_00000040");
    assert_true(checkpoint_prune(f->run, 2, &error));
    assert_int_equal(scratch_count(f->run), 3);
}

// What another user has saved in a shared folder is neither deleted nor a reason to end.
static void test_prune_of_others(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    saved_run_save(f->engine, f->run, 20);
    char path[512];
    snprintf(path, sizeof path, "%s/step_00000010/trainer", f->run);
    bool root = geteuid() == 0;
    assert_int_equal(chmod(path, 0555), 0); // its own folder, closed to others as another user's is
    assert_int_equal(chmod(f->run, 0777), 0);
    if (root) assert_int_equal(seteuid(65534), 0);
    bool pruned = checkpoint_prune(f->run, 1, &error);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(path, 0755), 0);
    expect_ok(pruned, &error);
    assert_int_equal(scratch_count(f->run), 2);
    expect_latest(f->run, "step_00000020");
    assert_true(checkpoint_prune(f->run, 1, &error));
    assert_int_equal(scratch_count(f->run), 1);
}

// What the user may not read is no damage.
static void test_unreadable(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Error error;
    char path[512], *folder;
    snprintf(path, sizeof path, "%s/step_00000010", f->run);
    bool root = geteuid() == 0;
    assert_int_equal(chmod(path, 0), 0);
    if (root) assert_int_equal(seteuid(65534), 0);
    bool found = checkpoint_latest(f->run, &folder, &error);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(path, 0755), 0);
    expect_failed(found, &error, STATUS_DATA, "Permission denied");
    assert_string_equal(checkpoint_fault(&error), "checkpoint that may not be read");
    error_set(&error, STATUS_DATA, "its hash is not the saved one");
    assert_string_equal(checkpoint_fault(&error), "damaged checkpoint");
}

static void test_name_step(void **data) {
    (void)data;
    assert_int_equal(checkpoint_name_step("step_00010000"), 10000);
    assert_int_equal(checkpoint_name_step("step_123456789"), 123456789);
    const char *const others[] = {
        "step_1",        "step_000000010", "step_00010000.tmp",        ".step_00010000",
        "step_-0000001", "step_",          "step_99999999999999999999"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(checkpoint_name_step(others[i]), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SAVED_RUN(test_round_trip),
        WITH_SAVED_RUN(test_files),
        WITH_SAVED_RUN(test_gates),
        WITH_SAVED_RUN(test_same_step_is_replaced),
        WITH_SAVED_RUN(test_unwritable_run),
        WITH_SAVED_RUN(test_full_disk),
        WITH_SAVED_RUN(test_killed_save),
        WITH_SAVED_RUN(test_latest),
        WITH_SAVED_RUN(test_find),
        WITH_SAVED_RUN(test_prune),
        WITH_SAVED_RUN(test_prune_of_others),
        WITH_SAVED_RUN(test_unreadable),
        cmocka_unit_test(test_name_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
