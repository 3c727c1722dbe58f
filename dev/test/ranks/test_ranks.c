// Several ranks under mpirun: what crosses between them, engines that share the work against one that does it
// alone, whole runs of the program, and how a job ends when a rank is not well.
#include "core/base/clock.h"
#include "core/ranks/ranks.h"
#include "dev/test/support/built.h"
#include "dev/test/support/held.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static char shim[PATH_MAX];

static int enter(void **state) {
    program_ranks(1, false); // whatever a failed test has left
    return temporary_folder_enter(state);
}

// ---- what the worker checks (dev/test/ranks)

static void expect_worker(int ranks, const char *words) {
    program_ranks(ranks, true);
    Outcome outcome = program_run("%s", words);
    program_ranks(1, false);
    if (outcome.status != 0) fail_msg("%d ranks, %s: %s%s", ranks, words, outcome.out, outcome.err);
    outcome_free(&outcome);
}

static void test_interface(void **state) {
    (void)state;
    expect_worker(2, "interface");
    expect_worker(4, "interface 2");
    expect_worker(3, "interface 3");
}

static void test_data_parallel(void **state) {
    (void)state;
    expect_worker(2, "data");
    expect_worker(4, "data");
}

static void test_context_parallel(void **state) {
    (void)state;
    expect_worker(2, "context 2");
    expect_worker(4, "context 4");
    expect_worker(4, "context 2");
}

static void test_shares_of_gradients(void **state) {
    (void)state;
    expect_worker(2, "shares");
    expect_worker(3, "shares 3");
    expect_worker(4, "shares 2");
    expect_worker(4, "shares");
}

static void test_checkpoints_do_not_depend_on_ranks(void **state) {
    (void)state;
    expect_worker(2, "checkpoint");
    expect_worker(4, "checkpoint 2");
}

// Ends with a message that holds the part, once, and with the status.
static void expect_end(Outcome outcome, int status, const char *part) {
    int said = 0;
    for (const char *at = outcome.err; (at = strstr(at, "train_gpt_lighthouse: error: ")); at++) said++;
    if (outcome.status != status || said != 1 || !strstr(outcome.err, part)) {
        fail_msg("wanted status %d and '%s' once; it ended with %d and said %d times: %s", status, part,
                 outcome.status, said, outcome.err);
    }
    outcome_free(&outcome);
}

// Somebody names the rank that was killed: the ranks that wait for it, in the words that are given, or, under
// Open MPI 5, its mpirun, which may end them before.
static void expect_killed(Outcome outcome, int rank, const char *const *parts) {
    char noticed[64];
    snprintf(noticed, sizeof noticed, "noticed that process rank %d with PID", rank);
    bool named = strncmp(ranks_library(), "Open MPI 4", 10) != 0 && strstr(outcome.err, noticed);
    for (int i = 0; parts[i] && !named; i++) {
        if (!strstr(outcome.err, parts[i])) fail_msg("no '%s': %s", parts[i], outcome.err);
    }
    assert_true(outcome.status != 0);
    outcome_free(&outcome);
}

static void test_a_rank_that_hangs_or_dies(void **state) {
    (void)state;
    program_ranks(3, true);
    expect_end(program_run("hang"), 6, "step 7: rank 2 on ");
    expect_end(program_run("update-hangs"), 6, "step 7: rank 2 on ");
    expect_end(program_run("absent"), 6,
               " has not ended in 2 s: a rank died or hangs, or hosts do not reach each other; ");
    static const char *const deaths[] = {"die", "update-dies"}, *const said[] = {"step 3: rank 2 on ", NULL};
    for (int i = 0; i < 2; i++) expect_killed(program_run("%s", deaths[i]), 2, said);
    program_ranks(1, false);
}

// ---- whole runs

#define TRAIN TINY_TRAIN "--device cpu --heads 4 --kv-heads 4 --topk 256 --global-batch 4 "
// A selection turns with the last bit of two scores that are nearly equal, and runs whose sums are rounded in
// another order go on with other rows. Here each chunk of 128 coarse entries expands 64 and 64 of them, all
// that it has: there is nothing to choose, and such runs stay as close as rounding leaves them.
#define NO_CHOICE TRAIN "--seq-len 512 "

