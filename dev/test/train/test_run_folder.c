// Folders of runs: links to them, what is somebody else's in them, checkpoints that are damaged, in the way
// or full of strange files, starts that fail. Nothing that the program did not write is changed.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/faults.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_text(const char *path, const char *wanted) {
    char *text = scratch_read(".", path, NULL);
    assert_string_equal(text, wanted);
    free(text);
}

static void must_link(const char *to, const char *link) {
    assert_int_equal(symlink(to, link), 0);
}

// One byte in the midst of the weights: every length stays right.
static void damage(const char *checkpoint) {
    size_t size;
    free(scratch_read(checkpoint, "model.safetensors", &size));
    scratch_flip(checkpoint, "model.safetensors", size - 6, 3);
}

// ---- Links

// A link to a checkpoint goes on in that checkpoint's run, not where the link lies.
static void test_links(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out whole --steps 5");
    DONE(TINY_TRAIN "--out run --steps 2");
    scratch_write("elsewhere", "log.jsonl", "my own log\n", -1);
    scratch_write("elsewhere", "run.json", "{\"mine\": 1}\n", -1);
    must_link("../run/step_00000002", "elsewhere/latest");
    DONE("train --resume elsewhere/latest --steps 3");
    must_link("step_00000003", "run/latest");
    DONE("train --resume run/latest/ --steps 4");
    must_link("../run", "elsewhere/a_run");
    DONE("train --resume elsewhere/a_run --steps 5");
    expect_same_steps("whole", "run", 5);
    expect_same_checkpoint("whole", "run", 5);
    expect_text("elsewhere/log.jsonl", "my own log\n");
    expect_text("elsewhere/run.json", "{\"mine\": 1}\n");
    assert_int_equal(scratch_count("elsewhere"), 4);
    must_link("nowhere", "run/dangling");
    program_expect(3, "run/dangling: no such run or checkpoint", "train --resume run/dangling --steps 9");
}

// ---- What is somebody else's

// A checkpoint that was copied beside somebody's files writes nothing there.
static void test_copied_checkpoint(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    checkpoint_copy("run/step_00000001", "logs/step_00000001", true);
    scratch_write("logs", "log.jsonl", "{\"step\": 1, \"loss\": 2}\n", -1);
    program_expect(2, "logs/log.jsonl is not this program's", "train --resume logs/step_00000001 --steps 2");
    program_expect(2, "logs/log.jsonl is not this program's", "train --resume logs --steps 2");
    program_expect(2, "logs/log.jsonl is not this program's",
                   TINY_TRAIN "--resume auto --out logs --steps 2");
    expect_text("logs/log.jsonl", "{\"step\": 1, \"loss\": 2}\n");
    checkpoint_copy("run/step_00000001", "settings/step_00000001", true);
    scratch_write("settings", "run.json", "{\"settings\": {}}", -1);
    program_expect(2, "settings/run.json is not this program's", "train --resume settings --steps 2");
    expect_text("settings/run.json", "{\"settings\": {}}");
    checkpoint_copy("run/step_00000001", "home/step_00000001", true);
    scratch_write("home", "letter.txt", "Dear", -1);
    program_expect(2, "lies among other things", "train --resume home/step_00000001 --steps 2");
    assert_int_equal(scratch_count("home"), 2);
    DONE("train --resume home/step_00000001 --steps 2 --out new");
    checkpoint_copy("run/step_00000001", "alone/step_00000001", true);
    DONE("train --resume alone --steps 2"); // there is nothing to lose
    expect_same_checkpoint("alone", "new", 2);
}

// A run is begun over nobody's run.json or log.jsonl, whatever the command.
static void test_foreign_files(void **state) {
    (void)state;
    static const char *const files[][2] = {{"run.json", "{\"name\": \"mine\"}\n"},
                                           {"run.json", "no JSON"},
                                           {"log.jsonl", "{\"step\":1,\"loss\":3.5}\n"},
                                           {"log.jsonl", "notes"}};
    for (size_t i = 0; i < 4; i++) {
        Error error;
        scratch_write("mine", files[i][0], files[i][1], -1);
        program_expect(2, "is not this program's", TINY_TRAIN "--out mine --steps 1");
        program_expect(2, "is not this program's", TINY_TRAIN "--resume auto --out mine --steps 1");
        char *path = path_join("mine", files[i][0]);
        expect_text(path, files[i][1]);
        free(path);
        assert_int_equal(scratch_count("mine"), 1);
        expect_ok(tree_remove("mine", &error), &error);
    }
    // What a run had written before its folder was spoilt by a crash is still its own.
    DONE(TINY_TRAIN "--out run --steps 1");
    scratch_write("run", "log.jsonl", "\0\0\0\n", 4);
    DONE("train --resume run --steps 2");
}

