// How runs begin and go on, in the corners: what is overridden at a resume and how it is told, branches that
// have nothing to do, a run that another program went on with meanwhile, data of two kinds.
#include "core/base/files.h"
#include "core/options/options.h"
#include "core/ranks/ranks.h"
#include "core/train/run.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// The longest changes are told whole: paths of more than 2 KB, in letters of two bytes that begin at an even
// byte or at an odd one.
static void test_long_changes(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    for (int odd = 0; odd < 2; odd++) {
        char path[2600], data[2700], changed[2800];
        size_t size = (size_t)snprintf(path, sizeof path, "%s", odd ? "odd" : "even");
        for (int folder = 0; folder < 11; folder++) {
            path[size++] = '/';
            for (int letter = 0; letter < 100; letter++, size += 2) memcpy(path + size, "\xc3\xa9", 2);
        }
        path[size] = 0;
        snprintf(data, sizeof data, "%s/train_0.bin", path);
        file_copy("train_1.bin", data);
        DONE("train --resume run --out %s --steps 2 --lr 0.005 --new-data --data %s", odd ? "b" : "a", data);
        json_t *log = tiny_log(odd ? "b" : "a"), *resume = tiny_event(log, "resume", 0);
        char *before = path_absolute("train_*.bin"), *now = path_absolute(data),
             *checkpoint = path_absolute("run/step_00000001");
        snprintf(changed, sizeof changed, "data %s -> %s, steps 1 -> 2, lr 0.01 -> 0.005", before, now);
        assert_string_equal(line_text(resume, "changed"), changed);
        assert_string_equal(line_text(resume, "checkpoint"), checkpoint);
        free(before);
        free(now);
        free(checkpoint);
        json_decref(log);
    }
}

// The console counts to the end of this run, with its last update shown and the time left until there.
static void test_progress_to_stop(void **state) {
    (void)state;
    char *said = program_output(TINY_TRAIN "--out run --steps 1000000 --stop-at 3 --log-every 100");
    assert_non_null(strstr(said, "step 1/3 "));
    const char *last = strstr(said, "step 3/3 ");
    if (!last || !strstr(last, " 0:00:00 left")) fail_msg("%s", said);
    free(said);
}

// A branch at whose start no update is left has the parent's state, and goes on from it.
static void test_branch_at_its_end(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out parent --steps 3");
    char *said = program_output("train --resume parent --out branch");
    assert_non_null(strstr(said, "branch; there was nothing left to do, more --steps go on"));
    free(said);
    expect_same_checkpoint("parent", "branch", 3);
    DONE("train --resume auto --out branch --steps 5");
    DONE("train --resume parent --steps 5");
    expect_same_checkpoint("parent", "branch", 5);
}

// Which attention a resumed run's next update is under.
static void expect_stage(const char *run, const char *attention) {
    json_t *log = tiny_log(run);
    assert_string_equal(line_text(tiny_event(log, "resume", 0), "attention"), attention);
    json_decref(log);
}

// A run that has switched does not stay dense where Lighthouse is asked for by name: it says what to do.
static void test_back_to_lighthouse(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --switch-at 3 --checkpoint-every 2");
    program_expect(2, "is dense from step 3 on; leave it out, or give another --switch-at",
                   "train --resume run --steps 6 --attention lighthouse --out new");
    assert_false(folder_exists("new"));
    DONE("train --resume run --steps 6 --attention lighthouse --switch-at 0 --out never");
    expect_stage("never", "lighthouse");
    // What a job script says at every start holds before the switch and after it.
    DONE("train --resume run --steps 6 --attention lighthouse --switch-at 3 --out script");
    expect_stage("script", "dense");
    DONE("train --resume run/step_00000002 --steps 3 --attention lighthouse --out before");
    expect_stage("before", "lighthouse");
}

// What is asked of Lighthouse attention must have an update to come, and its gates must be there.
static void test_lighthouse_settings(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4 --switch-at 3 --checkpoint-every 2");
    DONE("train --resume run/step_00000002 --out other --steps 4 --pool 4");
    program_expect(2, "--pool has no meaning under dense attention", "train --resume run --steps 6 --pool 4");
    DONE("train --resume run --steps 5 --pool 2"); // as it was
    DONE("train --layers 1 --dim 64 --heads 1 --kv-heads 1 --head-dim 64 --ffn 64 --attention dense "
         "--seq-len 64 "
         "--global-batch 1 --steps 1 --data train_*.bin --out thin"); // the list of dense layers is no matter
    DONE("eval --model thin --data val_*.bin");
    program_expect(2, "has no gates of the scorer gla",
                   "train --resume run/step_00000002 --out gated --steps 4 --scorer gla");

    program_expect(2, "run/step_00000002 has no gates of the scorer gla",
                   TINY_TRAIN "--init run/step_00000002 --scorer gla --out gated --steps 1");
    assert_false(folder_exists("gated"));
    DONE(TINY_TRAIN "--init run/step_00000002 --scorer gla --seed 5 --out gated --steps 2 --switch-at 1");
    DONE("train --resume gated --steps 3"); // dense
    DONE(TINY_TRAIN "--init gated/step_00000003 --scorer gla --out next --steps 1");
    const char *const later[] = {"gated/step_00000003", "next/step_00000001"};
    for (int i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/trainer/gates.safetensors", later[i]);
        assert_true(files_equal("gated/step_00000002/trainer/gates.safetensors", path));
    }
}