static double member(const json_t *line, const char *key) {
    return json_number_value(json_object_get(line, key));
}

// Both logs have the same steps, to rounding.
static void expect_close_steps(const char *run, const char *other, size_t steps, double tolerance) {
    json_t *a = tiny_steps(run), *b = tiny_steps(other);
    assert_int_equal(json_array_size(a), steps);
    assert_int_equal(json_array_size(b), steps);
    for (size_t i = 0; i < steps; i++) {
        json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        double loss = member(x, "loss"), other_loss = member(y, "loss");
        if (!(fabs(loss / other_loss - 1) <= tolerance)) {
            fail_msg("%s, %s: step %d has loss %.9g and %.9g", run, other, (int)i + 1, loss, other_loss);
        }
        assert_true(fabs(member(x, "grad_norm") / member(y, "grad_norm") - 1) <= 100 * tolerance);
        assert_int_equal((int)member(x, "tokens"), (int)member(y, "tokens"));
    }
    json_decref(a);
    json_decref(b);
}

static void test_runs_are_alike_on_any_ranks(void **state) {
    (void)state;
    static const struct {
        int ranks;
        const char *name, *options;
    } runs[] = {{2, "two", ""},          {4, "four", ""},       {2, "slices", "--cp 2"},
                {2, "zero", "--zero 2"}, {4, "both", "--cp 2"}, {4, "all", "--cp 2 --zero 2"}};
    tiny_files();
    free(program_output(NO_CHOICE "--out one --steps 3 --val-every 3"));
    json_t *log = tiny_log("one");
    double want = member(tiny_event(log, "validation", 0), "loss");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        program_ranks(runs[i].ranks, false);
        free(program_output(NO_CHOICE "--out %s --steps 3 --val-every 3 %s", runs[i].name, runs[i].options));
        program_ranks(1, false);
        expect_close_steps("one", runs[i].name, 3, 1e-6);
        json_t *other = tiny_log(runs[i].name);
        assert_true(fabs(member(tiny_event(other, "validation", 0), "loss") / want - 1) < 1e-5);
        assert_non_null(tiny_event(other, "epoch", 0));
        assert_null(tiny_event(other, "checkpoint", 1)); // one rank writes the log
        json_decref(other);
        char path[64];
        snprintf(path, sizeof path, "%s/run.json", runs[i].name);
        json_t *run = json_load_file(path, 0, NULL);
        assert_int_equal((int)member(run, "ranks"), runs[i].ranks);
        json_decref(run);
    }
    json_decref(log);
}

// A loss and a gradient that are not finite end the run on all ranks, with the same layer named by all.
static void test_not_finite(void **state) {
    (void)state;
    static const char *const ways[] = {"", "--cp 2", "--zero 2"};
    const char *first = "first/step_00000001";
    tiny_files();
    free(program_output(TRAIN "--out first --steps 1"));
    tiny_scale(first, "nan", "model.layers.1.self_attn.q_proj.weight", NAN);
    tiny_scale(first, "huge", "model.layers.1.mlp.up_proj.weight", 1e37f);
    tiny_scale("huge", "huge", "model.layers.1.mlp.down_proj.weight", 1e-36f);
    tiny_scale("huge", "huge", "lm_head.weight", 1e6f);
    program_ranks(2, false);
    for (int i = 0; i < 3; i++) {
        expect_end(program_run(TRAIN "--init nan --out run_%d --steps 2 %s", i, ways[i]), 5,
                   "the first output that is not finite is that of layer 1");
        expect_end(program_run(TRAIN "--init huge --out run_%d --resume auto --steps 2 %s", i, ways[i]), 5,
                   "the first gradient that is not is that of layer 1");
    }
    program_ranks(1, false);
}

