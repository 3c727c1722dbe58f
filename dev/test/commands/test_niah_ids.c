// niah of models of token ids: its trials out of a file of needles and of shards, and what is refused. Filler
// from shards for a model of bytes.
#include "core/base/bytes.h"
#include "core/commands/niah.h"
#include "core/commands/niah_task.h"
#include "core/data/passkey.h"
#include "core/model/tokenizer.h"
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

#include <cmocka.h>

#define CYCLE 97  // filler is ids 100, 101, ..., 196 and again 100
#define TURNS 12  // of it in the shards
#define VOCAB 264 // of the tiny models
#define NEEDLE                                                                                   \
    "{\"text\": \"the key: D\", \"begin\": [5], \"question\": [10, 11, 12], \"marks\": [5, 6], " \
    "\"needles\": "
// The needle of 3 is longer than the others.
#define NEEDLES                                                                                      \
    "[[10,11,12,20,13], [10,11,12,21,13], [10,11,12,22,13], [10,11,12,23,50,13], [10,11,12,24,13], " \
    "[10,11,12,25,13], [10,11,12,26,13], [10,11,12,27,13], [10,11,12,28,13], [10,11,12,29,13]]}"

// A model of ids of one step, and two shards with marks at odd places.
static void make_shards(void) {
    int32_t tokens[2 * CYCLE * TURNS];
    int64_t count = 0, cut;
    for (int64_t i = 0; i < (int64_t)CYCLE * TURNS; i++) {
        if (i % 40 == 7) tokens[count++] = 6;
        if (i % 40 == 7) tokens[count++] = 5;
        tokens[count++] = 100 + (int32_t)(i % CYCLE);
    }
    cut = count / 3;
    shard_make("ids_0.bin", 2, tokens, cut);
    shard_make("ids_1.bin", 2, tokens + cut, count - cut);
    for (int64_t i = 0; i < count; i++) tokens[i] = 5;
    shard_make("marks_0.bin", 2, tokens, count);
}

// Shards are made as those of bytes; byte 40 of the header, and its hash, say what they are.
static void make_ids(const char *path) {
    size_t size;
    char *shard = scratch_read(".", path, &size);
    shard_put((unsigned char *)shard + 40, 4, SHARD_IDS);
    shard_put((unsigned char *)shard + 56, 8, XXH3_64bits(shard, 56));
    scratch_write(".", path, shard, (int64_t)size);
    free(shard);
}

static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    make_shards();
    make_ids("ids_0.bin");
    make_ids("ids_1.bin");
    make_ids("marks_0.bin");
    scratch_write(".", "needle.json", NEEDLE NEEDLES, -1);
    DONE(TINY_TRAIN "--out run --steps 1");
    DONE(TINY_TRAIN "--data ids_1.bin --val ids_0.bin --out ids --steps 1");
    return 0;
}

// ---- Trials

static void open_task(NiahTask *task, char *model, const char *data, const char *needle) {
    char *words[] = {(char *)"program", (char *)"niah", (char *)"--model",  model,
                     (char *)"--data",  (char *)data,   (char *)"--needle", (char *)needle};
    Options options;
    Error error;
    bool done;
    ModelConfig config;
    memset(&config, 0, sizeof config);
    config.vocab_size = VOCAB;
    if (!options_parse(&options, needle ? 8 : 6, words, &done, &error) ||
        !niah_task_open(task, &options, model, &config, &error))
        fail_msg("%s", error.message);
    options_free(&options);
}

static int trial_of(NiahTask *task, uint64_t seed, uint64_t number, double depth, int64_t length,
                    int32_t *tokens) {
    Error error;
    int digit = -1;
    if (!niah_task_trial(task, seed, number, depth, length, tokens, &digit, &error))
        fail_msg("%s", error.message);
    return digit;
}

static int64_t needle_size(int digit) {
    return digit == 3 ? 6 : 5;
}

// Part by part: filler goes on over the needle, over marks, shards, and the end of the data.
static void check_trial(const int32_t *tokens, double depth, int64_t length, int digit) {
    static const int32_t question[] = {10, 11, 12};
    int64_t filler = length - 1 - needle_size(digit) - 3, before = llround(depth * (double)filler);
    const int32_t *needle = tokens + 1 + before, *end = tokens + length - 3;
    assert_int_equal(tokens[0], 5);
    assert_memory_equal(needle, question, sizeof question);
    assert_int_equal(needle[3], 20 + digit);
    assert_int_equal(needle[needle_size(digit) - 1], 13);
    assert_memory_equal(end, question, sizeof question);
    int32_t last = -1;
    for (const int32_t *at = tokens + 1; at < end; at++) {
        if (at == needle) at += needle_size(digit);
        if (at == end) break;
        if (last >= 0) assert_int_equal(*at, 100 + (last - 100 + 1) % CYCLE);
        assert_in_range(*at, 100, 100 + CYCLE - 1);
        last = *at;
    }
}

