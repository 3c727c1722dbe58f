// Training runs of the built program: their log, and that an interrupted run ends in the same bits as one
// that did not stop, whatever interrupted it.
#include "core/clock.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state) {
    int failed = temporary_folder_enter(state);
    if (!failed) tiny_files();
    return failed;
}

#define DONE(...) program_expect(0, NULL, __VA_ARGS__)

// ---- The log

static void expect_keys(const json_t *line) {
    static const char *const keys[] = {"step",      "tokens",    "loss", "grad_norm", "lr",
                                       "attention", "tok_per_s", "mfu",  "mem_gb",    "seconds"};
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach((json_t *)line, key, value) {
        assert_true(i < sizeof keys / sizeof *keys);
        assert_string_equal(key, keys[i++]);
    }
    assert_int_equal(i, sizeof keys / sizeof *keys);
}

static int64_t integer_of(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_integer(json_object_get(line, key)));
    return json_integer_value(json_object_get(line, key));
}

static const char *text_of(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_string(json_object_get(line, key)));
    return json_string_value(json_object_get(line, key));
}

static double number_of(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_number(json_object_get(line, key)));
    return json_number_value(json_object_get(line, key));
}

// Every line of a run of both stages. A step takes two of the five sequences of an epoch.
static void test_log(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 6 --switch-at 4 --val-every 3 --checkpoint-every 2");
    json_t *log = tiny_log("run");
    int64_t step = 0;
    for (size_t i = 0; i < json_array_size(log); i++) {
        json_t *line = json_array_get(log, i);
        if (json_object_get(line, "event")) continue;
        step++;
        expect_keys(line);
        assert_int_equal(integer_of(line, "step"), step);
        assert_int_equal(integer_of(line, "tokens"), step * 2 * TINY_CONTEXT);
        assert_string_equal(text_of(line, "attention"), step <= 4 ? "lighthouse" : "dense");
        assert_true(number_of(line, "loss") > 0 && number_of(line, "grad_norm") > 0);
        assert_true(fabs(number_of(line, "lr") - (step == 1 ? 5e-3 : 1e-2)) < 1e-12);
        assert_true(number_of(line, "tok_per_s") > 0 && number_of(line, "mem_gb") > 0);
        assert_true(json_is_null(json_object_get(line, "mfu"))); // no figure for a CPU
    }
    assert_int_equal(step, 6);

    assert_int_equal(integer_of(tiny_event(log, "switch", 0), "step"), 4);
    assert_string_equal(text_of(tiny_event(log, "switch", 0), "to"), "dense");
    assert_null(tiny_event(log, "switch", 1));
    // Sequences 4 and 0 make step 3, 4 and 0 again step 8.
    assert_int_equal(integer_of(tiny_event(log, "epoch", 0), "epoch"), 1);
    assert_int_equal(integer_of(tiny_event(log, "epoch", 0), "step"), 3);
    for (int n = 0; n < 3; n++) {
        assert_int_equal(integer_of(tiny_event(log, "checkpoint", n), "step"), 2 * n + 2);
        static const char *const stages[] = {"lighthouse", "dense", "dense"};
        const json_t *validation = tiny_event(log, "validation", n);
        assert_int_equal(integer_of(validation, "step"), n < 2 ? 3 : 6);
        assert_string_equal(text_of(validation, "attention"), stages[n]);
        assert_int_equal(integer_of(validation, "sequences"), 2);
    }
    assert_null(tiny_event(log, "validation", 3));
    // It learns: the next letter is certain, and only the ends of documents are not.
    assert_true(number_of(json_array_get(log, 0), "loss") > 5);
    assert_true(number_of(tiny_event(log, "validation", 2), "loss") < 4);
    json_decref(log);
}

static void test_keep(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 5 --checkpoint-every 1 --keep 2");
    assert_false(folder_exists("run/step_00000003"));
    assert_true(folder_exists("run/step_00000004") && folder_exists("run/step_00000005"));
    assert_int_equal(scratch_count("run"), 4); // and run.json, log.jsonl
}