// The first update selects with the same weights, and any number of ranks the same rows: the loss is the same
// but for the order of its sum.
static void test_ranks_select_alike(void **state) {
    (void)state;
    static const struct {
        int ranks;
        const char *name, *options;
    } runs[] = {{2, "two", ""}, {2, "slices", "--cp 2"}, {4, "both", "--cp 2"}};
    tiny_files();
    free(program_output(TRAIN "--out one --steps 1"));
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        program_ranks(runs[i].ranks, false);
        free(program_output(TRAIN "--out %s --steps 1 %s", runs[i].name, runs[i].options));
        program_ranks(1, false);
        expect_close_steps("one", runs[i].name, 1, 1e-8);
    }
}

static void test_resume_on_other_ranks(void **state) {
    (void)state;
    tiny_files();
    free(program_output(NO_CHOICE "--out one --steps 5"));
    free(program_output(NO_CHOICE "--out run --steps 1"));
    static const struct {
        int ranks;
        const char *options;
    } legs[] = {{2, "--cp 1 --zero 2"}, {4, "--cp 2"}, {1, "--cp 1"}, {2, "--zero 1"}};
    for (int i = 0; i < 4; i++) {
        program_ranks(legs[i].ranks, false);
        free(program_output("train --resume run --device cpu --steps %d %s", i + 2, legs[i].options));
        program_ranks(1, false);
    }
    expect_close_steps("one", "run", 5, 1e-6);
    free(program_output("info run --verify"));
}

// Four ranks a sequence with two key/value heads, of which each has a copy with another one.
static void test_more_ranks_than_key_heads(void **state) {
    (void)state;
#define FEW                                                                                                  \
    TINY_TRAIN "--device cpu --heads 4 --kv-heads 2 --topk 512 --seq-len 1024 --global-batch 4 --switch-at " \
               "3 "
    tiny_files();
    free(program_output(FEW "--out one --steps 4"));
    program_ranks(4, false);
    free(program_output(FEW "--out run --steps 1 --cp 4"));
    program_ranks(2, false);
    free(program_output("train --resume run --device cpu --steps 2 --cp 2"));
    program_ranks(4, false);
    free(program_output("train --resume run --device cpu --steps 4 --cp 4"));
    char *text = program_output("eval --model run --device cpu --data val_*.bin --attention dense --cp 4");
    program_ranks(1, false);
    char *alone = program_output("eval --model run --device cpu --data val_*.bin --attention dense");
    expect_close_steps("one", "run", 4, 1e-6);
    json_t *shared = json_loads(text, 0, NULL), *whole = json_loads(alone, 0, NULL);
    double bits = member(shared, "bits_per_byte"), want = member(whole, "bits_per_byte");
    if (!(fabs(bits / want - 1) < 1e-9)) fail_msg("%.12g bits a byte on four ranks, not %.12g", bits, want);
    json_decref(shared);
    json_decref(whole);
    free(text);
    free(alone);
}

static void test_resume_on_as_many_ranks_gives_the_same_bits(void **state) {
    (void)state;
    tiny_files();
    program_ranks(2, false);
    free(program_output(TRAIN "--out whole --steps 3"));
    free(program_output(TRAIN "--out parts --steps 2"));
    free(program_output("train --resume parts --device cpu --steps 3"));
    program_ranks(1, false);
    expect_same_steps("whole", "parts", 3);
    expect_same_checkpoint("whole", "parts", 3);
}

// Four ranks make an update in one micro-step: shares of gradients come from the same sums.
static void test_shares_change_no_bit(void **state) {
    (void)state;
    tiny_files();
    program_ranks(4, false);
    free(program_output(TRAIN "--out whole --steps 4"));
    free(program_output(TRAIN "--out parts --steps 1"));
    free(program_output("train --resume parts --device cpu --steps 3 --zero 2"));
    free(program_output("train --resume parts --device cpu --steps 4 --zero 1"));
    program_ranks(1, false);
    expect_same_steps("whole", "parts", 4);
    expect_same_checkpoint("whole", "parts", 4);
}

