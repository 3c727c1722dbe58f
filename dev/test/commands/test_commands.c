// eval, generate, info and pack of the built program, and what each says of bad files.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>

#include <cmocka.h>

// The steps that teach the tiny model the alphabet.
#define STEPS      24
#define CHECKPOINT "run/step_00000024"

// Every test runs in a folder with data and a run of both stages, made once.
static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    program_expect(0, NULL, TINY_TRAIN "--out run --steps %d --switch-at 20 --val-every 12", STEPS);
    return 0;
}

#define CHECKPOINT_FILES_TOP "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"

// ---- eval

static json_t *evaluation(const char *options) {
    return program_json("eval --data val_*.bin %s", options);
}

static double loss_of(const char *options) {
    json_t *json = evaluation(options);
    double loss = json_number_value(json_object_get(json, "nats_per_target"));
    json_decref(json);
    return loss;
}

// The last validation of a run under an attention.
static double validation_of(const char *run, const char *attention) {
    json_t *log = tiny_log(run), *line;
    double loss = -1;
    for (int n = 0; (line = tiny_event(log, "validation", n)) != NULL; n++) {
        if (strcmp(json_string_value(json_object_get(line, "attention")), attention) != 0) continue;
        loss = json_number_value(json_object_get(line, "loss"));
    }
    json_decref(log);
    assert_true(loss > 0);
    return loss;
}

#define assert_near(a, b) assert_true(fabs((a) - (b)) < 1e-7)

static void test_eval(void **state) {
    (void)state;
    json_t *json = evaluation("--model run");
    double nats = json_number_value(json_object_get(json, "nats_per_target"));
    assert_near(nats, validation_of("run", "dense"));
    int64_t bytes = json_integer_value(json_object_get(json, "bytes"));
    assert_int_equal(json_integer_value(json_object_get(json, "targets")), 2 * TINY_CONTEXT);
    assert_true(bytes > 2 * TINY_CONTEXT - 40 && bytes < 2 * TINY_CONTEXT); // marks of documents are targets
    assert_near(json_number_value(json_object_get(json, "perplexity")), exp(nats));
    assert_near(json_number_value(json_object_get(json, "bits_per_byte")),
                nats * 2 * TINY_CONTEXT / (log(2.0) * (double)bytes));
    json_decref(json);
    assert_near(loss_of("--model " CHECKPOINT), nats);

    checkpoint_copy(CHECKPOINT, "plain", false); // any model folder
    assert_near(loss_of("--model plain"), nats);
    assert_near(loss_of("--model plain --seq-len 768 --val-batches 2"), nats);
    program_expect(0, "--seq-len 1000: the model was trained on 768 tokens",
                   "eval --model plain --data val_*.bin --seq-len 1000");
    assert_true(fabs(loss_of("--model plain --val-batches 1") - nats) > 1e-6);
    assert_true(fabs(loss_of("--model plain --seq-len 512") - nats) > 1e-6);
}

#define ID_TARGETS 512

// A model of ids and its shards: of every eight ids the first is a mark, and the others are i bytes long.
static void make_ids(void) {
    uint16_t ids[ID_TARGETS + 1];
    char vocabulary[256] = "", tokenizer[512];
    for (int i = 1; i < 8; i++) {
        size_t used = strlen(vocabulary);
        snprintf(vocabulary + used, sizeof vocabulary - used, "%s\"%.*s\": %d", i > 1 ? ", " : "", i,
                 "aaaaaaa", i);
    }
    snprintf(tokenizer, sizeof tokenizer,
             "{\"model\": {\"vocab\": {%s}}, \"decoder\": {\"type\": \"ByteLevel\"}, \"added_tokens\": "
             "[{\"id\": 0, "
             "\"content\": \"</s>\", \"special\": true}]}",
             vocabulary);
    make_model(CHECKPOINT, "ids", "{\"bos_token_id\": 0, \"eos_token_id\": 0, \"pad_token_id\": null}");
    scratch_write("ids", "tokenizer.json", tokenizer, -1);
    for (int i = 0; i <= ID_TARGETS; i++) ids[i] = (uint16_t)(i % 8);
    scratch_write(".", "known.ids", ids, sizeof ids);
    ids[300] = 8;
    scratch_write(".", "unknown.ids", ids, sizeof ids);
    const char *const names[] = {"known", "unknown"};
    for (int i = 0; i < 2; i++)
        program_expect(0, NULL, "pack %s.ids --tokens uint16 --vocab 320 --val-fraction 0 --out %s", names[i],
                       names[i]);
}