// Validation on shards of the other kind is refused at the start, not after some hundred updates.
static void test_val_of_another_kind(void **state) {
    (void)state;
    char ids[4 * TINY_CONTEXT];
    for (size_t i = 0; i < sizeof ids; i++) ids[i] = (char)(i % 2 ? 0 : i % 128); // 2 bytes a token
    scratch_write(".", "ids", ids, sizeof ids);
    DONE("pack ids --tokens uint16 --vocab 264 --val-fraction 0 --out ready");
    program_expect(3, "--data train_*.bin holds bytes, --val ready/train_*.bin does not",
                   TINY_TRAIN "--out run --steps 4 --val ready/train_*.bin --val-every 4");
    program_expect(3, "--data ready/train_*.bin holds token ids, --val val_*.bin does not",
                   TINY_TRAIN "--out run --steps 4 --data ready/train_*.bin --val-every 4");
    assert_false(folder_exists("run"));
    DONE(TINY_TRAIN "--out run --steps 4 --val ready/train_*.bin"); // which does not validate
}

// A checkpoint named as --out stays as it is: with more in it, it could not be resumed.
static void test_checkpoint_as_out(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 2 --checkpoint-every 1");
    program_expect(2, "--out run/step_00000001 is a checkpoint, which must hold nothing else",
                   TINY_TRAIN "--resume auto --out run/step_00000001 --steps 3");
    program_expect(2, "is a checkpoint, which must hold nothing else",
                   "train --resume run --out run/step_00000001/ --steps 3");
    program_expect(2, "is a checkpoint, which must hold nothing else",
                   "niah --model run --lengths 64 --trials 1 --out run/step_00000001");
    DONE("info run --verify");
    DONE("train --resume run --steps 3");
}

// Nor does a model's folder get what is no part of the model.
static void test_model_as_out(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE("export --model run --out model");
    const char *part = "model is a model's folder, which gets nothing else";
    program_expect(2, part, "niah --model run --lengths 64 --trials 1 --out model");
    program_expect(2, part, "report run --out model/loss.svg");
    assert_false(scratch_exists("model", "loss.svg"));
    assert_false(scratch_exists("model", "trials.jsonl"));
    DONE("niah --model run --lengths 64 --trials 1 --out model/needles");
    scratch_write(".", "config.json", "{}", -1); // many programs have one
    DONE("report run --out loss.svg");
}

// The weights that --init takes from a checkpoint are held against its hashes, as everywhere.
static void test_init_from_damaged(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE(TINY_TRAIN "--init run/step_00000001 --out sound --steps 1");
    size_t size;
    free(scratch_read("run/step_00000001", "model.safetensors", &size));
    scratch_flip("run/step_00000001", "model.safetensors", size - 6, 3);
    program_expect(3, "run/step_00000001/model.safetensors: damaged: its hash is not the saved one",
                   TINY_TRAIN "--init run/step_00000001 --out new --steps 1");
    assert_false(folder_exists("new"));
}

static void expect_ranks(const char *run, int began, int went_on) {
    char path[64];
    snprintf(path, sizeof path, "%s/run.json", run);
    json_t *settings = json_load_file(path, 0, NULL), *log = tiny_log(run);
    const json_t *ranks = json_object_get(settings, "ranks"); // left out where it is 1
    assert_int_equal(ranks ? json_integer_value(ranks) : 1, began);
    assert_int_equal(json_integer_value(json_object_get(tiny_event(log, "resume", 0), "ranks")), went_on);
    json_decref(settings);
    json_decref(log);
}

// How many ranks a run began with stays in run.json; the log tells how many went on, for the hours of
// `report`.
static void test_other_ranks(void **state) {
    (void)state;
    program_ranks(2, false);
    DONE(TINY_TRAIN "--out two --steps 2");
    program_ranks(1, false);
    DONE("train --resume two --steps 3");
    expect_ranks("two", 2, 1);
    DONE("train --resume two --steps 4 --out one");
    expect_ranks("one", 1, 1);
    program_ranks(2, false);
    DONE("train --resume one --steps 5");
    program_ranks(1, false);
    expect_ranks("one", 1, 1);
    json_t *log = tiny_log("one");
    assert_int_equal(json_integer_value(json_object_get(tiny_event(log, "resume", 1), "ranks")), 2);
    json_decref(log);
}