static void test_eval(void **state) {
    (void)state;
    static const char line[] =
        "eval --model run --device cpu --data val_*.bin --by-position --attention %s %s";
    tiny_files();
    free(program_output(TRAIN "--out run --steps 1"));
    for (int lighthouse = 0; lighthouse < 2; lighthouse++) {
        const char *attention = lighthouse ? "lighthouse" : "dense";
        double want[3], last[3];
        for (int ranks = 1; ranks <= 3; ranks++) { // three ranks have two sequences
            program_ranks(ranks, false);
            char *text = program_output(line, attention, ranks == 2 ? "--cp 2" : "");
            json_t *result = json_loads(text, 0, NULL);
            want[ranks - 1] = member(result, "bits_per_byte");
            assert_int_equal((int)member(result, "sequences"), 2);
            last[ranks - 1] = member(json_object_get(result, "last_tenth"), "nats");
            json_decref(result);
            free(text);
        }
        program_ranks(1, false);
        assert_true(fabs(want[1] / want[0] - 1) < 1e-9 && fabs(want[2] / want[0] - 1) < 1e-9);
        assert_true(fabs(last[1] / last[0] - 1) < 1e-6 && fabs(last[2] / last[0] - 1) < 1e-9);
    }
}

// What one rank finds slices find too; ranks without a sequence find nothing.
static void test_probe(void **state) {
    (void)state;
    static const char *const keys[] = {"probes", "outputs_before", "outputs_after", "changed_after"};
    tiny_files();
    free(program_output(TRAIN "--out run --steps 1"));
    for (int lighthouse = 0; lighthouse < 2; lighthouse++) {
        json_t *want = NULL;
        for (int ranks = 1; ranks <= 3; ranks++) {
            program_ranks(ranks, false);
            char *text = program_output("eval --model run --device cpu --data val_*.bin --probe-causality "
                                        "--val-batches 2 --attention %s %s",
                                        lighthouse ? "lighthouse" : "dense", ranks == 2 ? "--cp 2" : "");
            program_ranks(1, false);
            json_t *result = json_loads(text, 0, NULL);
            free(text);
            assert_true((member(result, "changed_before") > 0) == lighthouse);
            json_object_del(result, "seconds");
            json_object_del(result, "mean_change_nats"); // a sum in another order
            if (!want) want = json_incref(result);
            if (ranks == 3 && !json_equal(want, result)) fail_msg("three ranks find something else");
            for (int i = 0; i < 4; i++) assert_true(member(result, keys[i]) == member(want, keys[i]));
            json_decref(result);
        }
        json_decref(want);
    }
}

// One line a trial, but for what its logits' rounding may change.
static void expect_close_trials(const char *one, const char *other) {
    char *a = scratch_read(one, "trials.jsonl", NULL), *b = scratch_read(other, "trials.jsonl", NULL);
    char *rest_a = NULL, *rest_b = NULL;
    char *line_a = strtok_r(a, "\n", &rest_a), *line_b = strtok_r(b, "\n", &rest_b);
    int trials = 0;
    for (; line_a && line_b; trials++) {
        json_t *x = json_loads(line_a, 0, NULL), *y = json_loads(line_b, 0, NULL);
        if (!(fabs(member(x, "probability") - member(y, "probability")) < 1e-6))
            fail_msg("%s: %s, not %s", other, line_b, line_a);
        json_object_del(x, "probability");
        json_object_del(y, "probability");
        if (!json_equal(x, y)) fail_msg("%s: %s, not %s", other, line_b, line_a);
        json_decref(x);
        json_decref(y);
        line_a = strtok_r(NULL, "\n", &rest_a);
        line_b = strtok_r(NULL, "\n", &rest_b);
    }
    assert_true(!line_a && !line_b && trials == 2 * 3 * 3);
    free(a);
    free(b);
}

