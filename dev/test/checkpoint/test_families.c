// Families of models: each is taken, trained, resumed and handed on as what it is.
#include "core/base/files.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// A run's first checkpoint, that of its resume, and their export.
static void train_resume_export(const char *run) {
    DONE("train --resume %s --steps 2", run);
    DONE("export --model %s --out %s_plain", run, run);
}

static void expect_in_all(const char *run, const char *key, const char *value) {
    const char *const parts[] = {"/step_00000001", "/step_00000002", "_plain"};
    for (size_t i = 0; i < 3; i++) {
        char folder[128];
        snprintf(folder, sizeof folder, "%s%s", run, parts[i]);
        expect_member(folder, key, value);
    }
}

// ---- Mistral

static void test_mistral(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out llama --steps 1");
    DONE(TINY_TRAIN "--family mistral --out own --steps 1");
    expect_same_steps("llama", "own", 1);
    train_resume_export("own");
    expect_in_all("own", "model_type", "\"mistral\"");
    expect_in_all("own", "architectures", "[\"MistralForCausalLM\"]");
    expect_in_all("own", "sliding_window", "null");
    DONE(TINY_TRAIN "--init own_plain --out again --steps 1");
    train_resume_export("again");
    expect_in_all("again", "model_type", "\"mistral\"");
    expect_in_all("again", "sliding_window", "null");
    program_expect(2, "--family llama: the model of --init own_plain has model_type mistral",
                   TINY_TRAIN "--init own_plain --family llama --out no --steps 1");
    program_expect(2, "--family llama: the run to resume has mistral",
                   "train --resume again --family llama --steps 3");
    assert_false(folder_exists("no"));
}

// A window that covers the context stays in config.json; one that is missing is transformers' own.
static void test_wide_windows(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--family mistral --sliding-window 768 --out first --steps 1");
    expect_member("first/step_00000001", "sliding_window", "768");
    make_model("first/step_00000001", "wide", "{\"sliding_window\": 5000}");
    make_model("first/step_00000001", "silent", "{\"sliding_window\": null}");
    expect_member("silent", "sliding_window", "missing");
    DONE(TINY_TRAIN "--init wide --out wider --steps 1");
    DONE(TINY_TRAIN "--init silent --out said --steps 1");
    train_resume_export("wider");
    train_resume_export("said");
    expect_in_all("wider", "sliding_window", "5000");
    expect_in_all("said", "sliding_window", "4096");
}

// A shorter one is refused wherever it would bound what is attended to, and is done away with by name.
static void test_short_windows(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--family mistral --out first --steps 1");
    make_model("first/step_00000001", "short", "{\"sliding_window\": 512}");
    const char *refused = "the model's sliding_window is 512, and no sliding window is computed here; give a "
                          "--seq-len (in generate, a prompt and --max-bytes) of 512 or fewer";
    program_expect(2, refused, TINY_TRAIN "--init short --out no --steps 1");
    program_expect(2, refused, TINY_TRAIN "--init short --out no --steps 1 --dry-run");
    program_expect(2, refused, TINY_TRAIN "--family mistral --sliding-window 512 --out no --steps 1");
    program_expect(2, refused, "eval --model short --data val_0.bin");
    program_expect(2, refused, "generate --model short --prompt a --max-bytes 512");
    program_expect(2, "--sliding-window 768: the family llama has none",
                   TINY_TRAIN "--sliding-window 768 --out no --steps 1");
    assert_false(folder_exists("no"));
    DONE("eval --model short --data val_0.bin --seq-len 512");
    DONE("generate --model short --prompt a --max-bytes 100");
    DONE(TINY_TRAIN "--init short --seq-len 512 --out as_it_is --steps 1");
    expect_member("as_it_is/step_00000001", "sliding_window", "512");
    DONE(TINY_TRAIN "--init short --sliding-window 0 --out full --steps 1");
    expect_member("full/step_00000001", "sliding_window", "null");
    DONE("eval --model full --data val_0.bin");
}

// ---- RoPE scaling

static double first_loss(const char *run) {
    json_t *steps = tiny_steps(run);
    double loss = line_number(json_array_get(steps, 0), "loss");
    json_decref(steps);
    return loss;
}

