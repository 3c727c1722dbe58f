// pack --passkey-fraction: the share, the form and the place of passkey documents, and that nothing else
// moves.
#include "core/base/files.h"
#include "core/model/tokenizer.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/shards.h"
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

#define DOCUMENTS 3000
#define SHORTEST  100
#define LONGEST   1000

// ---- Packing and reading back

static int set_up(void **state) {
    int failed = temporary_folder_enter(state);
    if (!failed) put_lines("text.jsonl", DOCUMENTS);
    return failed;
}

static PackReport pack(const char *out, double fraction, int threads, bool shuffle, uint64_t seed) {
    const char *input = "text.jsonl";
    PackConfig config = packing_config(&input, 1, out, threads);
    config.shard_tokens = 10000000;
    config.val_fraction = 0.1;
    config.seed = seed;
    config.shuffle = shuffle;
    config.passkey_fraction = fraction;
    config.passkey_min = SHORTEST;
    config.passkey_max = LONGEST;
    return packing_run(&config);
}

// Documents of shards as strings; those of passkeys apart.
typedef struct {
    char **texts, **passkeys;
    int64_t n_texts, n_passkeys, tokens, passkey_tokens;
    int64_t last_text; // documents before the last that is no passkey
} Packed;

static Packed load(const char *out, const char *names) {
    char pattern[128];
    snprintf(pattern, sizeof pattern, "%s/%s", out, names);
    Packed documents;
    memset(&documents, 0, sizeof documents);
    int32_t *tokens = shards_load(pattern, &documents.tokens);
    int64_t count = documents.tokens;
    documents.texts = (char **)alloc_or_exit((size_t)count, sizeof(char *));
    documents.passkeys = (char **)alloc_or_exit((size_t)count, sizeof(char *));
    for (int64_t start = 0, end; start < count; start = end + 1) {
        for (end = start; tokens[end] != TOKEN_EOS; end++) {
        }
        char *text = (char *)alloc_or_exit((size_t)(end - start), 1);
        shards_text(tokens + start, end - start, text);
        if (strncmp(text, "document ", 9) == 0) {
            documents.last_text = documents.n_texts + documents.n_passkeys;
            documents.texts[documents.n_texts++] = text;
        } else {
            documents.passkeys[documents.n_passkeys++] = text;
            documents.passkey_tokens += end - start + 1;
        }
    }
    free(tokens);
    return documents;
}

static void unload(Packed *documents) {
    for (int64_t i = 0; i < documents->n_texts; i++) free(documents->texts[i]);
    for (int64_t i = 0; i < documents->n_passkeys; i++) free(documents->passkeys[i]);
    free(documents->texts);
    free(documents->passkeys);
}

// ---- Tests

static void test_share(void **state) {
    (void)state;
    static const double shares[] = {0.01, 0.3, 0.9};
    for (int i = 0; i < 3; i++) {
        char out[32];
        snprintf(out, sizeof out, "share_%d", i);
        PackReport report = pack(out, shares[i], 2, true, 1);
        Packed train = load(out, "train_*.bin"), val = load(out, "val_*.bin");
        assert_int_equal(train.passkey_tokens, report.passkeys.tokens);
        assert_int_equal(train.n_passkeys, report.passkeys.documents);
        assert_int_equal(train.tokens, report.train.tokens);
        double least = shares[i] * (double)train.tokens;
        assert_true((double)train.passkey_tokens >= least);
        assert_true((double)train.passkey_tokens < least + LONGEST);
        assert_int_equal(val.n_passkeys, 0);
        assert_int_equal(val.n_texts, report.val.documents);
        unload(&train);
        unload(&val);
    }
}

static void check_passkey(const char *text) {
    const char phrase[] = "\nThe passkey is ";
    const char *needle = strstr(text, phrase), *rest = needle + strlen(phrase);
    size_t length = strlen(text);
    assert_non_null(needle);
    assert_true(isdigit((unsigned char)rest[0]) && rest[1] == '.' && rest[2] == '\n');
    const char *question = strstr(rest + 3, phrase);
    assert_non_null(question);
    assert_int_equal(question + strlen(phrase) + 3 - text, length);
    assert_memory_equal(question + strlen(phrase), rest, 3); // the digit of the needle
    for (const char *at = text; at < question; at++) {
        if (at == needle) at = rest + 3;
        if (at < question) assert_true(isalnum((unsigned char)*at));
    }
}