static void test_niah(void **state) {
    (void)state;
    static const struct {
        int ranks;
        const char *name, *options;
    } runs[] = {{1, "one", ""},
                {2, "two", ""},
                {4, "four", ""}, // one has nothing to do in the last turn
                {2, "slices", "--cp 2"},
                {4, "both", "--cp 2"}};
    static const char line[] = "niah --model run --device cpu --lengths 96,700 --depths 0,40,100 --trials 3 ";
    tiny_files();
    free(program_output(TRAIN "--out run --steps 1"));
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        program_ranks(runs[i].ranks, false);
        char *text = program_output("%s --out %s %s", line, runs[i].name, runs[i].options);
        program_ranks(1, false);
        json_t *summary = json_loads(text, 0, NULL); // printed once
        assert_int_equal((int)member(summary, "trials"), 2 * 3 * 3);
        json_decref(summary);
        free(text);
        expect_close_trials("one", runs[i].name);
    }
    program_ranks(2, false);
    expect_end(program_run("%s --cp 2 --lengths 97,700", "niah --model run --device cpu"), 2,
               "--cp 2 does not divide the 97 tokens of a trial");
    program_ranks(1, false);
    expect_end(program_run("%s --seed 3 : %s --seed 4", line, line), 2, "some setting of rank 1 on ");
    tiny_scale("run/step_00000001", "nan", "lm_head.weight", NAN);
    program_ranks(2, false);
    expect_end(program_run("niah --model nan --device cpu --lengths 96 --trials 1 --depths 50 --cp 2"), 5,
               "the logit of token 48 is");
    program_ranks(1, false);
}

// One rank speaks; what ranks wait for each other is a part of the step.
static void test_bench(void **state) {
    (void)state;
    program_ranks(2, false);
    char *text = program_output("bench step --device cpu --preset tiny --layers 2 --heads 4 --kv-heads 2 "
                                "--seq-len 1024 --levels 2 --topk 256 --dense-layers 0 --repeats 1 --cp 2 "
                                "--attention lighthouse"),
         *rest = NULL;
    program_ranks(1, false);
    int steps = 0, waits = 0;
    for (char *word = strtok_r(text, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest)) {
        json_t *row = json_loads(word, 0, NULL);
        const char *name = json_string_value(json_object_get(row, "name"));
        assert_int_equal((int)member(row, "ranks"), 2);
        steps += strcmp(name, "step") == 0;
        waits +=
            strcmp(name, "waiting for other ranks") == 0 && member(row, "ms") > 0 && member(row, "bytes") > 0;
        json_decref(row);
    }
    free(text);
    assert_int_equal(steps, 1);
    assert_int_equal(waits, 1);
}

// ---- what is refused, once and by all

#define PLAIN TINY_TRAIN "--device cpu --global-batch 4 --out run --steps 1 "

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        int ranks;
        const char *options, *part;
    } rows[] = {
        {3, "--cp 2", "--cp 2 does not divide the 3 ranks of this job; nearest: --cp 1 or --cp 3"},
        {3, "", "--global-batch 4 is no multiple of --batch 1 times 3 data-parallel ranks; nearest: 3 or 6"},
        {2, "--cp 2 --heads 4 --kv-heads 4",
         "--topk 128 must be a multiple of 256 (whole chunks of 128 on each rank); nearest: --topk 256"},
        {2, "--cp 2 --heads 3 --kv-heads 3", "--cp 2 does not divide --heads 3; valid: --cp 1, 3"},
        {4, "--cp 4 --heads 14 --kv-heads 2", "--cp 4 does not divide --heads 14; valid: --cp 1, 2, 14"},
        {4, "--cp 4 --heads 12 --kv-heads 6",
         "--cp 4 neither divides --kv-heads 6 nor is a multiple of it; valid: --cp 1, 2, 3, 6, 12"},
        {2, "--cp 2 --heads 4 --kv-heads 2 --topk 256 --seq-len 770",
         "--seq-len 770 must be a multiple of 4"},
        {2, "--cp 2 --heads 4 --kv-heads 2 --topk 256 --scorer gla --dilation 3 --seq-len 774",
         "--seq-len 774 must be a multiple of 12"},
        {2, "--attention dense --cp 2 --heads 4 --kv-heads 2 --seq-len 767",
         "--seq-len 767 must be a multiple of 2"},
        {2, "--ranks 3 --dry-run", "there are 2 ranks"},
        {1, "--lr 0.5 : " PLAIN "--lr 0.25", "some setting of rank 1 on "},
        {1, ": eval --model run --data val_*.bin", "the command of rank 1 on "},
        {2, "--cp 2 --no-such", "--no-such"},
    };
    tiny_files();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        program_ranks(rows[i].ranks, false);
        expect_end(program_run(PLAIN "%s", rows[i].options), 2, rows[i].part);
    }
    program_ranks(2, false);
    expect_end(program_run("generate --model run"), 2, "without mpirun");
    expect_end(program_run("bench attention --device cpu"), 2, "bench attention times one rank");
    expect_end(
        program_run("bench step --device cpu --preset tiny --seq-len 512 --levels 2 --topk 128 --cp 2"), 2,
        "--topk 128 must be a multiple of 256");
    program_ranks(1, false);
    program_expect(2, "--ranks 2 is for --dry-run", TRAIN "--out run --ranks 2");
}

