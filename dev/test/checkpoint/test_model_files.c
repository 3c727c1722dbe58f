// What a model brings with it: every file of its tokenizer, its config.json and its licence stay as they were
// through runs, resumes and exports, and its tokens stay of their kind.
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/model/safetensors.h"
#include "core/model/tokenizer.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Folders

// Shards of ids below 60, ids/train_0.bin.
static void make_ids(void) {
    int32_t ids[4 * TINY_CONTEXT];
    for (int i = 0; i < 4 * TINY_CONTEXT; i++) ids[i] = i * 7 % 60;
    char bytes[sizeof ids / 2];
    for (int i = 0; i < 4 * TINY_CONTEXT; i++) {
        bytes[2 * i] = (char)ids[i];
        bytes[2 * i + 1] = 0;
    }
    scratch_write(".", "own.bin", bytes, sizeof bytes);
    DONE("pack own.bin --tokens uint16 --vocab 60 --val-fraction 0 --out ids");
}

#define ON_IDS "--data ids/train_*.bin "

static const char *const kept[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "qwen.tiktoken",
    "generation_config.json",
    "additional_chat_templates/tool_use.jinja",
    "tokenization_own.py",
    "LICENSE",
    "USE_POLICY.md",
};
#define N_KEPT (sizeof kept / sizeof *kept)

// A model of ids with everything that a tokenizer may have, and things that are no part of it.
static void make_llama(void) {
    DONE(TINY_TRAIN "--out bytes --steps 1");
    make_model(
        "bytes/step_00000001", "llama",
        "{\"bos_token_id\": 1, \"eos_token_id\": [2, 3], \"pad_token_id\": 4, "
        "\"max_position_embeddings\": 4096, \"rope_parameters\": null, \"rope_theta\": 20000, "
        "\"rope_scaling\": null, \"torch_dtype\": \"bfloat16\", \"dtype\": null, \"initializer_range\": "
        "0.02, \"own_note\": \"stays\"}");
    for (size_t i = 0; i < N_KEPT; i++) {
        char text[64];
        int size = snprintf(text, sizeof text, "{\"file\": %zu}\r\n\t%s", i, i % 2 ? "" : "\n");
        if (i == 2) text[3] = 0; // tokenizer.model is binary
        scratch_write("llama", kept[i], text, size);
    }
    scratch_write("llama", "README.md", "of the original", -1);
    scratch_write("llama", "trainer_state.json", "{}", -1);
    scratch_write("llama", ".gitattributes", "x", -1);
}

static void expect_kept(const char *folder) {
    for (size_t i = 0; i < N_KEPT; i++) {
        char *from = path_join("llama", kept[i]), *to = path_join(folder, kept[i]);
        if (!file_exists(to)) fail_msg("%s is gone", to);
        if (!files_equal(from, to)) fail_msg("%s is another", to);
        free(from);
        free(to);
    }
    assert_false(scratch_exists(folder, "README.md"));
    assert_false(scratch_exists(folder, "trainer_state.json"));
    expect_member(folder, "bos_token_id", "1");
    expect_member(folder, "eos_token_id", "[2,3]");
    expect_member(folder, "pad_token_id", "4");
    expect_member(folder, "max_position_embeddings", "4096");
    expect_member(folder, "initializer_range", "0.02");
    expect_member(folder, "own_note", "\"stays\"");
    expect_member(folder, "rope_theta", "20000.0");
    expect_member(folder, "rope_parameters", "{\"rope_theta\":20000.0,\"rope_type\":\"default\"}");
    expect_member(folder, "torch_dtype", "\"float32\"");
}

// ---- Tests

