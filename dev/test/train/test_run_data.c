// Runs that go on in their data: from any folder, with shards that were moved, with other shards; and runs
// that a run.json gives again, in both stages and as a branch.
#include "core/base/files.h"
#include "core/checkpoint/trainer_state.h"
#include "dev/fuzz/harness.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void must_go(const char *folder) {
    assert_int_equal(chdir(folder), 0);
}

static void copy_data(const char *to) {
    static const char *const names[] = {"train_0.bin", "train_1.bin", "val_0.bin"};
    for (int i = 0; i < 3; i++) {
        char *target = path_join(to, names[i]);
        file_copy(names[i], target);
        free(target);
    }
}

// A pack of other text under the same names.
static void other_data(const char *folder) {
    for (int shard = 0; shard < 2; shard++) {
        char path[64];
        snprintf(path, sizeof path, "%s/train_%d.bin", folder, shard);
        shard_make_counting(path, 2, 31 * shard, 3000, 90);
    }
}

static const json_t *resume_line(const json_t *log, int n) {
    return tiny_event(log, "resume", n);
}

// ---- The data

// From another folder, where files of the same names lie, a run goes on in its own.
static void test_other_folder(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out whole --steps 4 --val-every 2");
    DONE(TINY_TRAIN "--out run --steps 2 --val-every 2");
    assert_int_equal(mkdir("project", 0777), 0);
    other_data("project");
    must_go("project");
    DONE("train --resume ../run --steps 4");
    must_go("..");
    expect_same_steps("whole", "run", 4);
    expect_same_checkpoint("whole", "run", 4);
    json_t *log = tiny_log("run"), *run = json_load_file("run/run.json", 0, NULL);
    char *data = path_absolute("train_*.bin");
    assert_string_equal(line_text(resume_line(log, 0), "changed"), "steps 2 -> 4");
    assert_string_equal(line_text(json_object_get(run, "settings"), "data"), data);
    assert_true(data[0] == '/');
    free(data);
    json_decref(log);
    json_decref(run);
}

// Shards that were moved are named anew, and are the same data.
static void test_moved(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out whole --steps 4");
    DONE(TINY_TRAIN "--out run --steps 2");
    copy_data("disk");
    assert_int_equal(unlink("train_0.bin") | unlink("train_1.bin"), 0);
    program_expect(3, "no file matches", "train --resume run --steps 4");
    DONE("train --resume run --steps 4 --data disk/train_*.bin");
    expect_same_steps("whole", "run", 4);
    expect_same_checkpoint("whole", "run", 4);
}

// Packed anew under the same names: refused, both named; --new-data begins them.
static void test_packed_anew(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4");
    DONE("train --resume run --out same --steps 6");
    other_data(".");
    program_expect(2, "--new-data goes with --resume", TINY_TRAIN "--out x --steps 1 --new-data");
    program_expect(2, "train_*.bin (shards: 2, tokens: 6000, hash: ", "train --resume run --steps 6");
    program_expect(2, "is not what the run to resume was trained on: /",
                   TINY_TRAIN "--resume auto --out run --steps 6");
    program_expect(2, "(shards: 2, tokens: 3940, hash: ", "train --resume run --steps 6 --out branch");
    assert_false(folder_exists("branch"));
    char *said = program_output("train --resume run --steps 5 --new-data");
    expect_part(said, "; new data, from its beginning");
    free(said);
    json_t *log = tiny_log("run");
    assert_true(json_is_true(json_object_get(resume_line(log, 0), "new_data")));
    json_decref(log);
    // From its beginning: as the fifth update of a run that had only them, from the same weights.
    DONE("train --resume run/step_00000004 --steps 5 --new-data --out branch");
    expect_same_checkpoint("run", "branch", 5);
    // A job script says it at every start; the data go on.
    DONE("train --resume auto --out run --steps 6 --new-data");
    log = tiny_log("run");
    assert_null(json_object_get(resume_line(log, 1), "new_data"));
    json_decref(log);
    DONE("train --resume branch --steps 6");
    expect_same_checkpoint("run", "branch", 6);
    program_expect(2, "is what the run to resume was trained on; leave out --new-data",
                   "train --resume run --steps 7 --new-data");
}

static void test_other_validation(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2 --val-every 1");
    file_copy("train_1.bin", "val_0.bin");
    program_expect(0, "its validation losses do not compare with those before",
                   "train --resume run --steps 3");
}

// Takes what a checkpoint of an older version does not have out of its state.
static void age(const char *checkpoint) {
    size_t size;
    char *text = scratch_read(checkpoint, STATE_FILE_NAME, &size);
    json_t *json = json_loadb(text, size, 0, NULL);
    free(text);
    assert_int_equal(json_object_del(json, "data"), 0);
    json_object_set_new(json_object_get(json, "settings"), "data", json_string("train_*.bin"));
    char *aged = fuzz_state_text(json, &size);
    scratch_write(checkpoint, STATE_FILE_NAME, aged, (int64_t)size);
    free(aged);
    json_decref(json);
}