// A pipe in the place of a log is not waited for.
static void test_pipe_log(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    assert_int_equal(unlink("run/log.jsonl"), 0);
    assert_int_equal(mkfifo("run/log.jsonl", 0666), 0);
    program_expect(2, "run/log.jsonl is not this program's", "train --resume run --steps 2");
    program_expect(2, "run/log.jsonl is not this program's", TINY_TRAIN "--resume auto --out run --steps 2");
    program_expect(3, "run/log.jsonl: there is no log", "report run --out x.svg");
}

// A log without the step that the run goes on after has lost something, which is said once.
static void test_lost_log(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    assert_int_equal(unlink("run/log.jsonl"), 0);
    program_expect(0, "run/log.jsonl does not hold step 1", "train --resume run --steps 2");
    Outcome outcome = program_run("train --resume run --steps 3");
    assert_int_equal(outcome.status, 0);
    assert_null(strstr(outcome.err, "does not hold step"));
    outcome_free(&outcome);
}

// Nothing else is put into a checkpoint, nor where the run would take it for one.
static void test_names_of_checkpoints(void **state) {
    (void)state;
    static const char *const commands[] = {"export --model run", "train --resume run --steps 2",
                                           TINY_TRAIN "--steps 1",
                                           "niah --model run --lengths 512 --depths 0 --trials 1"};
    DONE(TINY_TRAIN "--out run --steps 1");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        program_expect(2, "has the name of a checkpoint", "%s --out run/step_00000009", commands[i]);
        program_expect(2, "has the name of a checkpoint", "%s --out run/step_00000009/", commands[i]);
        program_expect(2, "is in a checkpoint", "%s --out run/step_00000001/more", commands[i]);
    }
    program_expect(2, "is in a checkpoint", "report run --out run/step_00000001/loss.svg");
    assert_int_equal(scratch_count("run"), 3);
    program_expect(3, "cannot make the folder tiny.json: a file is in its place",
                   "export --model run --out tiny.json/model");
    must_link("nowhere", "lost_link");
    program_expect(3, "cannot make the folder lost_link: a link that leads nowhere is in its place",
                   TINY_TRAIN "--out lost_link --steps 1");
    DONE("export --model run --out step_00000009"); // beside the run it is a name as any other
}

// Reports and trials replace only their own kind.
static void test_reports(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2");
    static const char *const pictures[] = {"logo.svg", "page.html"};
    for (int i = 0; i < 2; i++) {
        scratch_write(".", pictures[i], "<svg>mine</svg>", -1);
        program_expect(2, "was not written by this program", "report run --out %s", pictures[i]);
        expect_text(pictures[i], "<svg>mine</svg>");
        scratch_write(".", pictures[i], "", 0);
        DONE("report run --out %s", pictures[i]); // an empty file, as mktemp makes, is nobody's loss
        DONE("report run --out %s", pictures[i]);
    }
    // A link stays one, and what it leads to is written.
    DONE("report run --out behind.svg");
    assert_int_equal(symlink("behind.svg", "link.svg"), 0);
    assert_int_equal(symlink("nothing", "dangling.svg"), 0);
    DONE("report run --out link.svg");
    program_expect(2, "--out dangling.svg: is a link that leads nowhere", "report run --out dangling.svg");
    char leads[16] = "";
    assert_int_equal(readlink("link.svg", leads, sizeof leads - 1), strlen("behind.svg"));
    scratch_write(".", "picture.svg.tmp", "mine", -1);
    DONE("report run --out picture.svg");
    expect_text("picture.svg.tmp", "mine");
    static const char *const names[] = {"trials.jsonl", "summary.json", "heatmap.svg"};
#define NIAH "niah --model run --lengths 64 --trials 1 --depths 50 --out needles"
    for (int i = 0; i < 3; i++) {
        char *path = path_join("needles", names[i]);
        scratch_write("needles", names[i], "mine", -1);
        program_expect(2, "was not written by this program", NIAH);
        expect_text(path, "mine");
        assert_int_equal(unlink(path), 0);
        free(path);
    }
    DONE(NIAH);
    DONE(NIAH);
}