// ---- Interrupted runs

// Stopped after every single step, through the switch and two ends of an epoch.
static void every_boundary(const char *options) {
    DONE(TINY_TRAIN "--out whole --steps 8 --switch-at 4 %s", options);
    DONE(TINY_TRAIN "--out parts --steps 1 --switch-at 4 %s", options);
    for (int steps = 2; steps <= 8; steps++) DONE("train --resume parts --steps %d", steps);
    expect_same_steps("whole", "parts", 8);
    expect_same_checkpoint("whole", "parts", 8);
    json_t *log = tiny_log("parts");
    assert_int_equal(integer_of(tiny_event(log, "switch", 0), "step"), 4);
    assert_null(tiny_event(log, "switch", 1));
    assert_string_equal(text_of(tiny_event(log, "resume", 0), "changed"), "steps 1 -> 2");
    assert_int_equal(integer_of(tiny_event(log, "resume", 6), "step"), 7);
    assert_null(tiny_event(log, "resume", 7));
    assert_int_equal(integer_of(tiny_event(log, "epoch", 1), "epoch"), 2);
    json_decref(log);
}

static void test_every_boundary(void **state) {
    (void)state;
    every_boundary("");
}

static void test_every_boundary_recompute(void **state) {
    (void)state;
    every_boundary("--recompute block --batch 2 --global-batch 4");
}

static void test_every_boundary_gla(void **state) {
    (void)state;
    every_boundary("--scorer gla --dense-layers none");
}

// Sends a signal and waits for the end, which must come within 30 s and say that all is saved.
static void expect_preempted(Program *program, int signal, const char *said) {
    double start = now();
    program_signal(program, signal);
    Outcome outcome = program_wait(program);
    double seconds = now() - start;
    if (outcome.status != 75 || !strstr(outcome.err, said) || seconds > 30) {
        fail_msg("signal %d: status %d after %.1f s: %s", signal, outcome.status, seconds, outcome.err);
    }
    print_message("signal %d: saved and ended after %.2f s\n", signal, seconds);
    outcome_free(&outcome);
}

// Long enough that a signal, sent some steps before, comes before its end.
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
        Program *program = program_start(LONG_TRAIN "--out %s --checkpoint-every 3", run);
        assert_true(tiny_wait(run, last[i]));
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
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        char run[32], command[64];
        snprintf(run, sizeof run, "signal_%d", signals[i]);
        Program *program = program_start(LONG_TRAIN "--out %s", run);
        assert_true(tiny_wait(run, i == 0 ? 3 : 14));
        snprintf(command, sizeof command, "--resume %s", run);
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
    assert_int_equal(integer_of(tiny_event(log, "validation", 0), "step"), 3); // Lighthouse, and dense
    assert_int_equal(integer_of(tiny_event(log, "validation", 1), "step"), 3);
    assert_int_equal(integer_of(tiny_event(log, "validation", 2), "step"), 4);
    json_decref(log);
}