#define LLAMA3                                                               \
    "\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, " \
    "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 256"
#define YARN "\"rope_type\": \"yarn\", \"factor\": 3, \"original_max_position_embeddings\": 256"

// However a folder says it, it is said in both forms from then on, through checkpoints, a resume, an export,
// and a run from that; and it is computed.
static void test_scalings_stay(void **state) {
    (void)state;
    const struct {
        const char *name, *changes, *scaling, *parameters, *context;
    } cases[] = {
        {"of_4", "{\"rope_parameters\": null, \"rope_scaling\": {" LLAMA3 "}}",
         "{\"factor\":8.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
         "\"original_max_position_embeddings\":256,\"rope_type\":\"llama3\"}",
         "{\"factor\":8.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
         "\"original_max_position_embeddings\":256,\"rope_theta\":10000.0,\"rope_type\":\"llama3\"}",
         "768"},
        {"of_5", "{\"rope_theta\": null, \"rope_parameters\": {\"rope_theta\": 10000, " YARN "}}",
         "{\"factor\":3.0,\"original_max_position_embeddings\":256,\"rope_type\":\"yarn\"}",
         "{\"factor\":3.0,\"original_max_position_embeddings\":256,\"rope_theta\":10000.0,"
         "\"rope_type\":\"yarn\"}",
         "768"},
        {"older",
         "{\"max_position_embeddings\": 512, \"rope_parameters\": null, \"rope_scaling\": "
         "{\"type\": \"yarn\", \"factor\": 2, \"attention_factor\": null, \"truncate\": null}}",
         "{\"factor\":2.0,\"original_max_position_embeddings\":512,\"rope_type\":\"yarn\",\"truncate\":"
         "false}",
         "{\"factor\":2.0,\"original_max_position_embeddings\":512,\"rope_theta\":10000.0,"
         "\"rope_type\":\"yarn\",\"truncate\":false}",
         "768"},
        {"line", "{\"rope_parameters\": null, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}",
         "{\"factor\":4.0,\"rope_type\":\"linear\"}",
         "{\"factor\":4.0,\"rope_theta\":10000.0,\"rope_type\":\"linear\"}", "768"},
        {"dynamic",
         "{\"max_position_embeddings\": 256, \"rope_parameters\": null, \"rope_scaling\": "
         "{\"type\": \"dynamic\", \"factor\": 4}}",
         "{\"factor\":4.0,\"rope_type\":\"dynamic\"}",
         "{\"factor\":4.0,\"rope_theta\":10000.0,\"rope_type\":\"dynamic\"}", "256"},
    };
    DONE(TINY_TRAIN "--out first --steps 1");
    DONE(TINY_TRAIN "--init first/step_00000001 --out plain --steps 1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char again[32];
        make_model("first/step_00000001", "model", cases[i].changes);
        DONE(TINY_TRAIN "--init model --out %s --steps 1", cases[i].name);
        assert_true(first_loss(cases[i].name) != first_loss("plain"));
        train_resume_export(cases[i].name);
        snprintf(again, sizeof again, "%s_again", cases[i].name);
        DONE(TINY_TRAIN "--init %s_plain --out %s --steps 1", cases[i].name, again);
        train_resume_export(again);
        const char *const runs[] = {cases[i].name, again};
        for (size_t k = 0; k < 2; k++) {
            expect_in_all(runs[k], "rope_scaling", cases[i].scaling);
            expect_in_all(runs[k], "rope_parameters", cases[i].parameters);
            expect_in_all(runs[k], "rope_theta", "10000.0");
            expect_in_all(runs[k], "max_position_embeddings", cases[i].context);
        }
    }
}

// What the length stretches is said where a command has several.
static void test_stretched(void **state) {
    (void)state;
    const char *const said = "RoPE of type dynamic is stretched for ";
    DONE(TINY_TRAIN "--rope-scaling dynamic:factor=4,original=256 --out run --steps 1");
    program_expect(0, said, "generate --model run --prompt a --max-bytes 256");
    program_expect(0, said, "niah --model run --lengths 96,300 --depths 50 --trials 1 --device cpu");
    free(program_output("generate --model run --prompt a --max-bytes 8"));
}