static void test_everything_stays(void **state) {
    (void)state;
    make_ids();
    make_llama();
    program_expect(
        0, "llama/config.json: members that no family has are kept, and taken to change nothing: own_note",
        TINY_TRAIN ON_IDS "--init llama --out run --steps 1");
    program_expect(0, "llama/config.json: members that no family has are kept",
                   "export --model llama --out own");
    expect_kept("run/step_00000001");
    assert_int_equal(rename("llama", "moved"), 0); // the checkpoint has it all now
    DONE("train --resume run --steps 2");
    DONE("export --model run --out plain");
    assert_int_equal(rename("moved", "llama"), 0);
    expect_kept("run/step_00000002");
    expect_kept("plain");
    free(program_output("info run --verify"));
    free(program_output("eval --model plain --seq-len 768 --data ids/train_*.bin"));
    DONE(TINY_TRAIN ON_IDS "--init plain --out again --steps 1");
    expect_kept("again/step_00000001");

    program_ranks(2, false);
    DONE(TINY_TRAIN ON_IDS "--init llama --out two --steps 1");
    program_ranks(1, false);
    expect_kept("two/step_00000001");
    DONE("info two --verify");
}

// A checkpoint that was trained on ids does not become a model of bytes; of another folder without marks it
// is said.
static void test_ids_without_marks(void **state) {
    (void)state;
    make_ids();
    DONE(TINY_TRAIN ON_IDS "--out numbers --steps 1");
    program_expect(2, "holds bytes, and numbers/step_00000001 is a model of a tokenizer's ids",
                   TINY_TRAIN "--init numbers/step_00000001 --out text --steps 1");
    assert_false(folder_exists("text"));
    DONE(TINY_TRAIN ON_IDS "--init numbers/step_00000001 --out on --steps 1");
    DONE("export --model numbers --out plain");
    program_expect(0, "plain has neither a tokenizer nor marks of a document: it becomes a model of bytes",
                   TINY_TRAIN "--init plain --out text --steps 1");
}

// A kept file is part of the checkpoint: its hash is checked, and one that is missing is missed.
static void test_kept_files_are_checked(void **state) {
    (void)state;
    make_ids();
    make_llama();
    DONE(TINY_TRAIN ON_IDS "--init llama --out run --steps 1");
    scratch_flip("run/step_00000001", "tokenizer.model", 5, 3);
    program_expect(3, "tokenizer.model: damaged", "info run --verify");
    program_expect(3, "tokenizer.model: damaged", "train --resume run/step_00000001 --out on --steps 2");
    program_expect(3, "tokenizer.model: damaged", "export --model run/step_00000001 --out plain");
    program_expect(3, "tokenizer.model: damaged",
                   TINY_TRAIN ON_IDS "--init run/step_00000001 --out new --steps 1");
    assert_false(folder_exists("plain") || folder_exists("on") || folder_exists("new"));
    scratch_flip("run/step_00000001", "tokenizer.model", 5, 3);
    assert_int_equal(remove("run/step_00000001/additional_chat_templates/tool_use.jinja"), 0);
    program_expect(3, "tool_use.jinja", "info run --verify");
}