// ---- Checkpoints that are damaged or in the way

// One flipped byte: the run goes on from the checkpoint before, to the same bits, on as many ranks as it
// likes.
static void test_flipped_byte(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out whole --steps 6");
    static const char *const ways[] = {"--resume run", "--resume auto --out run", "--resume run"};
    for (int way = 0; way < 3; way++) {
        Error error;
        expect_ok(tree_remove("run", &error), &error);
        DONE(TINY_TRAIN "--out run --steps 6 --checkpoint-every 2");
        damage("run/step_00000006");
        program_ranks(way == 2 ? 2 : 1, false);
        Outcome outcome = program_run("train %s --steps 6", ways[way]);
        program_ranks(1, false);
        if (outcome.status != 0) fail_msg("%s", outcome.err);
        char *warning = strstr(outcome.err, "passing over a damaged checkpoint: ");
        assert_non_null(warning);
        expect_part(warning, "run/step_00000006/model.safetensors: damaged");
        assert_null(strstr(warning + 1, "passing over")); // once
        expect_part(outcome.err, "moved to run/aside");
        outcome_free(&outcome);
        assert_true(file_exists("run/aside/step_00000006/model.safetensors"));
        DONE("info run --verify");
        if (way == 2) break; // two ranks give the same but for rounding
        expect_same_steps("whole", "run", 6);
        expect_same_checkpoint("whole", "run", 6);
    }
}

static void test_all_damaged(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --checkpoint-every 2");
    damage("run/step_00000002");
    damage("run/step_00000004");
    program_expect(3, "run: none of its 2 checkpoints is whole", "train --resume run --steps 5");
    program_expect(3, "run: none of its 2 checkpoints is whole",
                   TINY_TRAIN "--resume auto --out run --steps 5");
    assert_true(folder_exists("run/step_00000002") && folder_exists("run/step_00000004"));
}

// An earlier checkpoint by its name: the run goes on from there, and what was later is kept aside with its
// log.
static void test_earlier_checkpoint(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --checkpoint-every 2");
    DONE("train --resume run --steps 6 --lr 0.5");
    program_expect(
        0, "run goes on from step 2: its 2 later checkpoints, from step_00000004 on, moved to run/aside",
        "train --resume run/step_00000002 --steps 6");
    DONE(TINY_TRAIN "--out whole --steps 6");
    expect_same_steps("whole", "run", 6);
    expect_same_checkpoint("whole", "run", 6);
    json_t *before = tiny_steps("run/aside");
    assert_int_equal(json_array_size(before), 6);
    json_decref(before);
    program_expect(0, "moved to run/aside_2", "train --resume run/step_00000002 --steps 3");
    assert_true(folder_exists("run/aside_2/step_00000006") && folder_exists("run/aside/step_00000006"));
    DONE("train --resume run/aside/step_00000006 --out branch --steps 7");
    DONE("eval --model run/aside/step_00000006 --data val_*.bin");
}

// What others leave in a run and in its checkpoints is nothing to the program.
static void test_strangers(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2 --checkpoint-every 1");
    static const char *const strangers[] = {".DS_Store",        ".nfs0001",      "README",      "notes~",
                                            "trainer/.nfs0002", "trainer/x.bak", "lost+found/y"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        scratch_write("run", strangers[i], "x", -1);
        scratch_write("run/step_00000002", strangers[i], "x", -1);
    }
    DONE(TINY_TRAIN "--resume auto --out run --steps 3");
    DONE("train --resume run/step_00000003 --steps 4");
    DONE("eval --model run --data val_*.bin");
    DONE("info run --verify");
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        assert_true(scratch_exists("run", strangers[i]));
        assert_true(scratch_exists("run/step_00000002", strangers[i]));
    }
    // A checkpoint that is deleted leaves what was put into it.
    DONE("train --resume run --steps 5 --keep 1");
    assert_false(folder_exists("run/step_00000002"));
    expect_text("run/aside/step_00000002/README", "x");
    expect_text("run/aside/step_00000002/trainer/x.bak", "x");
    // A file and a folder that only have a checkpoint's name.
    scratch_write("run", "step_00000006", "mine", -1);
    scratch_write("run/step_00000001", "letter", "mine", -1);
    program_expect(0, "passing over a damaged checkpoint: ", "train --resume run --steps 6 --keep 1");
    expect_text("run/aside_2/step_00000006", "mine");
    expect_text("run/step_00000001/letter", "mine");
}

