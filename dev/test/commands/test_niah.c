// niah: the texts of its trials, how answers are judged and summed up, and the command with all it writes.
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/commands/niah.h"
#include "core/commands/niah_report.h"
#include "core/data/passkey.h"
#include "core/model/tokenizer.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Every test runs in a folder with a model of one step, which knows nothing.
static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    program_expect(0, NULL, TINY_TRAIN "--out run --steps 1");
    return 0;
}

// ---- Texts

// Checks a text part by part; gives the bytes of filler before the needle.
static int64_t check_text(const char *text, int64_t size, int digit) {
    const char needle[] = {
        '\n', 'T',  'h', 'e', ' ', 'p', 'a', 's', 's', 'k', 'e', 'y', ' ', 'i', 's', ' ', (char)('0' + digit),
        '.',  '\n', 0};
    const char question[] = "\nThe passkey is ";
    char *copy = strndup(text, (size_t)size);
    assert_non_null(copy);
    char *place = strstr(copy, needle), *end = strstr(place ? place + strlen(needle) - 1 : copy, question);
    if (!place) fail_msg("no needle of %d in %s", digit, copy);
    // The needle's last byte may be the question's first only where both are there in full.
    if (end && end < place + strlen(needle)) end = strstr(place + strlen(needle), question);
    if (!end || end[strlen(question)]) fail_msg("no question at the end of %s", copy);
    for (const char *at = copy; at < end; at++) {
        if (at == place) at += strlen(needle);
        if (at < end && !isalnum((unsigned char)*at)) fail_msg("filler holds %d", *at);
    }
    int64_t before = place - copy;
    free(copy);
    return before;
}

static void test_texts(void **state) {
    (void)state;
    static const double depths[] = {0, 0.25, 0.5, 1};
    enum { SIZE = 400 };
    char text[SIZE], again[SIZE];
    for (int64_t size = PASSKEY_MIN_BYTES; size <= SIZE; size += size == PASSKEY_MIN_BYTES ? 1 : 73) {
        for (int d = 0; d < 4; d++) {
            int digit = passkey_text(5, 77, depths[d], size, text);
            assert_int_equal(check_text(text, size, digit),
                             llround(depths[d] * (double)(size - PASSKEY_MIN_BYTES)));
            assert_int_equal(passkey_text(5, 77, depths[d], size, again), digit);
            assert_memory_equal(text, again, (size_t)size);
        }
    }
    passkey_text(5, 78, 1, SIZE, again);
    assert_memory_not_equal(text, again, 300);
    passkey_text(6, 77, 1, SIZE, again);
    assert_memory_not_equal(text, again, 300);
}

// Digits and filler are drawn evenly: each count within five standard deviations.
static void test_texts_are_even(void **state) {
    (void)state;
    enum { TEXTS = 2000, SIZE = 160 };
    int digits[10] = {0}, bytes[256] = {0};
    char text[SIZE];
    for (int i = 0; i < TEXTS; i++) {
        digits[passkey_text(1, (uint64_t)i, 0, SIZE, text)]++;
        for (int64_t at = 19; at < SIZE - 16; at++) bytes[(unsigned char)text[at]]++;
    }
    for (int i = 0; i < 10; i++) assert_true(abs(digits[i] - 200) < 5 * sqrt(180));
    double expected = TEXTS * (SIZE - 35) / 62.0;
    for (int i = 0; i < 256; i++) {
        if (!isalnum(i)) {
            assert_int_equal(bytes[i], 0);
        } else if (!(fabs(bytes[i] - expected) < 5 * sqrt(expected))) {
            fail_msg("%c comes %d times, not %.0f", i, bytes[i], expected);
        }
    }
}

// ---- Rates