// Pointers in place of files would otherwise be handed on.
static void test_pointers(void **state) {
    (void)state;
    make_ids();
    make_llama();
    scratch_write("llama", "tokenizer.model",
                  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 493443\n", -1);
    program_expect(3, "llama/tokenizer.model: is a Git LFS pointer",
                   TINY_TRAIN ON_IDS "--init llama --out run --steps 1");
    program_expect(3, "git lfs pull", "export --model llama --out plain");
    scratch_write("llama", "tokenizer.model", "<!DOCTYPE html>\n<html>log in</html>", -1);
    program_expect(3, "llama/tokenizer.model: is a web page",
                   TINY_TRAIN ON_IDS "--init llama --out run --steps 1");
    assert_int_equal(remove("llama/tokenizer.model"), 0);
    assert_int_equal(symlink("../blobs/gone", "llama/tokenizer.model"), 0);
    program_expect(3, "llama/tokenizer.model: a link to a file that is not there",
                   TINY_TRAIN ON_IDS "--init llama --out run --steps 1");
    assert_false(folder_exists("run") || folder_exists("plain"));
}

// Models of bytes too keep what else is there; the tokenizer's own files are written for the context.
static void test_byte_models(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    make_model("first/step_00000001", "model", "{}");
    file_copy("first/step_00000001/tokenizer.json", "model/tokenizer.json");
    file_copy("first/step_00000001/tokenizer_config.json", "model/tokenizer_config.json");
    scratch_write("model", "generation_config.json", "{\"temperature\": 0.5}", -1);
    DONE(TINY_TRAIN "--init model --out run --steps 1 --seq-len 1024");
    assert_true(files_equal("model/generation_config.json", "run/step_00000001/generation_config.json"));
    assert_true(files_equal("model/tokenizer.json", "run/step_00000001/tokenizer.json"));
    char *text = scratch_read("run/step_00000001", "tokenizer_config.json", NULL);
    assert_non_null(strstr(text, "\"model_max_length\": 1024"));
    free(text);
    expect_member("run/step_00000001", "max_position_embeddings", "1024");
    DONE("train --resume run --out short --steps 2 --seq-len 512");
    expect_member("short/step_00000002", "max_position_embeddings", "1024");

    scratch_write("model", "tokenizer_config.json", "{\"chat_template\": \"own\"}", -1);
    DONE(TINY_TRAIN "--init model --out own --steps 1");
    assert_true(files_equal("model/tokenizer_config.json", "own/step_00000001/tokenizer_config.json"));
}

// Takes `value`.
static void write_json(const char *folder, const char *name, json_t *value) {
    char *text = json_dumps(value, JSON_INDENT(2));
    scratch_write(folder, name, text, -1);
    free(text);
    json_decref(value);
}

// The pad token has an id of its own, where the vocabulary has one to spare; models of before go on.
static void test_pad_token(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    expect_member("run/step_00000001", "pad_token_id", "258");
    char *text = scratch_read("run/step_00000001", "tokenizer_config.json", NULL);
    json_t *config = json_loads(text, 0, NULL);
    free(text);
    assert_string_equal(json_string_value(json_object_get(config, "pad_token")), "<|pad|>");
    json_decref(config);

    make_model("run/step_00000001", "old", "{\"pad_token_id\": null}");
    write_json("old", "tokenizer.json", tokenizer_json(false));
    write_json("old", "tokenizer_config.json", tokenizer_config_json(false, 768));
    DONE(TINY_TRAIN "--init old --out on --steps 1");
    expect_member("on/step_00000001", "pad_token_id", "258");
    assert_true(files_equal("run/step_00000001/tokenizer.json", "on/step_00000001/tokenizer.json"));
}

// The first size of a tensor in a model's file.
static int64_t rows_of(const char *folder, const char *tensor) {
    size_t size;
    uint64_t length;
    json_int_t rows = 0, columns;
    char *bytes = scratch_read(folder, "model.safetensors", &size);
    memcpy(&length, bytes, sizeof length);
    json_t *header = json_loadb(bytes + sizeof length, length, 0, NULL);
    json_unpack(json_object_get(header, tensor), "{s:[I, I]}", "shape", &rows, &columns);
    json_decref(header);
    free(bytes);
    return rows;
}

static void expect_vocabulary(const char *folder, int64_t size) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)size);
    expect_member(folder, "vocab_size", text);
    assert_int_equal(rows_of(folder, "model.embed_tokens.weight"), size);
    assert_int_equal(rows_of(folder, "lm_head.weight"), size);
}

// Vocabularies of any size are trained, resumed, handed on and taken back as they are.
static void test_odd_vocabularies(void **state) {
    (void)state;
    make_ids();
    DONE(TINY_TRAIN "--vocab 261 --out bytes --steps 2");
    expect_vocabulary("bytes/step_00000002", 261);
    DONE("train --resume bytes --steps 3");
    DONE("export --model bytes --out plain --bf16");
    expect_vocabulary("plain", 261);
    free(program_output("generate --model plain --max-bytes 3"));
    free(program_output("eval --model plain --data val_*.bin"));
    DONE(TINY_TRAIN "--init plain --vocab 261 --out again --steps 1");
    expect_vocabulary("again/step_00000001", 261);
    program_ranks(2, false);
    DONE(TINY_TRAIN "--vocab 261 --out two --steps 2");
    program_ranks(1, false);
    expect_vocabulary("two/step_00000002", 261);

    DONE(TINY_TRAIN "--vocab 258 --out least --steps 1"); // no id is left for a pad token
    expect_member("least/step_00000001", "pad_token_id", "null");
    DONE(TINY_TRAIN ON_IDS "--vocab 60 --out ids_60 --steps 1");
    expect_vocabulary("ids_60/step_00000001", 60);
    DONE(TINY_TRAIN ON_IDS "--vocab 50257 --out gpt2 --steps 1");
    program_expect(3, "the vocabulary has 59 tokens", TINY_TRAIN ON_IDS "--vocab 59 --out small --steps 1");
    program_expect(
        2, "--vocab 257: --data train_*.bin holds bytes, which with the two marks of a document need 258",
        TINY_TRAIN "--vocab 257 --out no --steps 1");
    assert_false(folder_exists("no"));
}

