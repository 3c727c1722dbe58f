// Training runs of the built program: their log, their settings, and losses that are not finite.
#include "core/base/files.h"
#include "core/model/safetensors.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
        assert_int_equal(line_integer(line, "step"), step);
        assert_int_equal(line_integer(line, "tokens"), step * 2 * TINY_CONTEXT);
        assert_string_equal(line_text(line, "attention"), step <= 4 ? "lighthouse" : "dense");
        assert_true(line_number(line, "loss") > 0 && line_number(line, "grad_norm") > 0);
        assert_true(fabs(line_number(line, "lr") - (step == 1 ? 5e-3 : 1e-2)) < 1e-12);
        assert_true(line_number(line, "tok_per_s") > 0 && line_number(line, "mem_gb") > 0);
        assert_true(json_is_null(json_object_get(line, "mfu"))); // no figure for a CPU
    }
    assert_int_equal(step, 6);

    assert_int_equal(line_integer(tiny_event(log, "switch", 0), "step"), 4);
    assert_string_equal(line_text(tiny_event(log, "switch", 0), "to"), "dense");
    assert_null(tiny_event(log, "switch", 1));
    // Sequences 4 and 0 make step 3, 4 and 0 again step 8.
    assert_int_equal(line_integer(tiny_event(log, "epoch", 0), "epoch"), 1);
    assert_int_equal(line_integer(tiny_event(log, "epoch", 0), "step"), 3);
    for (int n = 0; n < 3; n++) {
        assert_int_equal(line_integer(tiny_event(log, "checkpoint", n), "step"), 2 * n + 2);
        static const char *const stages[] = {"lighthouse", "dense", "dense"};
        const json_t *validation = tiny_event(log, "validation", n);
        assert_int_equal(line_integer(validation, "step"), n < 2 ? 3 : 6);
        assert_string_equal(line_text(validation, "attention"), stages[n]);
        assert_int_equal(line_integer(validation, "sequences"), 2);
    }
    assert_null(tiny_event(log, "validation", 3));
    // It learns: the next letter is certain, and only the ends of documents are not.
    assert_true(line_number(json_array_get(log, 0), "loss") > 5);
    assert_true(line_number(tiny_event(log, "validation", 2), "loss") < 4);
    json_decref(log);
}

static void test_keep(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 5 --checkpoint-every 1 --keep 2");
    assert_false(folder_exists("run/step_00000003"));
    assert_true(folder_exists("run/step_00000004") && folder_exists("run/step_00000005"));
    assert_int_equal(scratch_count("run"), 4); // and run.json, log.jsonl
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
        line_text(tiny_event(log, "resume", 0), "changed"),
        "topk 128 -> 256, dense-layers 0 -> none, seq-len 768 -> 1024, batch 1 -> 2, global-batch 2 -> 4, "
        "steps 4 -> 8, lr 0.01 -> 0.001, schedule constant -> linear, min-lr 0 -> 0.0001");
    int64_t tokens = 4 * 2 * TINY_CONTEXT;
    for (size_t i = 0; i < json_array_size(log); i++) {
        json_t *line = json_array_get(log, i);
        if (json_object_get(line, "event") || line_integer(line, "step") <= 4) continue;
        int64_t step = line_integer(line, "step");
        double left = 1 - (double)(step - 2) / 6; // of the way from --lr to --min-lr; two steps of warm-up
        assert_int_equal(line_integer(line, "tokens"), tokens += 4 * 1024);
        assert_true(fabs(line_number(line, "lr") - (1e-4 + 9e-4 * left)) < 1e-12);
    }
    json_decref(log);
    json_t *run = json_load_file("run/run.json", 0, NULL);
    const json_t *settings = json_object_get(run, "settings");
    assert_int_equal(line_integer(settings, "seq-len"), 1024);
    assert_string_equal(line_text(settings, "schedule"), "linear");
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

// A run keeps its --matmul, and may leave it where it goes on: log and run.json say so.
static void test_fp8(void **state) {
    (void)state;
#define FP8_TRAIN                                                                                       \
    "train --device cpu --preset tiny --layers 1 --seq-len 512 --topk 128 --data train_*.bin --warmup " \
    "1 --dense-layers none --matmul fp8 "
    DONE(FP8_TRAIN "--out whole --steps 3");
    DONE(FP8_TRAIN "--out run --steps 3 --stop-at 2");
    DONE("train --device cpu --resume run");
    expect_same_steps("whole", "run", 3);
    expect_same_checkpoint("whole", "run", 3);
    DONE("train --device cpu --resume run --steps 4 --matmul bf16");
    json_t *log = tiny_log("run"), *run = json_load_file("run/run.json", 0, NULL);
    assert_string_equal(line_text(tiny_event(log, "resume", 1), "changed"),
                        "steps 3 -> 4, matmul fp8 -> bf16");
    assert_string_equal(line_text(json_object_get(run, "settings"), "matmul"), "bf16");
    const json_t *turn = json_array_get(json_object_get(run, "changes"), 0);
    assert_string_equal(line_text(turn, "changed"), "matmul fp8 -> bf16");
    json_decref(log);
    json_decref(run);
}

// What was set beside a preset stays when the run goes on.
static void test_resumed_preset(void **state) {
    (void)state;
    DONE("train --preset tiny --layers 2 --dim 64 --heads 1 --kv-heads 1 --seq-len 1024 --topk 128 --lr 1e-3 "
         "--data train_*.bin --out run --steps 1");
    DONE("train --resume run --steps 2");
    json_t *log = tiny_log("run");
    assert_string_equal(line_text(tiny_event(log, "resume", 0), "changed"), "steps 1 -> 2");
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
        assert_true(fabs(line_number(one, "loss") / line_number(two, "loss") - 1) < 1e-4);
        assert_true(fabs(line_number(one, "grad_norm") / line_number(two, "grad_norm") - 1) < 1e-3);
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
    json_t *first = json_load_file("first/run.json", 0, NULL),
           *second = json_load_file("second/run.json", 0, NULL);
    assert_true(json_equal(json_object_get(first, "settings"), json_object_get(second, "settings")));
    json_decref(first);
    json_decref(second);
    DONE("train --config first/run.json --out third --steps 2");
    json_t *run = json_load_file("third/run.json", 0, NULL);
    assert_int_equal(line_integer(json_object_get(run, "settings"), "steps"), 2);
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
    program_expect(2, "--layers 1: the model of --init first/step_00000002 has num_hidden_layers 2",
                   TINY_TRAIN "--init first/step_00000002 --layers 1 --out other");
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
            saved = line_integer(line, "step");
        else
            steps = line_integer(line, "step");
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

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_log),
        IN_TINY_FOLDER(test_keep),
        IN_TINY_FOLDER(test_overrides),
        IN_TINY_FOLDER(test_embedding_std),
        IN_TINY_FOLDER(test_resumed_preset),
        IN_TINY_FOLDER(test_fp8),
        IN_TINY_FOLDER(test_same_bits),
        IN_TINY_FOLDER(test_accumulation),
        IN_TINY_FOLDER(test_config),
        IN_TINY_FOLDER(test_init),
        IN_TINY_FOLDER(test_diverging),
        IN_TINY_FOLDER(test_not_a_number),
        IN_TINY_FOLDER(test_gradient_overflow),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL) ? 1 : 0;
}