// Bounds from the textbook formula, to four places.
static void test_intervals(void **state) {
    (void)state;
    static const struct {
        int64_t found, trials;
        double low, high;
    } rows[] = {{0, 10, 0, 0.2775}, {10, 10, 0.7225, 1},       {5, 10, 0.2366, 0.7634},
                {1, 1, 0.2065, 1},  {81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NiahRate rate = niah_rate(rows[i].found, rows[i].trials);
        if (!(fabs(rate.low - rows[i].low) < 6e-5 && fabs(rate.high - rows[i].high) < 6e-5)) {
            fail_msg("%d of %d: %.5f to %.5f", (int)rate.found, (int)rate.trials, rate.low, rate.high);
        }
    }
    assert_true(niah_rate(0, 10).low == 0 && niah_rate(10, 10).high == 1);
}

static void test_lists(void **state) {
    (void)state;
    NiahGrid grid;
    Error error;
    assert_true(niah_parse_lengths(&grid, "64,4K,12000,96k", &error));
    assert_int_equal(grid.n_lengths, 4);
    assert_int_equal(grid.lengths[0], 64);
    assert_int_equal(grid.lengths[1], 4096);
    assert_int_equal(grid.lengths[2], 12000);
    assert_int_equal(grid.lengths[3], 98304);
    assert_true(niah_parse_depths(&grid, "0,12.5,100", &error));
    assert_int_equal(grid.n_depths, 3);
    assert_true(grid.depths[1] == 12.5);

    static const char *const lengths[] = {"",   ",",     "63",  "4K,",  "4K,,8K", "4K,4K", "8K,4K",
                                          "4M", "100.5", "-4K", "1e12", "nan",    "4K 8K"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        if (niah_parse_lengths(&grid, lengths[i], &error)) fail_msg("--lengths %s is taken", lengths[i]);
        assert_int_equal(error.status, STATUS_USAGE);
        assert_non_null(strstr(error.message, "--lengths"));
    }
    static const char *const depths[] = {"", "50,", "-1", "101", "50,50", "60,40", "nan", "half", "0,0.001"};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        if (niah_parse_depths(&grid, depths[i], &error)) fail_msg("--depths %s is taken", depths[i]);
        assert_non_null(strstr(error.message, "--depths"));
    }
    char many[NIAH_MAX_STEPS * 5 + 32] = "100";
    for (int i = 1; i <= NIAH_MAX_STEPS; i++) snprintf(many + strlen(many), 16, ",%d", 100 + i);
    assert_false(niah_parse_lengths(&grid, many, &error));
    *strrchr(many, ',') = 0;
    assert_true(niah_parse_lengths(&grid, many, &error));
    assert_int_equal(grid.n_lengths, NIAH_MAX_STEPS);
}

// However many trials, a log tells of them at once, and not without end.
static void test_progress(void **state) {
    (void)state;
    int lines = 0;
    for (int second = 0; second < 3600; second++) lines += niah_says(second, second + 1);
    assert_int_equal(lines, 9); // at 10, 20, 40, ... 2,560 s
    assert_true(niah_says(0, 10) && niah_says(3, 1000) && niah_says(19.5, 20));
    assert_false(niah_says(0, 9.9) || niah_says(10, 19.9) || niah_says(20, 20));
}

// ---- Measures, by engines that answer as told

static EngineApi told;
static int64_t sight;   // tokens from the end within which the engine sees the needle; else it answers 3
static int64_t largest; // tokens of its largest pass
static int64_t sequences, passes;

static bool answer(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                   Error *error) {
    (void)error;
    int64_t V = engine->config.model.vocab_size;
    if (batch * context > largest) largest = batch * context;
    sequences += batch;
    passes++;
    memset(logits, 0, (size_t)(batch * V) * sizeof *logits);
    char *text = (char *)alloc_or_exit((size_t)context, 1);
    for (int64_t b = 0; b < batch; b++) {
        assert_int_equal(tokens[b * context], TOKEN_BOS);
        assert_int_equal(shards_text(tokens + b * context, context, text), context - 1);
        const char *needle = strchr(text, '\n');
        assert_non_null(needle);
        int digit = needle[16] - '0';
        check_text(text, context - 1, digit);
        bool seen = context - 1 - (needle - text) <= sight;
        logits[b * V + (seen ? '0' + digit : '3')] = 2;
        logits[b * V + 'e'] = 9; // no digit: does not count
    }
    free(text);
    return true;
}

static Engine *create_told(const EngineConfig *config, Error *error) {
    Engine *engine = engine_cpu()->create(config, error);
    if (engine) engine->api = &told;
    return engine;
}