// The lock of a program that was killed, even as it stood still, holds nobody up.
static void test_stale_lock(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    for (int i = 0; i < 3; i++) {
        Program *program = program_start(LONG_TRAIN "--out run --checkpoint-every 2 --resume auto");
        assert_true(tiny_wait("run", 4 + 4 * i));
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
    Program *program = program_start(LONG_TRAIN "--out run --checkpoint-every 1");
    assert_true(tiny_wait("run", 2));
    program_signal(program, SIGSTOP);
    program_expect(2, "run: another program is training this run", LONG_TRAIN "--resume auto --out run");
    program_signal(program, SIGCONT);
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
    expect_same_steps("whole", "run", LONG_STEPS);
    expect_same_checkpoint("whole", "run", LONG_STEPS);
}

// One that comes while the run validates is heeded as soon as that is done.
static void test_signal_in_validation(void **state) {
    (void)state;
    char name[32];
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "long_%d.bin", i);
        file_copy("val_0.bin", name);
    }
    const char *options = "--val long_*.bin --val-every 3 --val-batches 1000";
    Program *program = program_start(LONG_TRAIN "--out validating %s", options);
    assert_true(tiny_wait("validating", 3));
    program_signal(program, SIGTERM);
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 75);
    assert_non_null(strstr(outcome.err, "after step 3, which is saved"));
    outcome_free(&outcome);
    json_t *log = tiny_log("validating");
    assert_non_null(tiny_event(log, "validation", 0)); // it was not cut short
    json_decref(log);

    // A second signal, of whatever kind, does not wait.
    program = program_start(LONG_TRAIN "--out hurried %s", options);
    assert_true(tiny_wait("hurried", 3));
    program_signal(program, SIGTERM);
    usleep(100000);
    program_signal(program, SIGINT);
    outcome = program_wait(program);
    assert_int_equal(outcome.status, 128 + SIGINT);
    outcome_free(&outcome);
    assert_false(folder_exists("hurried/step_00000003"));
}

// A validation that a signal has kept from being made comes when the run goes on; one that was made does not
// come again.
static void test_missed_validation(void **state) {
    (void)state;
    for (int missed = 0; missed < 2; missed++) {
        const char *run = missed ? "missed" : "made";
        DONE(TINY_TRAIN "--steps 3 --val-every 3 --out %s", run);
        json_t *log = tiny_log(run), *line;
        double loss = json_number_value(json_object_get(tiny_event(log, "validation", 1), "loss"));
        char path[64];
        snprintf(path, sizeof path, "%s/log.jsonl", run);
        FILE *file = missed ? fopen(path, "w") : NULL; // the log as it is after a signal at the last step
        size_t i;
        json_array_foreach(log, i, line) {
            const char *event = json_string_value(json_object_get(line, "event"));
            if (!file || (event && strcmp(event, "validation") == 0)) continue;
            json_dumpf(line, file, JSON_COMPACT);
            fputc('\n', file);
        }
        if (file) fclose(file);
        json_decref(log);
        DONE("train --resume %s --steps 4", run);
        log = tiny_log(run);
        for (int n = 0; n < 4; n++) { // two attentions after step 3, and after step 4
            assert_int_equal(integer_of(tiny_event(log, "validation", n), "step"), n < 2 ? 3 : 4);
        }
        assert_null(tiny_event(log, "validation", 4));
        assert_true(json_number_value(json_object_get(tiny_event(log, "validation", 1), "loss")) == loss);
        json_decref(log);
    }
    // Where only the dense stage is left, it is made under dense attention alone.
    DONE(TINY_TRAIN "--steps 3 --val-every 0 --out stage");
    DONE("train --resume stage --attention dense --steps 4 --val-every 3");
    json_t *log = tiny_log("stage");
    assert_string_equal(text_of(tiny_event(log, "validation", 0), "attention"), "dense");
    assert_int_equal(integer_of(tiny_event(log, "validation", 1), "step"), 4);
    json_decref(log);
}

// Both ways to the second stage: one run that switches, and a stopped one resumed under dense attention.
static void test_two_stages(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out switched --steps 7 --switch-at 4");
    DONE(TINY_TRAIN "--out resumed --steps 4");
    DONE("train --resume resumed --attention dense --steps 7");
    expect_same_steps("switched", "resumed", 7);
    expect_same_checkpoint("switched", "resumed", 7);
    // A switch that the run had planned for later is overruled by name.
    DONE(TINY_TRAIN "--out planned --steps 4 --switch-at 6");
    DONE("train --resume planned --attention dense --steps 7");
    expect_same_steps("switched", "planned", 7);
    json_t *log = tiny_log("planned");
    assert_string_equal(text_of(tiny_event(log, "resume", 0), "changed"),
                        "attention lighthouse -> dense, switch-at 6 -> 0, steps 4 -> 7");
    json_decref(log);
}