// Set anew for a longer context, or taken away; fixed once the run has begun.
static void test_scalings_set(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--seq-len 256 --out short --steps 1");
    DONE(TINY_TRAIN
         "--init short/step_00000001 --rope-scaling yarn:factor=3,original=256 --out long --steps 1");
    make_model("short/step_00000001", "model",
               "{\"max_position_embeddings\": 768, \"rope_scaling\": {" YARN "}, "
               "\"rope_parameters\": null}");
    DONE(TINY_TRAIN "--init model --out same --steps 1");
    expect_same_steps("long", "same", 1); // told by its folder or by the option, it is one model
    train_resume_export("long");
    expect_in_all("long", "rope_scaling",
                  "{\"factor\":3.0,\"original_max_position_embeddings\":256,\"rope_type\":\"yarn\"}");
    expect_in_all("long", "max_position_embeddings", "768");
    DONE(TINY_TRAIN "--init long_plain --rope-scaling none --rope-theta 40000 --out back --steps 1");
    train_resume_export("back");
    expect_in_all("back", "rope_scaling", "missing");
    expect_in_all("back", "rope_parameters", "{\"rope_theta\":40000.0,\"rope_type\":\"default\"}");
    program_expect(2, "--rope-scaling none: the run to resume has yarn:factor=3,original=256",
                   "train --resume long --rope-scaling none --steps 3");
    program_expect(2, "--rope-scaling yarn:factor=3: yarn needs original",
                   TINY_TRAIN "--rope-scaling yarn:factor=3 --out no --steps 1");
    program_expect(2, "--rope-theta 1: yarn needs one above 1",
                   TINY_TRAIN "--rope-scaling yarn:factor=3,original=9 --rope-theta 1 --out no --steps 1");
    assert_false(folder_exists("no"));
}

// Sequences that are longer than the angles were scaled for.
static void test_reach(void **state) {
    (void)state;
    const char *const said = "sequences of 768 tokens: RoPE of type yarn reaches 512, its factor 2 times its "
                             "original context 256";
    program_expect(0, said, TINY_TRAIN "--rope-scaling yarn:factor=2,original=256 --out run --steps 1");
    program_expect(0, said, "eval --model run --data val_0.bin");
    program_expect(0, "RoPE of type yarn reaches 512", "generate --model run --prompt a --max-bytes 600");
    program_expect(0, said, "niah --model run --lengths 64,768 --depths 50 --trials 1");
    program_expect(0, "RoPE of type llama3 reaches 512",
                   TINY_TRAIN "--rope-scaling "
                              "llama3:factor=2,original=256,low_freq_factor=1,high_freq_factor=4 --out "
                              "other --steps 1");
    Outcome outcome = program_run("eval --model other --data val_0.bin --seq-len 512");
    assert_true(outcome.status == 0 && !strstr(outcome.err, "warning"));
    outcome_free(&outcome);
}

// ---- SmolLM3

#define SMOL TINY_TRAIN "--family smollm3 "

// Layer 1 is Lighthouse's, layer 0 dense.
static void test_smollm3(void **state) {
    (void)state;
    DONE(SMOL "--out all --steps 1");
    DONE(SMOL "--no-rope-layers 1 --out own --steps 1");
    DONE(SMOL "--no-rope-layers 0,1 --out none --steps 1");
    assert_true(first_loss("all") != first_loss("own") && first_loss("own") != first_loss("none"));
    expect_member("none/step_00000001", "no_rope_layers", "[0,0]");
    train_resume_export("own");
    expect_in_all("own", "model_type", "\"smollm3\"");
    expect_in_all("own", "architectures", "[\"SmolLM3ForCausalLM\"]");
    expect_in_all("own", "no_rope_layers", "[1,0]");
    DONE(TINY_TRAIN "--init own_plain --out again --steps 1");
    train_resume_export("again");
    expect_in_all("again", "no_rope_layers", "[1,0]");
    program_expect(2, "--no-rope-layers none: the run to resume has 1",
                   "train --resume again --no-rope-layers none --steps 3");
    program_expect(2, "--no-rope-layers 0: the model of --init own_plain has no_rope_layers 1",
                   TINY_TRAIN "--init own_plain --no-rope-layers 0 --out no --steps 1");
    assert_false(folder_exists("no"));
}