// The summary of `niah` with an engine that sees `tokens` tokens back.
static json_t *measure(int64_t tokens, const char *lengths, const char *out) {
    char *words[] = {(char *)"program",   (char *)"niah",  (char *)"--model",  (char *)"run",
                     (char *)"--lengths", (char *)lengths, (char *)"--trials", (char *)"7",
                     (char *)"--out",     (char *)out};
    Options options;
    Ranks ranks;
    Error error;
    bool done;
    ranks_imagine(&ranks, 1, 1);
    told = *engine_cpu();
    told.create = create_told;
    told.predict = answer;
    sight = tokens;
    largest = sequences = passes = 0;
    bool ok = options_parse(&options, sizeof words / sizeof *words, words, &done, &error) &&
              niah_measure(&told, &options, &ranks, &error);
    if (!ok) fail_msg("%s", error.message);
    options_free(&options);
    char *path = path_join(out, "summary.json");
    json_t *summary = json_file_read(path, &error);
    if (!summary) fail_msg("%s", error.message);
    free(path);
    return summary;
}

static double rate_of(const json_t *summary, const char *by, size_t index) {
    return json_number_value(json_object_get(json_array_get(json_object_get(summary, by), index), "rate"));
}

static void test_all_found(void **state) {
    (void)state;
    json_t *summary = measure(INT64_MAX, "100,256,700", "all");
    assert_true(json_number_value(json_object_get(summary, "retrieval_rate")) == 1);
    assert_int_equal(json_integer_value(json_object_get(summary, "found")), 3 * 11 * 7);
    assert_int_equal(sequences, 3 * 11 * 7);
    assert_int_equal(largest, 700);
    assert_int_equal(passes, 11 + 39 + 77); // seven of 100 tokens at once, two of 256, one of 700
    json_decref(summary);
}

// Needles further back than the engine sees are found only where the digit happens to be its other answer.
static void test_seen_in_part(void **state) {
    (void)state;
    json_t *summary = measure(320, "256,700", "part");
    double far = rate_of(summary, "lengths", 1), expected = 0;
    int64_t by_chance = 0;
    assert_true(rate_of(summary, "lengths", 0) == 1);
    char *text = scratch_read("part", "trials.jsonl", NULL), *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *trial = json_loads(line, 0, NULL);
        if (!json_is_object(trial)) fail_msg("no JSON: %s", line);
        int64_t length = json_integer_value(json_object_get(trial, "length"));
        int64_t digit = json_integer_value(json_object_get(trial, "digit"));
        int64_t given = json_integer_value(json_object_get(trial, "answer"));
        double depth = json_number_value(json_object_get(trial, "depth"));
        bool found = json_is_true(json_object_get(trial, "found"));
        double p = json_number_value(json_object_get(trial, "probability"));
        double likely = exp(2) / (exp(2) + 9), unlikely = 1 / (exp(2) + 9);
        bool seen = length == 256 || depth >= 60;
        assert_int_equal(given, seen ? digit : 3);
        assert_true(found == (digit == given));
        assert_true(fabs(p - (found ? likely : unlikely)) < 1e-5);
        if (length == 700) expected += found / 77.0;
        by_chance += found && !seen;
        json_decref(trial);
    }
    free(text);
    assert_true(fabs(far - expected) < 1e-4);
    assert_in_range(by_chance, 1, 15); // of 42
    assert_true(rate_of(summary, "depths", 10) == 1);
    assert_true(rate_of(summary, "depths", 0) < 0.8);
    const json_t *rates = json_object_get(summary, "rates");
    assert_true(json_number_value(json_array_get(json_array_get(rates, 0), 0)) == 1);
    assert_true(json_number_value(json_array_get(json_array_get(rates, 1), 0)) < 0.6);
    json_decref(summary);
}

// However short, no more sequences at once than the logits have room for.
static void test_largest_batch(void **state) {
    (void)state;
    json_decref(measure(INT64_MAX, "64,70000", "batch")); // 1,093 of 64 tokens make one of the longest
    assert_int_equal(passes, 2 + 77);
}

// A length's trials are the same beside others and alone.
static void test_trials_stay(void **state) {
    (void)state;
    json_decref(measure(INT64_MAX, "128", "alone"));
    json_decref(measure(INT64_MAX, "100,128", "beside"));
    char *alone = scratch_read("alone", "trials.jsonl", NULL);
    char *beside = scratch_read("beside", "trials.jsonl", NULL);
    assert_string_equal(strstr(beside, "{\"length\": 128"), alone);
    free(alone);
    free(beside);
}

// ---- The command