static void test_form(void **state) {
    (void)state;
    pack("form", 0.7, 2, true, 1);
    Packed train = load("form", "train_*.bin");
    int64_t doublings[4] = {0}, deep = 0, digits[10] = {0};
    assert_true(train.n_passkeys > 500);
    for (int64_t i = 0; i < train.n_passkeys; i++) {
        const char *text = train.passkeys[i];
        int64_t tokens = (int64_t)strlen(text) + 2;
        check_passkey(text);
        assert_in_range(tokens, SHORTEST, LONGEST);
        doublings[tokens < 200 ? 0 : tokens < 400 ? 1 : tokens < 800 ? 2 : 3]++;
        deep += strstr(text, "\nThe") - text > tokens / 2;
        digits[text[strlen(text) - 3] - '0']++;
    }
    double n = (double)train.n_passkeys;
    for (int i = 0; i < 4; i++) { // 8, 4, 2 and 1 of 15
        double expected = n * (8 >> i) / 15;
        assert_true(fabs((double)doublings[i] - expected) < 4 * sqrt(expected));
    }
    for (int i = 0; i < 10; i++) assert_true((double)digits[i] > 0.05 * n && (double)digits[i] < 0.15 * n);
    assert_true((double)deep > 0.35 * n && (double)deep < 0.55 * n);
    unload(&train);
}

// The other documents are split and ordered as without.
static void test_texts_stay(void **state) {
    (void)state;
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        const char *with = shuffle ? "with_s" : "with", *without = shuffle ? "without_s" : "without";
        pack(with, 0.3, 2, shuffle, 1);
        pack(without, 0, 2, shuffle, 1);
        Packed a = load(with, "train_*.bin"), b = load(without, "train_*.bin");
        assert_int_equal(b.n_passkeys, 0);
        assert_int_equal(a.n_texts, b.n_texts);
        for (int64_t i = 0; i < a.n_texts; i++) assert_string_equal(a.texts[i], b.texts[i]);
        // Spread over the whole, not gathered at its end.
        assert_true(a.last_text > (a.n_texts + a.n_passkeys) * 9 / 10);
        unload(&a);
        unload(&b);
        char one[64], other[64];
        snprintf(one, sizeof one, "%s/val_00000.bin", with);
        snprintf(other, sizeof other, "%s/val_00000.bin", without);
        assert_true(files_equal(one, other));
    }
}

static void test_threads_and_seed(void **state) {
    (void)state;
    pack("one", 0.3, 1, true, 1);
    pack("four", 0.3, 4, true, 1);
    pack("seed", 0.3, 1, true, 2);
    assert_true(files_equal("one/train_00000.bin", "four/train_00000.bin"));
    Packed a = load("one", "train_*.bin"), b = load("seed", "train_*.bin");
    for (int64_t i = 0; i < 20; i++) {
        for (int64_t j = 0; j < b.n_passkeys; j++) assert_string_not_equal(a.passkeys[i], b.passkeys[j]);
    }
    unload(&a);
    unload(&b);
}

static void test_command(void **state) {
    (void)state;
    char *text = program_output("pack text.jsonl --out command --passkey-fraction 0.3 --passkey-max 500");
    assert_non_null(strstr(text, "of the training documents "));
    assert_non_null(strstr(text, " tokens, a share of 0.3"));
    free(text);
    text = program_output("pack text.jsonl --out plain");
    assert_null(strstr(text, "passkeys"));
    free(text);
    program_expect(2, "--passkey-fraction 0.95: must be from 0 to 0.9",
                   "pack text.jsonl --out no --passkey-fraction 0.95");
    program_expect(2, "--passkey-min 300 must be at least 64, and --passkey-max 200 no less",
                   "pack text.jsonl --out no --passkey-fraction 0.1 --passkey-min 300 --passkey-max 200");
    program_expect(2, "--passkey-min 30: must be from 64",
                   "pack text.jsonl --out no --passkey-fraction 0.1 --passkey-min 30");
    program_expect(2, "--passkey-min and --passkey-max need --passkey-fraction",
                   "pack text.jsonl --out no --passkey-max 500");
    assert_false(folder_exists("no"));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share),      cmocka_unit_test(test_form),
        cmocka_unit_test(test_texts_stay), cmocka_unit_test(test_threads_and_seed),
        cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests_name("pack passkeys", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