// As a list or by an interval, whose form stays; the interval is 4 where it is not said.
static void test_intervals(void **state) {
    (void)state;
    DONE(SMOL "--layers 5 --no-rope-layers 3 --out first --steps 1");
    const char *const forms[] = {
        "{}",
        "{\"no_rope_layers\": null}",
        "{\"no_rope_layers\": null, \"no_rope_layer_interval\": 4}",
        "{\"no_rope_layers\": [true, 1, 1.0, false, 1], \"no_rope_layer_interval\": 2}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char out[8];
        snprintf(out, sizeof out, "run_%zu", i);
        make_model("first/step_00000001", "model", forms[i]);
        DONE(TINY_TRAIN "--layers 5 --init model --out %s --steps 1", out);
        assert_true(first_loss(out) == first_loss("run_0"));
    }
    expect_member("run_1/step_00000001", "no_rope_layers", "missing");
    expect_member("run_2/step_00000001", "no_rope_layer_interval", "4");
    make_model("first/step_00000001", "model", "{\"no_rope_layers\": null, \"no_rope_layer_interval\": 2}");
    DONE(TINY_TRAIN "--layers 5 --init model --out other --steps 1");
    assert_true(first_loss("other") != first_loss("run_0"));
}

static void test_smollm3_refused(void **state) {
    (void)state;
    const struct {
        int status;
        const char *changes, *words, *part;
    } cases[] = {
        {3, "{\"no_rope_layers\": [1]}", "",
         "no_rope_layers is [1]; only a model where it is a list of 1 or 0"},
        {3, "{\"no_rope_layers\": [1, \"0\"]}", "", "no_rope_layers is [1,\"0\"]"},
        {3, "{\"no_rope_layer_interval\": 0}", "", "no_rope_layer_interval must be a whole number from 1"},
        {3, "{\"tie_word_embeddings\": null}", "", "lm_head.weight is not model.embed_tokens.weight"},
        {3, "{\"use_sliding_window\": true, \"sliding_window\": 64}", "", "sliding_window is 64"},
        {2, "{}", "--family llama", "has model_type smollm3"},
    };
    DONE(SMOL "--no-rope-layers 1 --out first --steps 1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model("first/step_00000001", "model", cases[i].changes);
        program_expect(cases[i].status, cases[i].part, TINY_TRAIN "--init model --out no --steps 1 %s",
                       cases[i].words);
    }
    program_expect(2, "layers of the family llama all have RoPE", TINY_TRAIN "--no-rope-layers 1 --out no");
    program_expect(2, "there is no layer 2; layers go from 0 to 1", SMOL "--no-rope-layers 2 --out no");
    program_expect(2, "--no-rope-layers 1,x: must be numbers of layers",
                   SMOL "--no-rope-layers 1,x --out no");
    program_expect(2, "--no-rope-layers -1: there is no layer -1", SMOL "--no-rope-layers=-1 --out no");
    assert_false(folder_exists("no"));
}

// ---- Qwen

