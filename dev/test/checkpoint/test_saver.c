// Saves beside training: what is saved is what was there when the save began, whatever becomes of the engine
// meanwhile; where host memory does not suffice, training waits.
#include "core/checkpoint/saver.h"
#include "core/base/files.h"
#include "core/engine/snapshot.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/program.h"
#include "dev/test/support/saved_run.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_saved(Engine *wanted, const char *folder) {
    Engine *loaded = fake_engine_create(&saved_model, true);
    Error error;
    if (!checkpoint_load(loaded, folder, &error)) fail_msg("%s", error.message);
    assert_true(fake_engine_same_weights(loaded, wanted, true));
    assert_true(fake_engine_same_moments(loaded, wanted));
    engine_destroy(loaded);
}

// The engine and the state change as soon as a save has begun.
static void test_copies(void **unused) {
    (void)unused;
    Engine *engine = fake_engine_create(&saved_model, true), *before = fake_engine_create(&saved_model, true);
    Saver *saver = saver_create(engine, true);
    SaveReport report;
    Error error;
    char name[32];
    for (int64_t step = 1; step <= 4; step++) {
        fake_engine_fill(engine, (uint64_t)step);
        fake_engine_fill(before, (uint64_t)step);
        TrainerState state = saved_state(step);
        saver_begin(saver, "run", &state, 64, NULL, 2);
        fake_engine_fill(engine, 99);
        json_object_set_new(state.settings, "lr", json_string("changed"));
        state.step = 77;
        if (!saver_tend(saver, true, &report, &error)) fail_msg("%s", error.message);
        assert_true(report.done && report.step == step && report.seconds > 0 && report.waited > 0);
        assert_true(saver_tend(saver, true, &report, &error) && !report.done); // told once
        json_decref(state.settings);
        snprintf(name, sizeof name, "run/step_%08d", (int)step);
        expect_saved(before, name);
        assert_true(checkpoint_read_state(name, &state, &error));
        assert_true(json_real_value(json_object_get(state.settings, "lr")) == 0.002);
        json_decref(state.settings);
    }
    assert_int_equal(scratch_count("run"), 2);
    saver_free(saver);
    engine_destroy(engine);
    engine_destroy(before);
}

// Without a copy the save is done before anything else can be.
static void test_without_copies(void **unused) {
    (void)unused;
    Engine *engine = fake_engine_create(&saved_model, true);
    Saver *saver = saver_create(engine, false);
    TrainerState state = saved_state(5);
    SaveReport report;
    Error error;
    fake_engine_fill(engine, 5);
    saver_begin(saver, "run", &state, 64, NULL, 0);
    assert_true(saver_tend(saver, false, &report, &error) && report.done);
    expect_saved(engine, "run/step_00000005");
    json_decref(state.settings);
    saver_free(saver);
    engine_destroy(engine);
}

static void test_error(void **unused) {
    (void)unused;
    Engine *engine = fake_engine_create(&saved_model, false);
    Saver *saver = saver_create(engine, true);
    TrainerState state = saved_state(5);
    SaveReport report;
    Error error;
    scratch_write(".", "file", "x", -1);
    saver_begin(saver, "file/run", &state, 64, NULL, 0);
    assert_false(saver_tend(saver, true, &report, &error));
    assert_int_equal(error.status, STATUS_DATA);
    assert_non_null(strstr(error.message, "checkpoint of step 5 not saved: cannot make the folder file"));
    assert_false(report.done);
    assert_true(saver_tend(saver, true, &report, &error) && !report.done); // none is under way
    saver_begin(saver, "run", &state, 64, NULL, 0);                        // the next may do
    assert_true(saver_tend(saver, true, &report, &error) && report.done);
    json_decref(state.settings);
    saver_free(saver);
    engine_destroy(engine);
}

// Bytes of the copy: all that an alone rank has; of several ranks the shares.
static void test_bytes(void **unused) {
    (void)unused;
    ParamTable table = param_table_create(&saved_model, true);
    size_t alone = snapshot_bytes(&table, NULL), together = 0;
    assert_int_equal(alone, (size_t)(3 * table.n_trained + 2 * (2 * 64 + 2)) * sizeof(float));
    Ranks ranks;
    ranks_imagine(&ranks, 3, 8);
    param_table_shard(&table, 3);
    for (ranks.rank = 0; ranks.rank < 3; ranks.rank++) {
        size_t share = snapshot_bytes(&table, &ranks);
        assert_true(share < alone / 2);
        together += share;
    }
    assert_int_equal(together, alone);
    param_table_free(&table);
}

// A model for which there is room, but not for its copy: 20 bytes of free memory a parameter, of which
// training takes 16 and the copy 12.
static void test_plan(void **unused) {
    (void)unused;
    const char *plan = "train --device cpu --dry-run --layers %d --dim 1024 --heads 1 --kv-heads 1 "
                       "--head-dim 64 --ffn 65536 "
                       "--attention dense --seq-len 64 --global-batch 1";
    const double layer = 3 * 1024.0 * 65536; // parameters, and few besides
    char *text = program_output(plan, 1);
    const char *host = strstr(text, "  host ");
    assert_true(host && strstr(host, "which is saved while training goes on"));
    double free_gigabytes = 0;
    assert_int_equal(sscanf(strstr(text, "\nmemory "), "\nmemory %lf", &free_gigabytes), 1);
    free(text);
    text = program_output(plan, (int)(free_gigabytes * 1e9 / 20 / layer));
    host = strstr(text, "  host ");
    assert_true(host && strstr(host, "training waits while checkpoints are saved"));
    free(text);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_copies), IN_FOLDER(test_without_copies), IN_FOLDER(test_error),
        IN_FOLDER(test_bytes),  IN_FOLDER(test_plan),
    };
    return cmocka_run_group_tests_name("saver", tests, NULL, NULL) ? 1 : 0;
}