#define EVAL_IDS "eval --model ids --seq-len 512 --data "

// Of token ids there is a loss a byte too, where the folder's tokenizer says what bytes they are.
static void test_eval_ids(void **state) {
    (void)state;
    make_ids();
    json_t *json = program_json(EVAL_IDS "known/*.bin");
    double nats = json_number_value(json_object_get(json, "nats_per_target"));
    const int64_t bytes = ID_TARGETS / 8 * (1 + 2 + 3 + 4 + 5 + 6 + 7);
    assert_int_equal(json_integer_value(json_object_get(json, "targets")), ID_TARGETS);
    assert_int_equal(json_integer_value(json_object_get(json, "bytes")), bytes);
    assert_near(json_number_value(json_object_get(json, "nats_per_byte")), nats * ID_TARGETS / (double)bytes);
    assert_near(json_number_value(json_object_get(json, "bits_per_byte")),
                nats * ID_TARGETS / (double)bytes / log(2.0));
    json_decref(json);
    program_expect(0, "no loss a byte: --data holds ids that its tokenizer.json does not have",
                   EVAL_IDS "unknown/*.bin");
    json = program_json(EVAL_IDS "unknown/*.bin");
    assert_null(json_object_get(json, "bytes"));
    json_decref(json);
    scratch_write("ids", "tokenizer.json", "{", -1);
    program_expect(0, "no loss a byte: ids/tokenizer.json:1: not valid JSON", EVAL_IDS "known/*.bin");
}

// Under Lighthouse attention, with what the checkpoint was trained with: options, and the gates of gla.
static void test_eval_lighthouse(void **state) {
    (void)state;
    static const char *const scorers[] = {"norm", "dilated", "gla"};
    for (int i = 0; i < 3; i++) {
        char run[32], options[128];
        snprintf(run, sizeof run, "eval_%s", scorers[i]);
        program_expect(0, NULL,
                       TINY_TRAIN "--out %s --steps 4 --scorer %s --dense-layers none --val-every 4 --seed 3",
                       run, scorers[i]);
        snprintf(options, sizeof options, "--model %s --attention lighthouse", run);
        double loss = loss_of(options);
        assert_near(loss, validation_of(run, "lighthouse"));
        assert_true(fabs(loss - validation_of(run, "dense")) > 1e-6);
        snprintf(options, sizeof options, "--model %s --attention lighthouse --dense-layers all", run);
        assert_near(loss_of(options), validation_of(run, "dense"));
    }
    // Gates that a folder lacks are not drawn anew.
    checkpoint_copy("eval_gla/step_00000004", "gateless", false);
    program_expect(
        2, "gateless has no gates of the scorer gla",
        "eval --model gateless --data val_*.bin --attention lighthouse --scorer gla --dense-layers none "
        "--levels 2 --pool 2 --topk 128");
    program_expect(2, "has no gates of the scorer gla",
                   "eval --model eval_norm --data val_*.bin --attention lighthouse --scorer gla");
    program_expect(2, "nearest: ", "eval --model run --data val_*.bin --attention lighthouse --topk 1024");
    program_expect(2, "--topk has no meaning under dense attention",
                   "eval --model run --data val_*.bin --topk 128");
    program_expect(2, "--dilation has no meaning with --scorer norm",
                   "eval --model eval_norm --data val_*.bin --attention lighthouse --dilation 2");
    Outcome same = program_run("eval --model eval_norm --data val_*.bin --attention lighthouse");
    assert_int_equal(same.status, 0);
    assert_null(strstr(same.err, "other settings"));
    outcome_free(&same);
    program_expect(
        0, "eval_norm/step_00000004 was trained under other settings: scorer norm -> dilated, dilation",
        "eval --model eval_norm --data val_*.bin --attention lighthouse --scorer dilated --dilation 2");
}