// Trained through both stages, resumed in the same bits, handed on, begun from, and spoken with.
static void check_qwen(const char *family, const char *tensor, const char *architecture) {
    size_t size;
    char options[64], wanted[64];
    snprintf(options, sizeof options, "--family %s --tie-embeddings", family);
    DONE(TINY_TRAIN "--out whole --steps 2 --switch-at 1 %s", options);
    DONE(TINY_TRAIN "--out parts --steps 1 --switch-at 1 %s", options);
    train_resume_export("parts");
    expect_same_steps("whole", "parts", 2);
    expect_same_checkpoint("whole", "parts", 2);
    snprintf(wanted, sizeof wanted, "\"%s\"", family);
    expect_in_all("parts", "model_type", wanted);
    snprintf(wanted, sizeof wanted, "parts_plain: %s of ", family);
    char *told = program_output("info parts_plain");
    assert_non_null(strstr(told, wanted));
    free(told);
    snprintf(wanted, sizeof wanted, "[\"%s\"]", architecture);
    expect_in_all("parts", "architectures", wanted);
    expect_in_all("parts", "tie_word_embeddings", "true");
    char *weights = scratch_read("parts_plain", "model.safetensors", &size);
    assert_non_null(memmem(weights, size, tensor, strlen(tensor)));
    assert_null(memmem(weights, size, "lm_head", 7));
    free(weights);
    DONE(TINY_TRAIN "--init parts_plain --out again --steps 1");
    DONE("generate --model again --prompt a --max-bytes 8");
    DONE("eval --model again --data val_0.bin --attention lighthouse --levels 2 --pool 2 --topk 256");
    make_model("parts_plain", "other", "{\"model_type\": \"llama\", \"architectures\": null}");
    char refused[128];
    snprintf(refused, sizeof refused, "%s' is not one of the model's", tensor);
    program_expect(3, refused, "eval --model other --data val_0.bin");
}

static void test_qwen2(void **state) {
    (void)state;
    check_qwen("qwen2", "self_attn.k_proj.bias", "Qwen2ForCausalLM");
    expect_in_all("parts", "attention_bias", "missing");
    make_model("parts_plain", "biased", "{\"attention_bias\": true}");
    program_expect(3, "attention_bias is true", "eval --model biased --data val_0.bin");
}

static void test_qwen3(void **state) {
    (void)state;
    check_qwen("qwen3", "self_attn.k_norm.weight", "Qwen3ForCausalLM");
    expect_in_all("parts", "head_dim", "64");
    make_model("parts_plain", "wide", "{\"head_dim\": null}"); // 128 in transformers
    program_expect(3, "has shape", "eval --model wide --data val_0.bin");
}

// Windows that are turned on are refused, however long; one that is of no effect stays off in what is
// written.
static void test_switched_windows(void **state) {
    (void)state;
    const char *const on[] = {
        "{\"use_sliding_window\": true}",
        "{\"use_sliding_window\": true, \"sliding_window\": 5000, \"max_window_layers\": 0}",
        "{\"use_sliding_window\": 1, \"layer_types\": []}",
    };
    const char *const off[] = {
        "{\"use_sliding_window\": true, \"layer_types\": [\"full_attention\", \"full_attention\"]}",
        "{\"use_sliding_window\": false, \"sliding_window\": 64}",
    };
    const char *const families[] = {"qwen2", "qwen3", "smollm3"};
    for (size_t k = 0; k < 3; k++) {
        DONE(TINY_TRAIN "--family %s --out %s --steps 1", families[k], families[k]);
        char from[64], out[64];
        snprintf(from, sizeof from, "%s/step_00000001", families[k]);
        for (size_t i = 0; i < 3; i++) {
            make_model(from, "model", on[i]);
            program_expect(3, "; only a model where it is false, which is right for sequences within",
                           "eval --model model --data val_0.bin");
        }
        for (size_t i = 0; i < 2; i++) {
            make_model(from, "model", off[i]);
            DONE(TINY_TRAIN "--init model --out %s_%zu --steps 1", families[k], i);
            snprintf(out, sizeof out, "%s_%zu/step_00000001", families[k], i);
            expect_member(out, "use_sliding_window", "false");
            expect_member(out, "sliding_window", "missing");
        }
    }
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_mistral),         IN_TINY_FOLDER(test_wide_windows),
        IN_TINY_FOLDER(test_short_windows),   IN_TINY_FOLDER(test_scalings_stay),
        IN_TINY_FOLDER(test_reach),           IN_TINY_FOLDER(test_scalings_set),
        IN_TINY_FOLDER(test_smollm3),         IN_TINY_FOLDER(test_intervals),
        IN_TINY_FOLDER(test_smollm3_refused), IN_TINY_FOLDER(test_qwen2),
        IN_TINY_FOLDER(test_qwen3),           IN_TINY_FOLDER(test_switched_windows),
        IN_TINY_FOLDER(test_stretched),
    };
    return cmocka_run_group_tests_name("families", tests, NULL, NULL) ? 1 : 0;
}