static void test_trials(void **state) {
    (void)state;
    enum { LONGEST = 3000 }; // more than all shards have
    static const int64_t lengths[] = {64, 65, 700, LONGEST};
    static const double depths[] = {0, 0.3, 1};
    static int32_t tokens[LONGEST], again[LONGEST];
    int seen[NIAH_ANSWERS] = {0}, starts = 0;
    NiahTask task;
    open_task(&task, (char *)"ids/step_00000001", "ids_*.bin", "needle.json");
    for (uint64_t number = 0; number < 60; number++) {
        for (int i = 0; i < 12; i++) {
            int64_t length = lengths[i % 4];
            double depth = depths[i / 4];
            int digit = trial_of(&task, 1, number, depth, length, tokens);
            check_trial(tokens, depth, length, digit);
            assert_int_equal(trial_of(&task, 1, number, depth, length, again), digit);
            assert_memory_equal(tokens, again, (size_t)length * sizeof *tokens);
            seen[digit]++;
        }
        starts += tokens[1] > 100 + CYCLE / 2; // anywhere in the data
    }
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) assert_true(seen[digit] > 0);
    assert_in_range(starts, 15, 45);
    trial_of(&task, 1, 3, 1, 700, tokens);
    trial_of(&task, 2, 3, 1, 700, again);
    assert_memory_not_equal(tokens, again, 690 * sizeof *tokens);
    niah_task_close(&task);
}

// The same of a model of bytes, whose needle is its own.
static void test_bytes(void **state) {
    (void)state;
    enum { LENGTH = 300, FILLER = LENGTH - 1 - (int)PASSKEY_MIN_BYTES };
    int32_t tokens[LENGTH];
    char text[LENGTH], wanted[64];
    NiahTask task;
    open_task(&task, (char *)"run/step_00000001", "val_*.bin", NULL);
    int digit = trial_of(&task, 1, 7, 0.5, LENGTH, tokens);
    assert_int_equal(tokens[0], TOKEN_BOS);
    for (int i = 1; i < LENGTH; i++) {
        assert_in_range(tokens[i], 0, 255); // no mark is among them
        text[i - 1] = (char)tokens[i];
    }
    snprintf(wanted, sizeof wanted, PASSKEY_PHRASE "%d" PASSKEY_END, digit);
    assert_memory_equal(text + FILLER / 2, wanted, strlen(wanted));
    assert_memory_equal(text + LENGTH - 1 - strlen(PASSKEY_PHRASE), PASSKEY_PHRASE, strlen(PASSKEY_PHRASE));
    for (int i = 1; i < FILLER / 2; i++) assert_int_equal(text[i], 'a' + (text[i - 1] - 'a' + 1) % 26);
    niah_task_close(&task);
}

// ---- Measures, by an engine that reads

static EngineApi told;

// Finds the question and says what stood behind it, if it is near enough; else the answer to 4.
static bool answer(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                   Error *error) {
    (void)error;
    int64_t V = engine->config.model.vocab_size;
    memset(logits, 0, (size_t)(batch * V) * sizeof *logits);
    for (int64_t b = 0; b < batch; b++) {
        const int32_t *row = tokens + b * context;
        int64_t at = 0;
        while (row[at] != 10) at++;
        logits[b * V + (context - at < 200 ? row[at + 3] : 24)] = 2;
        logits[b * V + 99] = 9; // no answer: does not count
    }
    return true;
}

static Engine *create_told(const EngineConfig *config, Error *error) {
    Engine *engine = engine_cpu()->create(config, error);
    if (engine) engine->api = &told;
    return engine;
}

static void test_measures(void **state) {
    (void)state;
    char *words[] = {(char *)"program",   (char *)"niah",      (char *)"--model",  (char *)"ids",
                     (char *)"--lengths", (char *)"150,700",   (char *)"--trials", (char *)"7",
                     (char *)"--data",    (char *)"ids_*.bin", (char *)"--needle", (char *)"needle.json",
                     (char *)"--out",     (char *)"measured",  (char *)"--depths", (char *)"0,100"};
    Options options;
    Ranks ranks;
    Error error;
    bool done;
    ranks_imagine(&ranks, 1, 1);
    told = *engine_cpu();
    told.create = create_told;
    told.predict = answer;
    bool ok = options_parse(&options, sizeof words / sizeof *words, words, &done, &error) &&
              niah_measure(&told, &options, &ranks, &error);
    if (!ok) fail_msg("%s", error.message);
    options_free(&options);
    char *text = scratch_read("measured", "summary.json", NULL);
    json_t *summary = json_loads(text, 0, NULL), *rates = json_object_get(summary, "rates");
    json_t *question = json_pack("[i, i, i]", 10, 11, 12);
    assert_true(json_number_value(json_array_get(json_array_get(rates, 0), 0)) == 1);  // near
    assert_true(json_number_value(json_array_get(json_array_get(rates, 1), 0)) < 0.6); // far
    assert_true(json_number_value(json_array_get(json_array_get(rates, 1), 1)) == 1);
    assert_string_equal(json_string_value(json_object_get(summary, "needle")), "the key: D");
    assert_true(json_equal(json_object_get(summary, "question"), question));
    assert_string_equal(json_string_value(json_object_get(summary, "data")), "ids_*.bin");
    json_decref(question);
    json_decref(summary);
    free(text);
}