static void test_command(void **state) {
    (void)state;
    char *text = program_output(
        "niah --model run --lengths 100,200 --depths 0,50,100 --trials 4 --seed 3 --out out/m");
    json_t *summary = json_loads(text, 0, NULL), *lengths = json_object_get(summary, "lengths");
    assert_int_equal(json_array_size(lengths), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lengths, 1), "length")), 200);
    assert_int_equal(json_integer_value(json_object_get(summary, "trials")), 24);
    assert_string_equal(json_string_value(json_object_get(summary, "model")), "run/step_00000001");
    assert_string_equal(json_string_value(json_object_get(summary, "needle")), "\nThe passkey is D.\n");
    json_decref(summary);
    char *svg = scratch_read("out/m", "heatmap.svg", NULL);
    assert_non_null(strstr(svg, "<svg xmlns"));
    assert_non_null(strstr(svg, "200 tokens, depth 50 %: "));
    assert_non_null(strstr(svg, "run/step_00000001"));
    assert_null(strstr(svg, "href")); // self-contained
    free(svg);

    // The same again, and with other threads; another seed has other digits.
    char *first = scratch_read("out/m", "trials.jsonl", NULL);
    program_threads(2);
    free(program_output(
        "niah --model run --lengths 100,200 --depths 0,50,100 --trials 4 --seed 3 --out out/m"));
    program_threads(1);
    char *second = scratch_read("out/m", "trials.jsonl", NULL);
    assert_string_equal(first, second);
    free(second);
    free(program_output(
        "niah --model run --lengths 100,200 --depths 0,50,100 --trials 4 --seed 4 --out out/m"));
    second = scratch_read("out/m", "trials.jsonl", NULL);
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    free(text);

    // The model's context holds none of the default lengths.
    text = program_output("niah --model run --depths 50 --trials 1");
    assert_non_null(strstr(text, "\"length\": 768,"));
    free(text);
}

static void test_refusals(void **state) {
    (void)state;
    program_expect(2, "--model is missing", "niah");
    program_expect(3, "none", "niah --model none");
    program_expect(2, "--lengths 4K,2K", "niah --model run --lengths 4K,2K --out nothing");
    assert_false(folder_exists("nothing"));
    program_expect(2, "of tokens, from 64 to 536870912,", "niah --model run --lengths 1e9");
    program_expect(2, "--depths 0,200", "niah --model run --lengths 100 --depths 0,200");
    program_expect(4, "the longest sequence that would fit has ", "niah --model run --lengths 500000K");
    program_expect(0, "--lengths reach 800 tokens; the model was trained on 768",
                   "niah --model run --lengths 800 --depths 50 --trials 1");
    program_expect(0, NULL, TINY_TRAIN "--out short --steps 1 --seq-len 40 --attention dense");
    program_expect(2, "the model's context of 40 tokens is too short", "niah --model short");
    program_expect(0, "the model was trained on 40",
                   "niah --model short --lengths 64 --depths 0,100 --trials 1");
    scratch_write(".", "file", "x", -1);
    Outcome outcome = program_run("niah --model run --lengths 100 --depths 50 --trials 1 --out file");
    assert_int_equal(outcome.status, 3);
    assert_non_null(strstr(outcome.err, "cannot make the folder file: a file is in its place"));
    assert_null(strstr(outcome.err, "trials")); // refused before the work
    outcome_free(&outcome);
    program_expect(3, "cannot make the folder file",
                   "niah --model run --lengths 100 --depths 50 --trials 1 --out file/m");
}

// The help states what is asked, in the very words.
static void test_help_states_the_phrasing(void **state) {
    (void)state;
    char *text = program_output("niah --help");
    assert_string_equal(PASSKEY_PHRASE, "\nThe passkey is ");
    assert_string_equal(PASSKEY_END, ".\n");
    assert_non_null(strstr(text, "filler  \"\\nThe passkey is D.\\n\"  filler  \"\\nThe passkey is \"\n"));
    free(text);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),        cmocka_unit_test(test_texts_are_even),
        cmocka_unit_test(test_intervals),    cmocka_unit_test(test_lists),
        cmocka_unit_test(test_progress),     cmocka_unit_test(test_all_found),
        cmocka_unit_test(test_seen_in_part), cmocka_unit_test(test_largest_batch),
        cmocka_unit_test(test_trials_stay),  cmocka_unit_test(test_command),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_help_states_the_phrasing),
    };
    return cmocka_run_group_tests_name("niah", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