// A run that ends early, validated and saved, is the beginning of the whole one: the schedule is that of
// --steps.
static void test_stop_at(void **state) {
    (void)state;
#define DECAYING TINY_TRAIN "--steps 6 --schedule linear --warmup 0 --val-every 100 "
    DONE(DECAYING "--out whole");
    DONE(DECAYING "--out run --stop-at 4");
    assert_false(folder_exists("run/step_00000006"));
    json_t *log = tiny_log("run");
    assert_int_equal(integer_of(tiny_event(log, "validation", 0), "step"), 4);
    assert_int_equal(integer_of(tiny_event(log, "checkpoint", 0), "step"), 4);
    json_decref(log);
    program_expect(2, "--stop-at 3: the run to resume has done 4 steps already",
                   DECAYING "--out run --resume auto --stop-at 3");
    DONE(DECAYING "--out run --resume auto --stop-at 6");
    expect_same_steps("whole", "run", 6);
    expect_same_checkpoint("whole", "run", 6);
}

// ---- Branches and --resume auto

static void test_branch(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out parent --steps 6 --checkpoint-every 3");
    Error error;
    file_copy("parent/log.jsonl", "before.jsonl");
    file_copy("parent/run.json", "before.json");
    program_expect(2, "step_00000006", "train --resume parent/step_00000003");
    DONE("train --resume parent/step_00000003 --out child");
    assert_true(files_equal("parent/log.jsonl", "before.jsonl"));
    assert_true(files_equal("parent/run.json", "before.json"));
    expect_same_checkpoint("parent", "child", 6);
    assert_false(folder_exists("child/step_00000003"));
    json_t *log = tiny_log("child"), *run = json_load_file("child/run.json", 0, NULL);
    assert_int_equal(integer_of(tiny_event(log, "resume", 0), "step"), 3);
    assert_string_equal(text_of(run, "parent"), "parent/step_00000003");
    json_decref(log);
    json_decref(run);
    program_expect(2, "already holds a run", "train --resume parent/step_00000003 --out child");
    DONE("train --resume child --steps 7"); // what goes on keeps its parent
    run = json_load_file("child/run.json", 0, NULL);
    assert_string_equal(text_of(run, "parent"), "parent/step_00000003");
    json_decref(run);
    assert_true(tree_remove("child/step_00000007", &error));
    // --out of the run itself is no branch.
    DONE("train --resume parent --out parent --steps 7");
    DONE("train --resume parent/step_00000007/ --steps 8");
    DONE("train --resume parent/step_00000008/trainer/.. --steps 9");
    assert_true(folder_exists("parent/step_00000008") && folder_exists("parent/step_00000009"));
    // A branch that died before its first checkpoint is not begun from nothing.
    assert_true(tree_remove("child/step_00000006", &error));
    program_expect(2, "branched off from parent/step_00000003",
                   TINY_TRAIN "--resume auto --out child --steps 6");
}