// ---- The command

#define TRIAL "--lengths 64 --depths 50 --trials 1 "

static void test_command(void **state) {
    (void)state;
    json_t *summary = program_json("niah --model ids --needle needle.json --data ids_*.bin " TRIAL);
    assert_int_equal(json_integer_value(json_object_get(summary, "trials")), 1);
    json_decref(summary);
    program_expect(
        0, "--data holds 1222 tokens: in trials of up to 2000 its text comes more than once",
        "niah --model ids --needle needle.json --data ids_*.bin --lengths 2000 --depths 50 --trials 1");
}

static void refused(int status, const char *part, const char *file) {
    scratch_write(".", "bad.json", file, -1);
    program_expect(status, part, "niah --model ids --needle bad.json --data ids_*.bin " TRIAL);
}

static void test_refusals(void **state) {
    (void)state;
    program_expect(2, "is no model of bytes: it needs --needle", "niah --model ids " TRIAL);
    program_expect(2, "it needs --needle", "niah --model ids --needle needle.json " TRIAL);
    program_expect(2, "run/step_00000001 is a model of bytes, which has its own",
                   "niah --model run --needle needle.json " TRIAL);
    program_expect(3, "--needle: cannot open none.json",
                   "niah --model ids --needle none.json --data ids_*.bin " TRIAL);
    program_expect(3, "no file matches none_*", "niah --model ids --needle needle.json --data none_* " TRIAL);
    program_expect(2, "holds bytes", "niah --model ids --needle needle.json --data val_*.bin " TRIAL);
    program_expect(2, "holds token ids", "niah --model run --data ids_*.bin " TRIAL);
    program_expect(3, "hold marks of documents alone",
                   "niah --model ids --needle needle.json --data marks_*.bin " TRIAL);
    refused(3, "is no file of needles", "{}");
    refused(3, "is no file of needles", NEEDLE "[[10,11,12,20]]}");
    refused(3, "is no file of needles",
            "{\"text\": \"D\", \"begin\": [264], \"question\": [], \"marks\": [], \"needles\": " NEEDLES);
    refused(3, "not the question and ten different answers",
            NEEDLE
            "[[10,11,12,20], [10,11,12,20], [10,11,12,22], [10,11,12,23], [10,11,12,24], [10,11,12,25], "
            "[10,11,12,26], [10,11,12,27], [10,11,12,28], [10,11,12,29]]}");
    refused(3, "not the question and ten different answers",
            NEEDLE "[[10,11,12], [10,11,12,21], [10,11,12,22], [10,11,12,23], [10,11,12,24], [10,11,12,25], "
                   "[10,11,12,26], [10,11,12,27], [10,11,12,28], [10,11,12,29]]}");
    refused(3, "not the question and ten different answers",
            NEEDLE
            "[[10,9,12,20], [10,11,12,21], [10,11,12,22], [10,11,12,23], [10,11,12,24], [10,11,12,25], "
            "[10,11,12,26], [10,11,12,27], [10,11,12,28], [10,11,12,29]]}");
    ByteBuffer file = {NULL, 0, 0};
    bytes_printf(&file, "{\"text\": \"D\", \"begin\": [");
    for (int i = 0; i < 56; i++) bytes_printf(&file, "5,");
    bytes_printf(&file, "5], \"question\": [10,11,12], \"marks\": [], \"needles\": " NEEDLES);
    bytes_append(&file, "", 1);
    refused(3, "take 65 tokens, more than 64", file.data);
    bytes_free(&file);
    file_flip_bit("ids_1.bin", -3); // before a trial is made
    program_expect(3, "--data: shard ids_1.bin",
                   "niah --model ids --needle needle.json --data ids_*.bin " TRIAL);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trials),  cmocka_unit_test(test_bytes),    cmocka_unit_test(test_measures),
        cmocka_unit_test(test_command), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, temporary_folder_leave);
}