static void test_plan(void **state) {
    (void)state;
    tiny_files();
    char *one = program_output(TRAIN "--dry-run"), *many = program_output(TRAIN "--dry-run --ranks 4 --cp 2");
    assert_non_null(strstr(one, "ranks       1: nothing moves"));
    assert_non_null(strstr(many, "ranks       4: 2 a sequence, 2 with sequences of their own"));
    assert_non_null(strstr(many, "in 2 micro-steps of 2"));
    double optimizer_one, optimizer_many;
    assert_int_equal(sscanf(strstr(one, "  optimizer"), "  optimizer %lf", &optimizer_one), 1);
    assert_int_equal(sscanf(strstr(many, "  optimizer"), "  optimizer %lf", &optimizer_many), 1);
    assert_true(fabs(optimizer_many - optimizer_one / 4) < 0.02);
    free(one);
    free(many);
}

// ---- signals and lost ranks in a run

static void test_preemption(void **state) {
    (void)state;
    tiny_files();
    program_ranks(2, false);
    Program *program = program_start(TRAIN "--out run --steps 1000000");
    assert_true(tiny_wait("run", 1));
    program_signal_rank(program, 1, SIGUSR1); // one rank alone: all stop at the same step
    expect_end(program_wait(program), 75, "which is saved; go on with --resume run");
    json_t *log = tiny_log("run");
    assert_non_null(tiny_event(log, "checkpoint", 0));
    json_decref(log);
    program_ranks(1, false);
}

// Signals as a launcher sends them: SIGUSR1 to mpirun goes on to all ranks; SIGTERM to every rank, as Slurm
// does, and twice; an update that would take long is left off. All is saved within 30 s.
static void test_signals(void **state) {
    (void)state;
    tiny_files();
    program_ranks(2, false);
    static const int signals[] = {SIGUSR1, SIGTERM, SIGINT};
    for (int i = 0; i < 3; i++) {
        char run[16];
        snprintf(run, sizeof run, "run_%d", i);
        Program *program = program_start(TRAIN "--out %s --steps 1000000", run);
        assert_true(tiny_wait(run, 1));
        if (i == 2) { // within an update that takes hours
            program_signal(program, SIGUSR1);
            expect_end(program_wait(program), 75, "is saved");
            program = program_start("train --device cpu --resume %s --global-batch 1000000", run);
            assert_true(tiny_wait_for(run, "\"event\":\"resume\""));
        }
        double start = now();
        if (i == 0) program_signal(program, signals[i]);
        for (int rank = 0; i > 0 && rank < 2; rank++) program_signal_rank(program, rank, signals[i]);
        for (int rank = 0; i == 1 && rank < 2; rank++) program_signal_rank(program, rank, signals[i]);
        expect_end(program_wait(program), 75, "which is saved; go on with --resume run");
        double seconds = now() - start;
        print_message("signal %d: two ranks saved and ended after %.2f s\n", signals[i], seconds);
        assert_true(seconds < 30);
        program_ranks(1, false);
        free(program_output("info %s --verify", run));
        program_ranks(2, false);
    }

    program_ranks(1, false);
}

// The second SIGINT ends the job, here where the first rank stands still and cannot save.
static void test_second_interrupt(void **state) {
    (void)state;
    const struct timespec moment = {0, 500000000};
    tiny_files();
    program_ranks(2, false);
    Program *program =
        held_behind("hurried", 1, HELD_TILL_TOLD, TRAIN "--out hurried --steps 1000000 --watchdog 600");
    program_signal_rank(program, 0, SIGINT);
    held_heeds("hurried", 1);
    nanosleep(&moment, NULL);
    program_signal_rank(program, 0, SIGINT);
    held_heeds("hurried", 2);
    held_go("hurried"); // it would save now, but is no more
    Outcome outcome = program_wait(program);
    assert_true(outcome.status != 0 && outcome.status != 75);
    outcome_free(&outcome);
    program_ranks(1, false);
}