// --rope-theta is trained with, and written where transformers 4 and 5 read it.
static void test_rope_theta(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    make_model(
        "first/step_00000001", "model",
        "{\"rope_theta\": null, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 20000}, "
        "\"rope_scaling\": {\"rope_type\": \"default\"}}");
    DONE(TINY_TRAIN "--init model --out same --steps 1");
    DONE(TINY_TRAIN "--init model --rope-theta 500000 --out longer --steps 1");
    expect_member("same/step_00000001", "rope_theta", "20000.0");
    json_t *log = tiny_steps("same"), *other = tiny_steps("longer");
    assert_true(line_number(json_array_get(log, 0), "loss") != line_number(json_array_get(other, 0), "loss"));
    json_decref(log);
    json_decref(other);
    DONE("train --resume longer --steps 2");
    DONE("export --model longer --out plain");
    const char *const folders[] = {"longer/step_00000001", "longer/step_00000002", "plain"};
    for (size_t i = 0; i < 3; i++) {
        expect_member(folders[i], "rope_theta", "500000.0");
        expect_member(folders[i], "rope_parameters", "{\"rope_theta\":500000.0,\"rope_type\":\"default\"}");
        expect_member(folders[i], "rope_scaling", "missing");
    }
    program_expect(2, "the run to resume has", "train --resume longer --steps 3 --rope-theta 10000");
    make_model("first/step_00000001", "odd", "{\"rope_theta\": 0.5, \"rope_parameters\": null}");
    program_expect(2, "--rope-theta 0.5", TINY_TRAIN "--init odd --out no --steps 1");
    assert_false(folder_exists("no"));
}

// A window as long as the context is none, and bounds no longer one: what such a model becomes is loaded
// again.
static void test_window(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    make_model("first/step_00000001", "model", "{\"sliding_window\": 512, \"max_position_embeddings\": 512}");
    DONE(TINY_TRAIN "--init model --out longer --steps 1");
    expect_member("longer/step_00000001", "max_position_embeddings", "768");
    DONE("train --resume longer --steps 2");
}