static void test_renamed_checkpoint(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --checkpoint-every 2");
    assert_int_equal(rename("run/step_00000004", "run/step_4"), 0);
    assert_int_equal(symlink("step_00000002", "run/latest"), 0);
    program_expect(0, "passing over run/step_4: ", "train --resume run --steps 4");
    Outcome outcome = program_run("info run/step_4");
    assert_int_equal(outcome.status, 0);
    assert_null(strstr(outcome.err, "passing over"));
    outcome_free(&outcome);
}

// ---- Starts that fail

static void test_failed_starts(void **state) {
    (void)state;
    scratch_write(".", "bad/train_0.bin", "", 0);
    file_copy("train_0.bin", "bad/train_0.bin");
    size_t size;
    free(scratch_read("bad", "train_0.bin", &size));
    scratch_flip("bad", "train_0.bin", size - 9, 1);
    program_expect(3, "is damaged", TINY_TRAIN "--data bad/*.bin --out run --steps 2");
    assert_false(folder_exists("run")); // the shard was found damaged when the first update reached it
    program_expect(3, "is damaged", TINY_TRAIN "--data bad/*.bin --out run --steps 2 --tensorboard");
    assert_false(folder_exists("run"));
    DONE(TINY_TRAIN "--out run --steps 2");
    // A branch that fails does not block its name either, and keeps its beginning.
    scratch_write(".", "file", "x", -1);
    program_expect(3, "is damaged", "train --resume run --new-data --data bad/*.bin --out branch --steps 3");
    DONE("train --resume run --out branch --steps 3");
    program_expect(3, "is damaged", "train --resume run --new-data --data bad/*.bin --out again --steps 3");
    DONE("train --resume auto --out again --data train_*.bin --steps 3");
    expect_same_checkpoint("branch", "again", 3);
    program_expect(2, "--out file is a file", TINY_TRAIN "--out file --steps 1");
    program_expect(2, "--out file is a file", "train --resume run --out file --steps 4");
    program_expect(3, "file", "train --resume file --steps 4");
}

// A run that was killed before it had saved anything, with updates in its log, is nobody's to take.
static void test_unsaved_run(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2");
    Error error;
    expect_ok(tree_remove("run/step_00000002", &error), &error);
    program_expect(2, "--out run already holds a run", TINY_TRAIN "--out run --steps 2");
    scratch_write("run", "log.jsonl", "", 0);
    DONE(TINY_TRAIN "--out run --steps 2");
}

// ---- Paths

static void test_home(void **state) {
    (void)state;
    char *here = getcwd(NULL, 0), *before = copy_or_exit(getenv("HOME") ? getenv("HOME") : "/");
    assert_int_equal(setenv("HOME", here, 1), 0);
    DONE(TINY_TRAIN "--out=~/run --steps 1 --data ~/train_*.bin");
    DONE("train --resume ~/run --steps 2");
    DONE("report run --out=~/loss.svg");
    assert_int_equal(unsetenv("HOME"), 0);
    program_expect(2, "--out ~/other: ~ is the home folder, and HOME is not set",
                   TINY_TRAIN "--out=~/other --steps 1");
    DONE(TINY_TRAIN "--out=./~ --steps 1");
    Error error;
    assert_true(tree_remove("./~", &error));
    assert_int_equal(setenv("HOME", before, 1), 0);
    assert_true(folder_exists("run/step_00000002") && file_exists("loss.svg"));
    assert_false(folder_exists("~"));
    free(here);
    free(before);
}

// A run is known without its run.json, also by what it has left aside.
static void test_info(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2 --checkpoint-every 1");
    DONE("train --resume run/step_00000001 --steps 2 --out branch");
    char *said = program_output("info branch");
    expect_part(said, "branch: branched off from /");
    expect_part(said, "trained on 2 shards of 3940 tokens, hash ");
    free(said);
    scratch_write("run", "run.json", "{\"mine\": 1}", -1);
    for (int round = 0; round < 2; round++) {
        said = program_output("info run --verify");
        expect_part(said, "run: run without a run.json of this program");
        expect_part(said, "run/step_00000002: checkpoint after 2 steps");
        free(said);
        unlink("run/run.json");
    }
    DONE("train --resume run --steps 3"); // its log and its checkpoints are its own
}