static void test_killed_and_stopped(void **state) {
    (void)state;
    tiny_files();
    program_ranks(2, false);
    Program *program = program_start(TRAIN "--out killed --steps 1000000");
    assert_true(tiny_wait("killed", 1));
    program_signal_rank(program, 1, SIGKILL);
    static const char *const said[] = {"error: rank 0 on ", ": rank 1 on ", "step ", " died ", NULL};
    expect_killed(program_wait(program), 1, said);

    program = program_start(TRAIN "--out stopped --steps 1000000 --watchdog 15");
    assert_true(tiny_wait("stopped", 1));
    program_signal_rank(program, 1, SIGSTOP);
    expect_end(program_wait(program), 6, "rank 1 on ");
    program_ranks(1, false);
}

// A rank that reads its shards for the first time, and slowly, is no rank that hangs; one whose reads give
// nothing any more is.
static void test_slow_reads(void **state) {
    (void)state;
    tiny_files();
    setenv("LD_PRELOAD", shim, 1);
    setenv("READ_RANK", "1", 1);
    program_ranks(2, false);
    // All reads take longer than the watchdog waits, and each much less.
    setenv("READ_SLOW", "3000", 1);
    Outcome slow = program_run(TINY_TRAIN "--device cpu --out slow --steps 1 --global-batch 4 --watchdog 10");
    Outcome evaluated = program_run("eval --model slow --data train_*.bin --watchdog 10");
    setenv("READ_SLOW", "1000000", 1);
    Outcome stuck = program_run(TINY_TRAIN "--device cpu --out stuck --steps 1 --watchdog 10");
    program_ranks(1, false);
    unsetenv("LD_PRELOAD");
    if (slow.status != 0) fail_msg("slow: status %d: %s", slow.status, slow.err);
    if (evaluated.status != 0) fail_msg("eval: status %d: %s", evaluated.status, evaluated.err);
    if (stuck.status != 6 || !strstr(stuck.err, "wait"))
        fail_msg("stuck: status %d: %s", stuck.status, stuck.err);
    outcome_free(&slow);
    outcome_free(&evaluated);
    outcome_free(&stuck);
}

// Nor is one that saves slowly: it may take longer than the watchdog waits in an update.
static void test_slow_save(void **state) {
    (void)state;
    const struct timespec longer = {18, 0}; // and the time to answer
    tiny_files();
    program_ranks(2, false);
    Program *program =
        held_before("slow", 1, "safetensors", HELD_TILL_TOLD, TRAIN "--out slow --steps 1 --watchdog 10");
    nanosleep(&longer, NULL);
    held_go("slow");
    Outcome outcome = program_wait(program);
    program_ranks(1, false);
    if (outcome.status != 0) fail_msg("status %d: %s", outcome.status, outcome.err);
    outcome_free(&outcome);
}

// test_ranks [PATTERN]: the tests of these names alone
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_interface, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_data_parallel, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_context_parallel, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_shares_of_gradients, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_checkpoints_do_not_depend_on_ranks, enter,
                                        temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_a_rank_that_hangs_or_dies, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_runs_are_alike_on_any_ranks, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_ranks_select_alike, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_resume_on_other_ranks, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_more_ranks_than_key_heads, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_resume_on_as_many_ranks_gives_the_same_bits, enter,
                                        temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_shares_change_no_bit, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_eval, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_probe, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_niah, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_bench, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_refusals, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_plan, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_not_finite, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_preemption, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_signals, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_second_interrupt, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_killed_and_stopped, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_slow_reads, enter, temporary_folder_leave),
        cmocka_unit_test_setup_teardown(test_slow_save, enter, temporary_folder_leave),
    };
    program_find();
    held_find();
    built_find("read_shim.so", shim);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("ranks", tests, NULL, NULL) ? 1 : 0;
}