static void test_auto(void **state) {
    (void)state;
    DONE(LONG_TRAIN "--out whole");
    // From nothing, killed before the first checkpoint, begun again, killed after one, and on to the end.
    for (int round = 0; round < 2; round++) {
        Program *program =
            program_start(LONG_TRAIN "--resume auto --out run --checkpoint-every %d", round == 0 ? 0 : 5);
        assert_true(tiny_wait("run", round == 0 ? 4 : 8));
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
    program_expect(2, "a log.jsonl that is no run's", LONG_TRAIN "--resume auto --out other");
    char *kept = scratch_read("other", "log.jsonl", NULL);
    assert_string_equal(kept, "keep me");
    free(kept);
}

// ---- Other settings

// Settings of a resumed run that may change do, and the log says so.
static void test_overrides(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 4");
    DONE("train --resume run --steps 8 --lr 1e-3 --schedule linear --min-lr 1e-4 --batch 2 --global-batch 4 "
         "--seq-len 1024 --topk 256 --dense-layers none");
    json_t *log = tiny_log("run");
    assert_string_equal(
        text_of(tiny_event(log, "resume", 0), "changed"),
        "topk 128 -> 256, dense-layers 0 -> none, seq-len 768 -> 1024, batch 1 -> 2, global-batch 2 -> 4, "
        "steps 4 -> 8, lr 0.01 -> 0.001, schedule constant -> linear, min-lr 0 -> 0.0001");
    int64_t tokens = 4 * 2 * TINY_CONTEXT;
    for (size_t i = 0; i < json_array_size(log); i++) {
        json_t *line = json_array_get(log, i);
        if (json_object_get(line, "event") || integer_of(line, "step") <= 4) continue;
        int64_t step = integer_of(line, "step");
        double left = 1 - (double)(step - 2) / 6; // of the way from --lr to --min-lr; two steps of warm-up
        assert_int_equal(integer_of(line, "tokens"), tokens += 4 * 1024);
        assert_true(fabs(number_of(line, "lr") - (1e-4 + 9e-4 * left)) < 1e-12);
    }
    json_decref(log);
    json_t *run = json_load_file("run/run.json", 0, NULL);
    const json_t *settings = json_object_get(run, "settings");
    assert_int_equal(integer_of(settings, "seq-len"), 1024);
    assert_string_equal(text_of(settings, "schedule"), "linear");
    json_decref(run);
    static const char *const fixed[] = {"layers 3",    "dim 128",          "heads 1",         "kv-heads 2",
                                        "ffn 128",     "vocab 320",        "rope-theta 5000", "seed 7",
                                        "preset tiny", "embedding-std 0.5"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        program_expect(2, "a resumed run cannot change it", "train --resume run --steps 9 --%s", fixed[i]);
    program_expect(2, "a resumed run cannot change it",
                   "train --resume run --steps 9 --preset tiny --batch 1");
    program_expect(2, "has done 8 already", "train --resume run --steps 7");
    program_expect(2, "--init", "train --resume run --steps 9 --init run/step_00000008");
}

// Of the first weights of two runs, the embedding of the one is `scale` that of the other; all else is the
// same.
static void expect_scaled_embedding(const char *one, const char *other, float scale) {
    SafetensorsFile a, b;
    Error error;
    assert_true(safetensors_open(one, &a, &error) && safetensors_open(other, &b, &error));
    float x[64], y[64];
    for (int i = 0; i < a.count; i++) {
        assert_true(safetensors_read(&a, i, 0, 64, x, &error) && safetensors_read(&b, i, 0, 64, y, &error));
        bool embedding = strcmp(a.tensors[i].name, "model.embed_tokens.weight") == 0;
        for (int j = 0; j < 64; j++) assert_true(y[j] == (embedding ? scale * x[j] : x[j]));
    }
    safetensors_close(&a);
    safetensors_close(&b);
}

static void test_embedding_std(void **state) {
    (void)state;
    const char *drawn =
        "train --preset tiny --layers 2 --dim 64 --heads 1 --kv-heads 1 --seq-len 1024 --topk 128 "
        "--lr 0 --weight-decay 0 --data train_*.bin --steps 1";
    DONE("%s --out std_1", drawn);
    DONE("%s --out std_small --embedding-std 0.02", drawn);
    expect_scaled_embedding("std_1/step_00000001/model.safetensors",
                            "std_small/step_00000001/model.safetensors", 0.02F);
    program_expect(2, "--embedding-std has no meaning with --init",
                   "%s --out std_init --init std_1/step_00000001 --embedding-std 0.02", drawn);
}

// What was set beside a preset stays when the run goes on.
static void test_resumed_preset(void **state) {
    (void)state;
    DONE("train --preset tiny --layers 2 --dim 64 --heads 1 --kv-heads 1 --seq-len 1024 --topk 128 --lr 1e-3 "
         "--data train_*.bin --out run --steps 1");
    DONE("train --resume run --steps 2");
    json_t *log = tiny_log("run");
    assert_string_equal(text_of(tiny_event(log, "resume", 0), "changed"), "steps 1 -> 2");
    json_decref(log);
}

// The same bits with and without recomputation, and on any number of threads.
static void test_same_bits(void **state) {
    (void)state;
    static const char *const options[] = {"", "--scorer dilated", "--scorer gla --dense-layers none"};
    for (int i = 0; i < 3; i++) {
        char kept[32], again[32], threads[32];
        snprintf(kept, sizeof kept, "kept_%d", i);
        snprintf(again, sizeof again, "again_%d", i);
        snprintf(threads, sizeof threads, "threads_%d", i);
        DONE(TINY_TRAIN "--out %s --steps 2 --switch-at 1 %s", kept, options[i]);
        DONE(TINY_TRAIN "--out %s --steps 2 --switch-at 1 %s --recompute block", again, options[i]);
        program_threads(2);
        DONE(TINY_TRAIN "--out %s --steps 2 --switch-at 1 %s", threads, options[i]);
        program_threads(1);
        expect_same_steps(kept, again, 2);
        expect_same_checkpoint(kept, again, 2);
        expect_same_steps(kept, threads, 2);
        expect_same_checkpoint(kept, threads, 2);
    }
}

// Micro-steps of one sequence or of two make the same update, to rounding.
static void test_accumulation(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out ones --steps 3 --global-batch 4 --batch 1");
    DONE(TINY_TRAIN "--out twos --steps 3 --global-batch 4 --batch 2");
    json_t *ones = tiny_steps("ones"), *twos = tiny_steps("twos");
    for (size_t i = 0; i < 3; i++) {
        const json_t *one = json_array_get(ones, i), *two = json_array_get(twos, i);
        assert_true(fabs(number_of(one, "loss") / number_of(two, "loss") - 1) < 1e-4);
        assert_true(fabs(number_of(one, "grad_norm") / number_of(two, "grad_norm") - 1) < 1e-3);
    }
    json_decref(ones);
    json_decref(twos);
}

// run.json is a --config; what the command line says goes before it.
static void test_config(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 3 --scorer dilated --dilation 2 --beta2 0.93 --recompute block");
    DONE("train --config first/run.json --out second");
    expect_same_steps("first", "second", 3);
    expect_same_checkpoint("first", "second", 3);
    assert_true(files_equal("first/run.json", "second/run.json"));
    DONE("train --config first/run.json --out third --steps 2");
    json_t *run = json_load_file("third/run.json", 0, NULL);
    assert_int_equal(integer_of(json_object_get(run, "settings"), "steps"), 2);
    json_decref(run);
}

// A fresh run from another's weights, whose shape need not be given again.
static void test_init(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 2");
    DONE("train --init first/step_00000002 --levels 2 --pool 2 --topk 128 --dense-layers 0 "
         "--data train_*.bin --global-batch 1 --steps 1 --lr 0 --out same");
    assert_true(files_equal("first/step_00000002/model.safetensors", "same/step_00000001/model.safetensors"));
    assert_false(files_equal("first/step_00000002/trainer/optimizer.safetensors",
                             "same/step_00000001/trainer/optimizer.safetensors"));
    program_expect(2, "--init first: is a run; name one of its checkpoints",
                   TINY_TRAIN "--init first --out other");
    program_expect(3, "first/step_00000002", TINY_TRAIN "--init first/step_00000002 --layers 1 --out other");
}

// ---- Losses that are not finite

static void test_diverging(void **state) {
    (void)state;
    // Every update multiplies the weights by 1 - 100.
    program_expect(5, "data cursor",
                   TINY_TRAIN
                   "--out run --steps 100 --global-batch 1 --lr 10 --clip 0 --weight-decay 10 --warmup 0 "
                   "--checkpoint-every 2");
    json_t *log = tiny_log("run");
    char step[32], checkpoint[64];
    int64_t steps = 0, saved = 0;
    for (size_t i = 0; i < json_array_size(log); i++) {
        const json_t *line = json_array_get(log, i);
        if (json_object_get(line, "event"))
            saved = integer_of(line, "step");
        else
            steps = integer_of(line, "step");
    }
    json_decref(log);
    snprintf(step, sizeof step, "step %lld,", (long long)steps + 1);
    snprintf(checkpoint, sizeof checkpoint, "run/step_%08lld", (long long)saved);
    assert_true(saved >= 2 && saved >= steps - 1);
    free(program_output("info %s --verify", checkpoint));
    // It fails again in the same place: it is in the state, and no step was made of it.
    program_expect(5, step, "train --resume run");
    free(program_output("info %s --verify", checkpoint));
}

// Weights that are no numbers: the first update is not made, nothing is saved, and the message names the
// layer.
static void test_not_a_number(void **state) {
    (void)state;
    static const struct {
        const char *tensor, *place;
    } cases[] = {{"model.embed_tokens.weight", "is that of the embedding, in micro-step 1 of 2"},
                 {"model.layers.0.mlp.down_proj.weight", "is that of layer 0 (of 0 to 1), in micro-step 1"},
                 {"model.layers.1.self_attn.q_proj.weight", "is that of layer 1 (of 0 to 1)"},
                 {"model.norm.weight", "is that of the head, behind the last layer, in micro-step 1 of 2"},
                 {"lm_head.weight", "is that of the head"}};
    DONE(TINY_TRAIN "--out first --steps 1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tiny_scale("first/step_00000001", "broken", cases[i].tensor, NAN);
        program_expect(5, cases[i].place, TINY_TRAIN "--init broken --out run_%d --steps 2", (int)i);
    }
    program_expect(5, "step 1, data cursor 0", TINY_TRAIN "--init broken --out run --steps 2");
    assert_false(folder_exists("run/step_00000001"));
}

// A forward that is finite, and a backward that is not.
static void test_gradient_overflow(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    tiny_scale("first/step_00000001", "broken", "model.layers.1.mlp.up_proj.weight", 1e37f);
    tiny_scale("broken", "broken", "model.layers.1.mlp.down_proj.weight", 1e-36f);
    tiny_scale("broken", "broken", "lm_head.weight", 1e6f);
    program_expect(5,
                   "the loss is finite, and on the way back from it the first gradient that is not is that "
                   "of layer 1 (of 0 to 1)",
                   TINY_TRAIN "--init broken --out run --steps 2");
    assert_false(folder_exists("run/step_00000001"));
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, temporary_folder_leave)

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        RUN_TEST(test_log),
        RUN_TEST(test_keep),
        RUN_TEST(test_every_boundary),
        RUN_TEST(test_every_boundary_recompute),
        RUN_TEST(test_every_boundary_gla),
        RUN_TEST(test_killed),
        RUN_TEST(test_signals),
        RUN_TEST(test_signal_in_validation),
        RUN_TEST(test_signal_in_long_work),
        RUN_TEST(test_second_program),
        RUN_TEST(test_stale_lock),
        RUN_TEST(test_two_stages),
        RUN_TEST(test_missed_validation),
        RUN_TEST(test_stop_at),
        RUN_TEST(test_branch),
        RUN_TEST(test_auto),
        RUN_TEST(test_overrides),
        RUN_TEST(test_embedding_std),
        RUN_TEST(test_resumed_preset),
        RUN_TEST(test_same_bits),
        RUN_TEST(test_accumulation),
        RUN_TEST(test_config),
        RUN_TEST(test_init),
        RUN_TEST(test_diverging),
        RUN_TEST(test_not_a_number),
        RUN_TEST(test_gradient_overflow),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL) ? 1 : 0;
}