// What says another shape than the folder's is named beside it.
static void test_contradictions(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    scratch_write(".", "bare.json", "{\"settings\": {\"levels\": 2, \"pool\": 2, \"topk\": 128}}", -1);
#define INIT "train --config bare.json --init first/step_00000001 --data train_*.bin --out no "
    const struct {
        const char *words, *part;
    } cases[] = {
        {"--layers 3", "--layers 3: the model of --init first/step_00000001 has num_hidden_layers 2"},
        {"--vocab 320", "--vocab 320: the model of --init first/step_00000001 has vocab_size 264"},
        {"--heads 4", "has num_attention_heads 2"},
        {"--norm-eps 1e-6",
         "--norm-eps 1e-06: the model of --init first/step_00000001 has rms_norm_eps 1e-05"},
        {"--preset small", "--preset small (layers) 12: the model of --init first/step_00000001"},
        {"--embedding-std 0.5", "--embedding-std has no meaning with --init"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        program_expect(2, cases[i].part, INIT "%s", cases[i].words);
    scratch_write(".", "other.json", "{\"settings\": {\"ffn\": 128}}", -1);
    program_expect(
        2, "--config other.json (ffn) 128: the model of --init first/step_00000001 has intermediate_size 64",
        "train --config other.json --init first/step_00000001 --data train_*.bin --out no");
    assert_false(folder_exists("no"));
}

// Folders of other kinds, and what is no folder, are told for what they are, to --init and --model.
static void test_kinds_of_folders(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out first --steps 1");
    scratch_write("lora", "adapter_config.json", "{}", -1);
    scratch_write("lora", "adapter_model.safetensors", "x", -1);
    scratch_write("gguf", "llama-q4.gguf", "GGUF", -1);
    scratch_write("meta", "params.json", "{}", -1);
    scratch_write("meta", "consolidated.00.pth", "x", -1);
    scratch_write("models--a--b", "snapshots/1234abcd/config.json", "{}", -1);
    scratch_write("empty", "notes.txt", "x", -1);
    make_model("first/step_00000001", "merged", "{}");
    scratch_write("merged", "adapter_config.json", "{}", -1);
    make_model("first/step_00000001", "pickles", "{}");
    assert_int_equal(rename("pickles/model.safetensors", "pickles/pytorch_model.bin"), 0);
    make_model("first/step_00000001", "unlisted", "{}");
    assert_int_equal(rename("unlisted/model.safetensors", "unlisted/model-00001-of-00002.safetensors"), 0);
    make_model("first/step_00000001", "pointer", "{}");
    scratch_write("pointer", "config.json", "version https://git-lfs.github.com/spec/v1\n", -1);
    const struct {
        const char *path, *part;
    } cases[] = {
        {"lora", "lora: holds an adapter (LoRA)"},
        {"merged", "merged: holds an adapter (LoRA)"},
        {"gguf", "gguf: holds a GGUF model"},
        {"meta", "meta: holds weights in Meta's or Mistral's own format"},
        {"pickles", "pickles: holds weights as PyTorch's pickles; save them again"},
        {"unlisted", "without model.safetensors.index.json"},
        {"pointer", "pointer/config.json: is a Git LFS pointer"},
        {"models--a--b",
         "is a Hugging Face cache's folder; name the version in it: models--a--b/snapshots/1234abcd"},
        {"meta-llama/Llama-3.1-8B", "hf download meta-llama/Llama-3.1-8B --local-dir"},
        {"first/step_00000001/model.safetensors", "is a file; name the folder of config.json"},
        {"empty", "empty"},
        {"/no/such", "/no/such"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program_expect(3, cases[i].part, TINY_TRAIN "--init %s --out no --steps 1", cases[i].path);
        program_expect(3, cases[i].part, "eval --model %s --data val_*.bin", cases[i].path);
        program_expect(3, cases[i].part, "export --model %s --out no", cases[i].path);
    }
}

// A prompt from a file is all its bytes; what is odd about it is told.
static void test_prompt_file(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out run --steps 1");
    scratch_write(".", "prompt", "klmn\n", -1);
    scratch_write(".", "zeros", "kl\0mn", 5);
    scratch_write(".", "latin", "kl\xe9", -1);
    scratch_write(".", "none", "", -1);
    char *long_text = (char *)alloc_or_exit(2001, 1);
    memset(long_text, 'a', 2000);
    scratch_write(".", "long", long_text, -1);
    free(long_text);
    const char *const words[] = {"generate", "--model",     "run", "--prompt",
                                 "klmn\n",   "--max-bytes", "8",   NULL};
    Outcome wanted = program_run_words(words);
    char *text = program_output("generate --model run --prompt-file prompt --max-bytes 8");
    assert_string_equal(text, wanted.out);
    outcome_free(&wanted);
    free(text);
    program_expect(0, "the prompt has NUL bytes, 1 among its 5", "generate --model run --prompt-file zeros");
    scratch_write(".", "marked", "\xef\xbb\xbfklm", -1);
    program_expect(0, "the prompt begins with a byte order mark",
                   "generate --model run --prompt-file marked");
    program_expect(0, "the prompt is not UTF-8", "generate --model run --prompt-file latin");
    program_expect(0, "the prompt is empty", "generate --model run --prompt-file none");
    program_expect(0, "reach 2009 tokens; the model was trained on 768",
                   "generate --model run --prompt-file long --max-bytes 8");
    program_expect(0, "the prompt is empty", "generate --model run --prompt-file /dev/null");
    program_expect(3, "--prompt-file", "generate --model run --prompt-file gone");
    program_expect(2, "give one of them", "generate --model run --prompt-file prompt --prompt a");
    program_expect(2, "--top-p has no meaning with --temperature 0",
                   "generate --model run --temperature 0 --top-p 0.5");
    program_expect(2, "--seed has no meaning with --temperature 0",
                   "generate --model run --temperature 0 --seed 3");
}

// What somebody put among the kept files of a checkpoint that is deleted goes aside.
static void test_strangers_in_folders(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out bytes --steps 1");
    DONE("export --model bytes --out model");
    scratch_write("model", "additional_chat_templates/tool.jinja", "kept", -1);
    DONE(TINY_TRAIN "--init model --out run --steps 2 --checkpoint-every 1");
    scratch_write("run/step_00000001/additional_chat_templates", "notes", "mine", -1);
    scratch_write("run/step_00000001/additional_chat_templates/own", "more", "mine", -1);
    program_expect(0, "additional_chat_templates/notes is not this program's; moved to run/aside",
                   "train --resume run --steps 3 --keep 1");
    assert_false(folder_exists("run/step_00000001"));
    static const char aside[] = "run/aside/step_00000001/additional_chat_templates";
    assert_true(scratch_exists(aside, "notes") && scratch_exists(aside, "own/more"));
    assert_false(scratch_exists(aside, "tool.jinja"));
}

// ---- What is told of a folder

// Runs the program, and gives whether its standard error holds a text.
static bool told(const char *part, const char *line) {
    Outcome outcome = program_run("%s", line);
    if (outcome.status != 0) fail_msg("%s: status %d, %s", line, outcome.status, outcome.err);
    bool found = strstr(outcome.err, part) != NULL;
    outcome_free(&outcome);
    return found;
}

// Its marks, one of several ends and another pad, are no other ones after training.
static void test_marks_of_bytes(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out bytes --steps 1");
    DONE("export --model bytes --out model");
    config_put("model", config_of("model"), "{\"eos_token_id\": [257, 10], \"pad_token_id\": 259}");
    DONE(TINY_TRAIN "--init model --out run --steps 1");
    expect_member("run/step_00000001", "eos_token_id", "[257,10]");
    expect_member("run/step_00000001", "pad_token_id", "259");
    expect_member("run/step_00000001", "bos_token_id", "256");
    config_put("model", config_of("model"), "{\"pad_token_id\": null}"); // of before there was one
    DONE(TINY_TRAIN "--init model --out again --steps 1");
    expect_member("again/step_00000001", "pad_token_id", "258");
}

// Files that a full disk or a broken download leaves, a tokenizer in a folder, one for a shorter context.
static void test_told_of_tokenizers(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out bytes --steps 1");
    DONE("export --model bytes --out model");
    static const char copying[] = "export --model model --out copy";
    static const struct {
        const char *name, *text, *told;
    } files[] = {
        {"vocab.json", "", "model/vocab.json is empty: fetch it again"},
        {"vocab.json", "{\"a\": 1, \"b\"", "model/vocab.json is no whole JSON: fetch it again"},
        {"vocab.json", " \n{\"a\": 1}\n\n", NULL},
        {"sp.model", "pieces", NULL},
        {"tokenizer/tokenizer.json", "{}", "model/tokenizer is a folder, and is not kept"},
    };
    Error error;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        scratch_write("model", files[i].name, files[i].text, -1);
        bool found = told(files[i].told ? files[i].told : "model/", copying);
        if (found != (files[i].told != NULL)) fail_msg("case %zu", i);
        if (i == 3) assert_true(scratch_exists("copy", "sp.model"));
        assert_true(tree_remove("copy", &error));
    }
    // The byte tokenizer grows with the context, another does not.
    const char *longer = TINY_TRAIN "--init model --seq-len 1024 --steps 1 --out run",
               *said = "keeps model_max";
    assert_false(told(said, longer));
    assert_true(tree_remove("run", &error));
    scratch_write("model", "tokenizer_config.json", "{\"model_max_length\": 768}", -1);
    assert_true(
        told("model/tokenizer_config.json keeps model_max_length 768, and --seq-len is 1024", longer));
    assert_true(tree_remove("run", &error));
    scratch_write("model", "tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}",
                  -1);
    assert_false(told(said, longer));
}

// A model in one file and another in parts beside it; weights whose end never came.
static void test_told_of_weights(void **state) {
    (void)state;
    DONE(TINY_TRAIN "--out bytes --steps 1");
    DONE("export --model bytes --out model");
    static const char eval[] = "eval --model model --data val_*.bin",
                      index[] = "model.safetensors.index.json";
    static const char map[] = "{\"weight_map\": {\"lm_head.weight\": \"model-00001-of-00001.safetensors\"}}";
    scratch_write("model", index, map, -1);
    assert_false(told("model/", eval)); // the parts were joined, and are gone
    file_copy("model/model.safetensors", "model/model-00001-of-00001.safetensors");
    const char *two = "model holds model.safetensors and the parts that model.safetensors.index.json lists";
    assert_true(told(two, eval));
    assert_true(told(two, "info model --verify"));
    scratch_write("model", index, "{\"weight_map\": {\"lm_head.weight\": \"model.safetensors\"}}", -1);
    assert_false(told("model/", eval));

    size_t size;
    char *weights = scratch_read("model", "model.safetensors", &size);
    SafetensorsFile file;
    Error error;
    expect_ok(safetensors_open("model/model.safetensors", &file, &error), &error);
    const SafetensorsTensor *gate =
        &file.tensors[safetensors_find(&file, "model.layers.1.self_attn.q_proj.weight")];
    memset(weights + gate->begin, 0, (size_t)(gate->end - gate->begin));
    const SafetensorsTensor *head = &file.tensors[safetensors_find(&file, "lm_head.weight")];
    memset(weights + head->end - 4096, 0, 4096); // as of rows that pad a vocabulary
    scratch_write("model", "model.safetensors", weights, (int64_t)size);
    const char *zeros =
        "model: tensor 'model.layers.1.self_attn.q_proj.weight' has zeros alone for a long way from "
        "value 0 on: were the files";
    assert_true(told(zeros, eval));
    assert_true(told(zeros, "info model --verify"));
    assert_true(told(zeros, "export --model model --out copy"));
    memset(weights + gate->begin, 1, (size_t)(gate->end - gate->begin));
    memset(weights + head->begin, 0, (size_t)(head->end - head->begin)); // no rows that pad, but all
    safetensors_close(&file);
    scratch_write("model", "model.safetensors", weights, (int64_t)size);
    free(weights);
    assert_true(told("model: tensor 'lm_head.weight' has zeros alone for a long way from value 0 on", eval));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_TINY_FOLDER(test_everything_stays),
        IN_TINY_FOLDER(test_ids_without_marks),
        IN_TINY_FOLDER(test_kept_files_are_checked),
        IN_TINY_FOLDER(test_pointers),
        IN_TINY_FOLDER(test_byte_models),
        IN_TINY_FOLDER(test_pad_token),
        IN_TINY_FOLDER(test_odd_vocabularies),
        IN_TINY_FOLDER(test_rope_theta),
        IN_TINY_FOLDER(test_prompt_file),
        IN_TINY_FOLDER(test_window),
        IN_TINY_FOLDER(test_contradictions),
        IN_TINY_FOLDER(test_kinds_of_folders),
        IN_TINY_FOLDER(test_marks_of_bytes),
        IN_TINY_FOLDER(test_strangers_in_folders),
        IN_TINY_FOLDER(test_told_of_tokenizers),
        IN_TINY_FOLDER(test_told_of_weights),
    };
    return cmocka_run_group_tests_name("model_files", tests, NULL, NULL) ? 1 : 0;
}