// Prepares a run as `train` does, has another program train `steps` updates of it, and then begins it.
static bool begin_after(char *words[], int count, int steps, Error *error) {
    Options options;
    Ranks ranks;
    Run run;
    bool done;
    ranks_imagine(&ranks, 1, 1);
    if (!options_parse(&options, count, words, &done, error) || !run_prepare(&run, &options, &ranks, error)) {
        fail_msg("%s", error->message);
    }
    if (steps > 0) DONE(TINY_TRAIN "--resume auto --out run --steps %d", steps);
    bool begun = run_begin(&run, &options, error);
    run_free(&run);
    options_free(&options);
    return begun;
}

// What another program added to the run after it was looked at, and before it was locked, is not undone.
static void test_trained_meanwhile(void **state) {
    (void)state;
    static char program[] = "train_gpt_lighthouse", train[] = "train", config[] = "--config",
                file[] = "tiny.json", resume[] = "--resume", automatic[] = "auto", out[] = "--out",
                run[] = "run";
    char *words[] = {program, train, config, file, resume, automatic, out, run, NULL};
    Error error;
    for (int steps = 2; steps <= 4; steps += 2) { // a fresh start, and one from a checkpoint
        assert_false(begin_after(words, 8, steps, &error));
        assert_int_equal(error.status, STATUS_USAGE);
        assert_non_null(strstr(error.message, "run: another program has trained this run meanwhile"));
        json_t *log = tiny_steps("run");
        assert_int_equal(json_array_size(log), steps);
        json_decref(log);
    }
    assert_true(begin_after(words, 8, 0, &error));
}

// A model and a run in one folder: commands would take the one for the other.
static void test_model_beside_a_run(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE("export --model run --out model");
    static const char *const starts[] = {TINY_TRAIN "--init model --resume auto", TINY_TRAIN,
                                         "train --resume run"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        program_expect(2, "--out model holds a model (config.json)", "%s --out model --steps 2", starts[i]);
    file_copy("model/config.json", "run/config.json");
    file_copy("model/model.safetensors", "run/model.safetensors");
    static const char *const commands[] = {"eval --data val_*.bin", "generate", "niah", "export --out other"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        program_expect(
            2, "--model run: is a run, and has a model's config.json beside; name one of its checkpoints",
            "%s --model run", commands[i]);
    DONE("eval --data val_*.bin --model run/step_00000001");
    DONE("train --resume run --steps 2");
    char *said = program_output("info run --verify");
    assert_non_null(strstr(said, "every tensor is there"));
    assert_non_null(strstr(said, "run/step_00000002: checkpoint after 2 steps"));
    free(said);
}

// A run that goes on reads no --init: another one is refused, and its run.json keeps the model that it began
// from.
static void test_other_init(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out one --steps 1");
    DONE(TINY_TRAIN "--out two --steps 2");
    DONE(TINY_TRAIN "--init one/step_00000001 --out run --resume auto --steps 1");
    DONE(TINY_TRAIN "--init one/step_00000001 --out run --resume auto --steps 2");
    program_expect(2, "--init two/step_00000002: the run to resume has begun from /",
                   TINY_TRAIN "--init two/step_00000002 --out run --resume auto --steps 3");
    program_expect(2, "--init two/step_00000002: the run to resume has begun without one",
                   TINY_TRAIN "--init two/step_00000002 --out one --resume auto --steps 3");
    DONE(TINY_TRAIN "--out run --resume auto --steps 3");
    json_t *run = json_load_file("run/run.json", 0, NULL);
    assert_non_null(strstr(line_text(json_object_get(run, "settings"), "init"), "/one/step_00000001"));
    json_decref(run);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_other_init),          IN_TINY_FOLDER(test_long_changes),
        IN_TINY_FOLDER(test_progress_to_stop),    IN_TINY_FOLDER(test_branch_at_its_end),
        IN_TINY_FOLDER(test_back_to_lighthouse),  IN_TINY_FOLDER(test_lighthouse_settings),
        IN_TINY_FOLDER(test_val_of_another_kind), IN_TINY_FOLDER(test_trained_meanwhile),
        IN_TINY_FOLDER(test_checkpoint_as_out),   IN_TINY_FOLDER(test_model_as_out),
        IN_TINY_FOLDER(test_other_ranks),         IN_TINY_FOLDER(test_init_from_damaged),
        IN_TINY_FOLDER(test_model_beside_a_run),
    };
    return cmocka_run_group_tests_name("starts", tests, NULL, NULL) ? 1 : 0;
}