// In a folder whose name is no UTF-8 a run goes on; what would have to tell its path is refused.
static void test_odd_folder(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    assert_int_equal(mkdir("b\xe9", 0777), 0);
    assert_int_equal(rename("run", "b\xe9/run"), 0);
    assert_int_equal(chdir("b\xe9"), 0);
    DONE("train --resume run --steps 2");
    json_t *log = tiny_log("run");
    assert_string_equal(line_text(tiny_event(log, "resume", 0), "checkpoint"), "step_00000001");
    json_decref(log);
    program_expect(2, "must be UTF-8, to be kept in run.json", "train --resume run --out branch --steps 3");
    program_expect(2, "--data train_*.bin: its absolute path must be UTF-8",
                   "train --config ../tiny.json --out new --steps 1");
    assert_false(folder_exists("branch") || folder_exists("new"));
    assert_int_equal(chdir(".."), 0);
}

// The reason stays in a message about the longest paths.
static void test_long_paths(void **state) {
    (void)state;
    char path[4000];
    memset(path, 'a', sizeof path - 1);
    for (size_t i = 100; i < sizeof path - 1; i += 101) path[i] = '/';
    path[sizeof path - 1] = 0;
    program_expect(3, "no such run or checkpoint", "train --resume %s", path);
    program_expect(3, "make shards with `pack`", TINY_TRAIN "--out run --steps 1 --data %s", path);
    program_expect(3, "there is no log; name a run's folder", "report %s --out x.svg", path);
}

// Where a path's real one cannot be found, as below a mount that is gone, a link is refused with the reason;
// runs are drawn by the names that they were given.
static void test_unresolved(void **state) {
    (void)state;
    static const Fault unresolved = {"unresolved", "main", 0};
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE("train --resume run --steps 2 --out branch");
    must_link("run/step_00000001", "latest");
    char *here = getcwd(NULL, 0), *link = path_join(here, "latest"), *branch = path_join(here, "branch");
    faults_begin(unresolved, link, "trace");
    program_expect(3, "latest: its real path cannot be found: No such file", "train --resume %s --steps 2",
                   link);
    faults_begin(unresolved, branch, "trace");
    char *said = program_output("report %s --out loss.svg", branch);
    faults_end();
    expect_part(said, "\n| branch | 2 + 0 |");
    free(said);
    free(branch);
    free(link);
    free(here);
}

// What is written as text ends with a line's end, as every tool has it.
static void test_text_ends(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE("export --model run --out model");
    DONE("report run --out loss.svg");
    DONE("report run --out loss.html");
    DONE(NIAH);
    static const char *const files[] = {
        "run/run.json",
        "run/log.jsonl",
        "run/step_00000001/config.json",
        "run/step_00000001/tokenizer.json",
        "run/step_00000001/tokenizer_config.json",
        "run/step_00000001/trainer/state.json",
        "model/config.json",
        "model/tokenizer.json",
        "loss.svg",
        "loss.html",
        "needles/trials.jsonl",
        "needles/summary.json",
        "needles/heatmap.svg",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char *text = scratch_read(".", files[i], &size);
        if (text[size - 1] != '\n') fail_msg("%s ends within a line", files[i]);
        free(text);
    }
}

int main(void) {
    program_find();
    faults_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_links),
        IN_TINY_FOLDER(test_copied_checkpoint),
        IN_TINY_FOLDER(test_foreign_files),
        IN_TINY_FOLDER(test_pipe_log),
        IN_TINY_FOLDER(test_lost_log),
        IN_TINY_FOLDER(test_names_of_checkpoints),
        IN_TINY_FOLDER(test_reports),
        IN_TINY_FOLDER(test_flipped_byte),
        IN_TINY_FOLDER(test_renamed_checkpoint),
        IN_TINY_FOLDER(test_all_damaged),
        IN_TINY_FOLDER(test_earlier_checkpoint),
        IN_TINY_FOLDER(test_strangers),
        IN_TINY_FOLDER(test_failed_starts),
        IN_TINY_FOLDER(test_unsaved_run),
        IN_TINY_FOLDER(test_info),
        IN_TINY_FOLDER(test_odd_folder),
        IN_TINY_FOLDER(test_home),
        IN_TINY_FOLDER(test_long_paths),
        IN_TINY_FOLDER(test_unresolved),
        IN_TINY_FOLDER(test_text_ends),
    };
    return cmocka_run_group_tests_name("run_folder", tests, NULL, NULL) ? 1 : 0;
}