// ---- generate

// What a model makes of a prompt, which may hold blanks.
static char *generated(const char *model, const char *prompt, const char *options) {
    char line[256], *rest = NULL;
    const char *words[32] = {"generate", "--model", model, "--prompt", prompt};
    int count = 5;
    snprintf(line, sizeof line, "%s", options);
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    words[count] = NULL;
    Outcome outcome = program_run_words(words);
    size_t length = strlen(outcome.out);
    if (outcome.status != 0) fail_msg("generate: status %d, %s", outcome.status, outcome.err);
    if (strncmp(outcome.out, prompt, strlen(prompt)) != 0)
        fail_msg("'%s' does not begin with the prompt", outcome.out);
    free(outcome.err);
    if (length > 0 && outcome.out[length - 1] == '\n') outcome.out[length - 1] = 0;
    return outcome.out;
}

// The letters of the alphabet, over and over.
static char *alphabet(int first, int count) {
    char *text = (char *)alloc_or_exit((size_t)count + 1, 1);
    for (int i = 0; i < count; i++) text[i] = (char)('a' + (first + i) % 26);
    return text;
}

// The likeliest bytes are the next letters, however the prompt is cut into pieces of 256 tokens (BOS is one),
// and whether a letter comes from the prompt or was generated.
static void test_generate_greedy(void **state) {
    (void)state;
    static const int lengths[] = {1, 5, 200, 254, 255, 256, 257, 300, 511, 512, 600};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int length = lengths[i];
        char *prompt = alphabet(7, length), *wanted = alphabet(7, length + 8);
        char *text = generated("run", prompt, "--temperature 0 --max-bytes 8");
        assert_string_equal(text, wanted);
        free(text);
        free(prompt);
        free(wanted);
    }
}

static void expect_ids(const char *wanted, const char *model, const char *prompt) {
    char *text =
        program_output("generate --model %s --prompt-ids %s --temperature 0 --max-bytes 6", model, prompt);
    assert_string_equal(text, wanted);
    free(text);
}