static void test_older_checkpoint(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out whole --steps 4");
    DONE(TINY_TRAIN "--out run --steps 2");
    age("run/step_00000002");
    program_expect(0, "run/step_00000002 does not tell what data it was trained on",
                   "train --resume run --steps 4");
    expect_same_checkpoint("whole", "run", 4);
    json_t *log = tiny_log("run");
    assert_string_equal(line_text(resume_line(log, 0), "changed"), "steps 2 -> 4");
    json_decref(log);
}

// A state that its own hash vouches for, with a setting of a later version: nobody is told to edit it.
static void test_unknown_setting(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    size_t size;
    char *text = scratch_read("run/step_00000001", STATE_FILE_NAME, &size);
    json_t *json = json_loadb(text, size, 0, NULL);
    free(text);
    json_object_set_new(json_object_get(json, "settings"), "later-setting", json_integer(1));
    char *later = fuzz_state_text(json, &size);
    scratch_write("run/step_00000001", STATE_FILE_NAME, later, (int64_t)size);
    free(later);
    json_decref(json);
    program_expect(2, "\"later-setting\"; another version of this program has saved it",
                   "train --resume run");
}

// ---- run.json as --config

// A stage that was begun by a second command is in run.json as one that was planned.
static void test_two_commands(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 3");
    DONE("train --resume run --attention dense --steps 6");
    DONE("train --config run/run.json --out again");
    expect_same_steps("run", "again", 6);
    expect_same_checkpoint("run", "again", 6);
    assert_int_equal(mkdir("elsewhere", 0777), 0);
    must_go("elsewhere");
    DONE("train --config ../run/run.json --out ../there");
    must_go("..");
    expect_same_checkpoint("run", "there", 6);
    Outcome outcome = program_run("train --config run/run.json --out quiet");
    if (strstr(outcome.err, "changed its settings")) fail_msg("%s", outcome.err);
    outcome_free(&outcome);
    // What the settings cannot give again is said.
    DONE("train --resume run --steps 7 --lr 0.003");
    DONE("train --resume run --steps 8 --val-every 4"); // no other run
    program_expect(0, "changed its settings on the way, first after step 6 (lr 0.01 -> 0.003)",
                   "train --config run/run.json --out other");
}

// Other shards under the names of run.json are refused, both told; named on the command line they are meant.
static void test_config_packed_anew(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2");
    other_data(".");
    program_expect(2, "(shards: 2, tokens: 3940, hash: ", "train --config run/run.json --out again");
    program_expect(2, "to train on these, name them by --data", "train --config run/run.json --out again");
    assert_false(folder_exists("again"));
    DONE("train --config run/run.json --out again --data train_*.bin");
    DONE("train --config again/run.json --out third"); // whose own shards these are
    json_t *json = json_load_file("run/run.json", 0, NULL);
    json_object_set_new(json, "data", json_integer(1));
    assert_int_equal(json_dump_file(json, "edited.json", 0), 0);
    program_expect(2, "take that member out", "train --config edited.json --out edited");
    json_object_del(json, "data"); // as older versions wrote it
    assert_int_equal(json_dump_file(json, "older.json", 0), 0);
    json_decref(json);
    DONE("train --config older.json --out older");
}

// Stages in an order that the last settings do not give again are said.
static void test_stages_turned(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out dense --steps 2 --attention dense");
    DONE("train --resume dense --steps 4 --attention lighthouse");
    program_expect(0, "first after step 2 (attention dense -> lighthouse)",
                   "train --config dense/run.json --out other");
    DONE(TINY_TRAIN "--out late --steps 3 --switch-at 2");
    DONE("train --resume late --steps 5 --switch-at 4");
    program_expect(0, "first after step 3 (switch-at 2 -> 4)", "train --config late/run.json --out later");
}

// A branch's run.json begins where the branch began.
static void test_branch_again(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out stage --steps 3");
    DONE("train --resume stage --attention dense --steps 6 --out tail --lr 0.003");
    DONE("train --config tail/run.json --out again");
    expect_same_checkpoint("tail", "again", 6);
    DONE("train --config tail/run.json --resume auto --out script --stop-at 4");
    DONE("train --config tail/run.json --resume auto --out script");
    expect_same_checkpoint("tail", "script", 6);
    Error error;
    expect_ok(tree_remove("stage", &error), &error);
    program_expect(2, "which is not there: its settings alone do not give its weights",
                   "train --config tail/run.json --out lost");
    assert_false(folder_exists("lost"));
    // Another run in the parent's place is not the parent.
    DONE(TINY_TRAIN "--out stage --steps 3 --lr 0.5");
    program_expect(2, "which is not there", "train --config tail/run.json --out lost");
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_other_folder),     IN_TINY_FOLDER(test_moved),
        IN_TINY_FOLDER(test_packed_anew),      IN_TINY_FOLDER(test_config_packed_anew),
        IN_TINY_FOLDER(test_other_validation), IN_TINY_FOLDER(test_older_checkpoint),
        IN_TINY_FOLDER(test_unknown_setting),  IN_TINY_FOLDER(test_stages_turned),
        IN_TINY_FOLDER(test_two_commands),     IN_TINY_FOLDER(test_branch_again),
    };
    return cmocka_run_group_tests_name("run_data", tests, NULL, NULL) ? 1 : 0;
}