// Ids go in and come out as numbers, of any model, up to a mark that its config.json names as an end.
static void test_generate_ids(void **state) {
    (void)state;
    expect_ids("256 97 98 99 100 101 102 103 104\n", "run", "256,97,98");
    DONE("export --model run --out marked");
    json_t *config = json_load_file("marked/config.json", 0, NULL);
    json_object_set_new(config, "bos_token_id", json_integer(1));
    json_object_set_new(config, "eos_token_id", json_pack("[i, i]", 7, 101));
    assert_int_equal(json_dump_file(config, "marked/config.json", 0), 0);
    json_decref(config);
    program_expect(2, NULL, "generate --model marked --prompt ab");
    expect_ids("256 97 98 99 100 101\n", "marked", "256,97,98");
    scratch_write("marked", "generation_config.json", "{\"eos_token_id\": [5, 103]}", -1); // of a chat model
    expect_ids("256 97 98 99 100 101 102 103\n", "marked", "256,97,98");
    scratch_write("marked", "generation_config.json", "{\"eos_token_id\": \"a\"}", -1);
    program_expect(3, "marked/generation_config.json: eos_token_id is neither an id nor",
                   "generate --model marked --prompt-ids 97");
    scratch_write("marked", "generation_config.json", "{\"eos_token_id\": null}", -1);
    expect_ids("256 97 98 99 100 101\n", "marked", "256,97,98");
    static const char *const no_marks[] = {"\"101\"", "[101, \"102\"]", "{}"};
    for (size_t i = 0; i < 3; i++) {
        config = json_load_file("marked/config.json", 0, NULL);
        json_object_set_new(config, "eos_token_id", json_loads(no_marks[i], JSON_DECODE_ANY, NULL));
        assert_int_equal(json_dump_file(config, "marked/config.json", 0), 0);
        json_decref(config);
        program_expect(3, "eos_token_id is neither an id nor", "generate --model marked --prompt-ids 97");
    }
    static const char *const bad[][2] = {{"264", "'264' is no id from 0 to 263"},
                                         {"1,-1", "'-1' is no id"},
                                         {"1,2x", "'2x' is no id"},
                                         {"99999999999999999999", "is no id"},
                                         {",", "no id is given"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        program_expect(2, bad[i][1], "generate --model run --prompt-ids %s", bad[i][0]);
    program_expect(2, "leave out --prompt and", "generate --model run --prompt-ids 1 --prompt a");
    program_expect(2, "leave out --prompt and", "generate --model run --prompt-ids 1 --prompt-file none");
}

// Whether what follows a byte depends on more than that byte.
static bool depends_on_context(const char *text) {
    for (const char *a = text; a[0] && a[1]; a++) {
        const char *b = strchr(a + 1, a[0]);
        if (b && b[1] && b[1] != a[1]) return true;
    }
    return false;
}

// One long generation, and prompts that each take over a part of it. The models have been thrown about by far
// too high a learning rate, so that every token matters to what follows.
static void test_generate_cache(void **state) {
    (void)state;
    static const size_t taken[] = {8, 100, 255, 256, 257, 290};
    int telling = 0;
    for (int seed = 1; seed <= 6; seed++) {
        char model[32], options[64];
        snprintf(model, sizeof model, "wild_%d", seed);
        program_expect(
            0, NULL, TINY_TRAIN "--out %s --steps 3 --lr 0.3 --warmup 0 --weight-decay 0 --clip 0 --seed %d",
            model, seed);
        char *whole = generated(model, "a zebra", "--temperature 0 --max-bytes 300"), *bytes = strdup(whole);
        size_t length = strlen(whole); // shorter where a byte 0 or the end of the document came up
        telling += depends_on_context(whole + 7) && length > 257;
        for (size_t i = 0; i < sizeof taken / sizeof *taken && taken[i] < length; i++) {
            bytes[taken[i]] = 0;
            snprintf(options, sizeof options, "--temperature 0 --max-bytes %d", (int)(307 - taken[i]));
            char *text = generated(model, bytes, options);
            assert_string_equal(text, whole);
            free(text);
            bytes[taken[i]] = whole[taken[i]];
        }
        free(bytes);
        free(whole);
    }
    assert_true(telling > 0);
}

static void test_generate_sampling(void **state) {
    (void)state;
    const char *hot = "--temperature 3 --top-p 1 --max-bytes 40";
    char *one = generated("run", "abc", hot), *again = generated("run", "abc", hot);
    char *other = generated("run", "abc", "--temperature 3 --top-p 1 --max-bytes 40 --seed 2");
    assert_string_equal(one, again);
    assert_string_not_equal(one, other);
    // So small a nucleus holds the likeliest byte alone.
    char *narrow = generated("run", "abc", "--temperature 3 --top-p 1e-6 --max-bytes 8 --seed 5");
    assert_string_equal(narrow, "abcdefghijk");
    free(one);
    free(again);
    free(other);
    free(narrow);

    free(generated("run", "two words\n\xc3\xa9", "--max-bytes 1"));
    free(program_output("generate --model run --max-bytes 3"));
}

// ---- info

static void expect_info(const char *path, const char *part) {
    char *text = program_output("info %s", path);
    if (!strstr(text, part)) fail_msg("info %s does not say '%s': %s", path, part, text);
    free(text);
}

static void test_info(void **state) {
    (void)state;
    expect_info("", "OpenBLAS");
    expect_info("train_0.bin", "shard of 1500 tokens (2 bytes each) in");
    expect_info(".", "val_0.bin: shard of 1537 tokens");
    expect_info(CHECKPOINT, "checkpoint after 24 steps, 36864 tokens, dense attention");
    expect_info("run", "checkpoint after 24 steps");
    expect_info("run", "\"switch-at\": 20");
    checkpoint_copy(CHECKPOINT, "model", false);
    expect_info("model", "Llama of ");
    expect_info("model", "2 layers, dim 64, 2/1 heads of 64, ffn 64, vocabulary 264, context 768");
    expect_info("model --verify", "every tensor is there, and finite; no hashes to verify");
    file_copy("model/config.json", "hollow/config.json");
    expect_info("hollow", "2 layers");
    program_expect(3, "neither model.safetensors nor", "info hollow --verify");
    program_expect(2, "--verify needs a path", "info --verify");
    expect_info("train_*.bin", "train_1.bin: shard of"); // a pattern in quotes
    program_expect(3, "no file matches none_*.bin", "info none_*.bin");
    expect_info("train_0.bin train_1.bin run", "train_1.bin: shard of"); // a pattern without quotes
    expect_info("train_0.bin train_1.bin run", "checkpoint after 24 steps");
    Outcome several = program_run("info nothing train_1.bin");
    assert_int_equal(several.status, 3);
    expect_part(several.err, "nothing");
    expect_part(several.out, "train_1.bin: shard of");
    outcome_free(&several);
    program_expect(3, "run/log.jsonl is one of the files of run: `info run` tells what that is",
                   "info run/log.jsonl");
    const char *const words[] = {"info", "", NULL};
    Outcome outcome = program_run_words(words);
    assert_int_equal(outcome.status, 2);
    expect_part(outcome.err, "the path is empty");
    outcome_free(&outcome);
    program_expect(3, "lists and braces are not taken: give one pattern",
                   "eval --model model --data train_0.bin,train_1.bin");
    scratch_write("run", "step_notes/note", "x", -1); // no checkpoint's name
    expect_info("run --verify", "right");
    expect_info(". --verify", "hash right");
    file_copy("val_0.bin", "odd[1]/val_0.bin"); // a folder's name is no pattern
    expect_info("odd[1]", "odd[1]/val_0.bin: shard of 1537 tokens");
    file_copy("val_0.bin", "model/val_0.bin"); // beside a model
    scratch_write("model", "training_args.bin", "PK", -1);
    expect_info("model", "Llama of ");
    expect_info("model --verify", "model/val_0.bin: shard of 1537 tokens (2 bytes each) in ");
    assert_int_equal(remove("model/val_0.bin") + remove("model/training_args.bin"), 0);
    file_copy("run/run.json", "begun/run.json");
    expect_info("begun", "begun: no checkpoint");
    program_expect(3, "holds no shard, checkpoint, model or run", "info run/step_00000024/trainer");
    program_expect(3, "`info run/step_00000024` tells what that is",
                   "info run/step_00000024/trainer/state.json");
    scratch_write(".", "train_0.bin.gz", "\x1f\x8b\x08", 3);
    program_expect(3, "train_0.bin.gz is gzip: a shard is decompressed first (gunzip)",
                   "info train_0.bin.gz");
    assert_int_equal(remove("train_0.bin.gz"), 0);
    program_expect(3, "nothing", "info nothing");
    program_expect(3, "tiny.json is JSON", "info tiny.json");
}

// One flipped bit in any file of a checkpoint or shard is found, by --verify and by what would use it.
static void test_verify(void **state) {
    (void)state;
    static const char *const names[] = {CHECKPOINT_FILES_TOP, "trainer/state.json",
                                        "trainer/optimizer.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        checkpoint_copy(CHECKPOINT, "flipped/step_00000024", true);
        free(scratch_read("flipped/step_00000024", names[i], &size));
        scratch_flip("flipped/step_00000024", names[i], size * 3 / 4, 1);
        program_expect(3, names[i], "info flipped/step_00000024 --verify");
        program_expect(3, names[i], "train --resume flipped/step_00000024 --steps 30");
        // A model is read without optimizer and tokenizer.
        bool used = i < 2 || i == 4;
        program_expect(used ? 3 : 0, used ? names[i] : NULL,
                       "eval --model flipped/step_00000024 --data val_*.bin");
    }
    checkpoint_copy(CHECKPOINT, "flipped/step_00000024", true);
    free(program_output("info flipped/step_00000024 --verify"));

    file_copy("train_0.bin", "shards/train_0.bin");
    file_flip_bit("shards/train_0.bin", 1000);
    program_expect(0, NULL, "info shards/train_0.bin"); // the header is right
    program_expect(3, "shards/train_0.bin", "info shards/train_0.bin --verify");
    program_expect(3, "shards/train_0.bin", "info shards --verify");
    file_copy("shards/train_0.bin", "shards/train_1.bin"); // each damaged one is named
    Outcome outcome = program_run("info shards --verify");
    assert_non_null(strstr(outcome.out, "shards/train_0.bin: DAMAGED: "));
    assert_non_null(strstr(outcome.out, "shards/train_1.bin: DAMAGED: "));
    outcome_free(&outcome);
    assert_int_equal(remove("shards/train_1.bin"), 0);
    program_expect(3, "shards/train_0.bin", TINY_TRAIN "--data shards/*.bin --out damaged --steps 2");
    assert_false(folder_exists("damaged/step_00000002"));
    program_expect(3, "shards/train_0.bin", "eval --model run --data shards/*.bin");
}

// ---- Bad files

static void test_bad_data(void **state) {
    (void)state;
    static const struct {
        const char *line, *part;
    } refusals[] = {
        {TINY_TRAIN "--out bad --data none_*.bin", "error: --data: no file matches none_*.bin"},
        {TINY_TRAIN "--out bad --data gone/*.bin", "error: --data: cannot list the files of gone/*.bin"},
        {TINY_TRAIN "--out bad --val none_*.bin --val-every 1", "error: --val: no file matches none_*.bin"},
        {TINY_TRAIN "--out bad --val val_0.bin:1 --val-every 1", "leave out the number behind the colon"},
        {TINY_TRAIN "--out bad --data tiny.json", "tiny.json is JSON; make shards of it with `pack`"},
        {TINY_TRAIN "--out bad --seq-len 4096", "too few for one sequence of 4096 + 1"},
        {TINY_TRAIN "--out bad --data cut_*.bin", "shard cut_0.bin is cut short"},
        {TINY_TRAIN "--out tiny.json/run", "tiny.json"},
        {"eval --model run --data none.bin", "error: --data: no file matches none.bin"},
        {"eval --model run --data val_*.bin --seq-len 100000", "use --seq-len 1536 or less"},
        {"eval --model none --data val_*.bin", "none: no such run or checkpoint"},
        {"train --resume none --steps 9", "none: no such run or checkpoint"},
        {"train --resume shards_only --steps 9", "neither a checkpoint nor a run with one"},
        {"generate --model shards_only", "neither a checkpoint nor a run with one"},
        {"generate --model bert",
         "there are llama|mistral|smollm3|qwen2|qwen3; what it has beyond these is not known"},
        {TINY_TRAIN "--out bad --init bert",
         "there are llama|mistral|smollm3|qwen2|qwen3; what it has beyond these is not known"},
        {TINY_TRAIN "--out bad --init none", "none"},
        {"eval --model run --data shards_only",
         "shards_only is a folder, no shard; name its shards, as 'data"},
        {"generate --model headless", "neither model.safetensors nor model.safetensors.index.json is there"},
        {"pack none.txt --out packed", "none.txt"},
        {"pack bad.jsonl --out packed", "bad.jsonl"},
    };
    size_t size;
    char *bytes = scratch_read(".", "train_0.bin", &size);
    scratch_write(".", "cut_0.bin", bytes, (int64_t)size - 1);
    free(bytes);
    file_copy("val_0.bin", "shards_only/val_0.bin");
    scratch_write("bert", "config.json", "{\"model_type\": \"bert\"}", -1);
    file_copy(CHECKPOINT "/config.json", "headless/config.json");
    scratch_write(".", "bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \n", -1);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        program_expect(3, refusals[i].part, "%s", refusals[i].line);
    assert_false(folder_exists("bad")); // found before the run's folder is made
    assert_false(file_exists("packed/train_00000.bin"));
}

// A model whose embedding is not finite has no loss and no next byte.
static void test_not_finite(void **state) {
    (void)state;
    checkpoint_copy(CHECKPOINT, "broken", false);
    size_t size;
    char *bytes = scratch_read("broken", "model.safetensors", &size);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    memset(bytes + sizeof header + header, 0xff, size - sizeof header - header);
    scratch_write("broken", "model.safetensors", bytes, (int64_t)size);
    free(bytes);
    program_expect(5, "the loss is", "eval --model broken --data val_*.bin");
    program_expect(5, "the logit of token 0 is", "generate --model broken");
}

static void test_shared_shards(void **state) {
    (void)state;
    const char *warning = "val_0.bin of --val holds the same tokens as ";
    program_expect(0, warning, TINY_TRAIN "--out shared --steps 1 --val-every 1 --data [tv]*_0.bin");
    program_expect(0, warning, TINY_TRAIN "--out shared_too --steps 1 --val-every 1 --data ./[tv]*_0.bin");
    file_copy("val_0.bin", "train_9.bin");
    program_expect(0, warning, TINY_TRAIN "--out copied --steps 1 --val-every 1");
    assert_int_equal(unlink("train_9.bin"), 0);
    Outcome outcome = program_run(TINY_TRAIN "--out apart --steps 1 --val-every 1");
    assert_int_equal(outcome.status, 0);
    assert_null(strstr(outcome.err, "of --val holds the same tokens as"));
    outcome_free(&outcome);
}

// A run goes on from the checkpoint before a damaged one, and says so.
static void test_damaged_run(void **state) {
    (void)state;
    program_expect(0, NULL, TINY_TRAIN "--out two --steps 4 --checkpoint-every 2");
    scratch_write("two/step_00000004", "model.safetensors", "short", -1);
    program_expect(0, "passing over a damaged checkpoint", "train --resume two --steps 4");
    program_expect(0, NULL, "info two --verify");
    program_expect(0, NULL, TINY_TRAIN "--out whole --steps 4");
    expect_same_steps("two", "whole", 4);
    expect_same_checkpoint("two", "whole", 4);
    scratch_write("two/step_00000004", "model.safetensors", "short", -1);
    scratch_write("two/step_00000002", "model.safetensors", "short", -1);
    program_expect(3, "none of its 2 checkpoints is whole", "train --resume two --steps 4");
    program_expect(3, "damaged: 5 bytes", "info two --verify");
}

// ---- From text to text

static void test_pack_train_generate(void **state) {
    (void)state;
    scratch_write("texts", "one.txt", "", -1);
    char *text = alphabet(0, 4000);
    scratch_write("texts", "one.txt", text, -1);
    scratch_write("texts", "two.txt", text, 3000);
    free(text);
    char *packed = program_output("pack texts --out shards_of_text --val-fraction 0 --threads 2");
    assert_string_equal(packed, "packed into shards_of_text: training 2 documents, 7004 tokens, 1 shard; "
                                "validation 0 documents, 0 tokens, 0 shards\n");
    free(packed);
    free(program_output(TINY_TRAIN "--data shards_of_text/train_*.bin --out from_text --steps 20"));
    char *sample = program_output("generate --model from_text --prompt klm --temperature 0 --max-bytes 4");
    assert_string_equal(sample, "klmnopq\n");
    free(sample);
}

// Beyond `ulimit -f` a write fails, and says so.
static void test_file_limit(void **state) {
    (void)state;
    char *text = alphabet(0, 40000);
    scratch_write("long_texts", "one.txt", text, -1);
    free(text);
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 1 << 14;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    program_expect(3, "File too large", "pack long_texts --out limited --val-fraction 0");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_false(folder_exists("limited"));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eval),
        cmocka_unit_test(test_eval_ids),
        cmocka_unit_test(test_eval_lighthouse),
        cmocka_unit_test(test_generate_greedy),
        cmocka_unit_test(test_generate_ids),
        cmocka_unit_test(test_generate_cache),
        cmocka_unit_test(test_generate_sampling),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_shared_shards),
        cmocka_unit_test(test_damaged_run),
        cmocka_unit_test(test_pack_train_generate),
        cmocka_unit_test(test_file_limit),
    };
    return cmocka_run_group_tests_name("commands", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
