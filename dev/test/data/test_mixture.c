// Mixtures of sources: their words, whose turn it is, and what ranks and resumed runs read of them.
#include "core/data/mixture.h"
#include "dataloader.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define N 9 // inputs of a sequence

// ---- Words

static Mixture parsed(const char *text) {
    Mixture mixture;
    Error error = {0, ""};
    expect_ok(mixture_parse(text, &mixture, &error), &error);
    return mixture;
}

static void expect_refused(const char *text, const char *part) {
    Mixture mixture;
    Error error = {0, ""};
    expect_failed(mixture_parse(text, &mixture, &error), &error, STATUS_USAGE, part);
}

static void expect_single(const char *text) {
    Mixture mixture = parsed(text);
    assert_int_equal(mixture.count, 1);
    assert_string_equal(mixture.patterns[0], text);
    mixture_free(&mixture);
}

static void test_words(void **state) {
    (void)state;
    Mixture mixture = parsed("long/*.bin:0.6 short/*.bin:0.4");
    assert_int_equal(mixture.count, 2);
    assert_string_equal(mixture.patterns[0], "long/*.bin");
    assert_string_equal(mixture.patterns[1], "short/*.bin");
    assert_int_equal(mixture.weights[0], 3);
    assert_int_equal(mixture.weights[1], 2);
    mixture_free(&mixture);
    mixture = parsed("my data/a:1.bin:60 b c:2:20 d:1e1"); // blanks and colons in names
    assert_int_equal(mixture.count, 3);
    assert_string_equal(mixture.patterns[0], "my data/a:1.bin");
    assert_string_equal(mixture.patterns[1], "b c:2");
    assert_string_equal(mixture.patterns[2], "d");
    assert_int_equal(mixture.weights[0] * 100 + mixture.weights[1] * 10 + mixture.weights[2], 621);
    mixture_free(&mixture);
}

// Without weight a text is a pattern as it always was.
static void test_single(void **state) {
    (void)state;
    expect_single("data/train_*.bin");
    expect_single("my data/x y.bin");
    expect_single("2:2/x*.bin");
    expect_single("x:");
    expect_single("x:1a");
    shard_make_counting("x:5", 2, 0, 100, 258);
    expect_single("x:5"); // a file, and no x
    assert_int_equal(mkdir("dir:5 b", 0777), 0);
    shard_make_counting("dir:5 b/c.bin", 2, 0, 100, 258);
    expect_single("dir:5 b/c.bin");
    shard_make_counting("x", 2, 0, 100, 258);
    expect_refused("x:5", "there is a file of that whole name");
    expect_refused("x:5 y:1", "as 'x:5:1'");
    Mixture mixture = parsed("x:5:2");
    assert_string_equal(mixture.patterns[0], "x:5");
    mixture_free(&mixture);
}

static void test_bad_weights(void **state) {
    (void)state;
    static const char *const bad[] = {"0", "-1", "nan", "inf", "1e-12", "1e300", "1e999", "-nan"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "a:0.5 b:%s", bad[i]);
        expect_refused(text, "must be from 1e-09 to 1e+06");
        snprintf(text, sizeof text, "a:%s", bad[i]);
        expect_refused(text, "must be from 1e-09 to 1e+06");
    }
    expect_refused("a:0.5 b", "--data b: has no weight");
    expect_refused("a:0.5 b:40%", "--data b:40%: '40%' is no weight");
    expect_refused("a/*.bin:1/2", "--data a/*.bin:1/2: '1/2' is no weight");
    expect_refused("a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 i:1 j:1 k:1 l:1 m:1 n:1 o:1 p:1 q:1", "more than 16");
}

static void test_absolute(void **state) {
    (void)state;
    assert_int_equal(mkdir("long", 0777), 0);
    char *folder = path_absolute("long"), expected[2048];
    char *text = mixture_absolute("long/*.bin:0.6 long/s*.bin:0.4"), *one = mixture_absolute("long/*.bin");
    snprintf(expected, sizeof expected, "%s/*.bin:0.6 %s/s*.bin:0.4", folder, folder);
    assert_string_equal(text, expected);
    snprintf(expected, sizeof expected, "%s/*.bin", folder);
    assert_string_equal(one, expected);
    free(folder);
    free(text);
    free(one);
}

// ---- The order

// Each source stays within a sequence of its share, at every moment, and has it exactly after each round.
static void expect_shares(const char *text, int64_t slots) {
    Mixture mixture = parsed(text);
    DataPlaces places;
    memset(&places, 0, sizeof places);
    int64_t round = 0;
    for (int i = 0; i < mixture.count; i++) round += mixture.weights[i];
    for (int64_t slot = 1; slot <= slots; slot++) {
        places.tokens[mixture_next(&mixture, &places, N)] += N;
        for (int i = 0; i < mixture.count; i++) {
            double share = (double)mixture.weights[i] / (double)round * (double)slot;
            double taken = (double)places.tokens[i] / N;
            assert_true(fabs(taken - share) < (mixture.count == 2 ? 1 : mixture.count - 1));
            if (slot % round == 0) assert_int_equal(places.tokens[i], slot / round * mixture.weights[i] * N);
        }
    }
    mixture_free(&mixture);
}

static void test_shares(void **state) {
    (void)state;
    expect_shares("a:0.6 b:0.4", 1000);
    expect_shares("a:34 b:66", 1000);
    expect_shares("a:1 b:1 c:1", 300);
    expect_shares("a:0.7 b:0.2 c:0.05 d:0.05", 2000);
    expect_shares("a:999 b:1", 5000);
}

// Weights are of tokens: after a change of the context the share of all tokens is made up.
static void test_other_context(void **state) {
    (void)state;
    Mixture mixture = parsed("a:0.5 b:0.5");
    DataPlaces places;
    memset(&places, 0, sizeof places);
    places.tokens[mixture_next(&mixture, &places, 1000)] += 1000;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mixture_next(&mixture, &places, 10), 1);
        places.tokens[1] += 10;
    }
    assert_int_equal(mixture_next(&mixture, &places, 10), 0);
    mixture_free(&mixture);
}

// Long runs do not overflow.
static void test_far(void **state) {
    (void)state;
    Mixture mixture = parsed("a:999999.999999999 b:0.000000001");
    DataPlaces places;
    memset(&places, 0, sizeof places);
    places.tokens[0] = INT64_C(50000000000000000);
    assert_int_equal(mixture_next(&mixture, &places, N), 1);
    places.tokens[1] = 1000;
    assert_int_equal(mixture_next(&mixture, &places, N), 0);
    mixture_free(&mixture);
}

// ---- Reading

// Source a: tokens 0 ... 97 in two shards, 10 sequences. Source b: tokens 100 ... 149, 5 sequences.
static void make_sources(void) {
    shard_make_counting("a_00000.bin", 2, 0, 37, 320);
    shard_make_counting("a_00001.bin", 4, 37, 61, 320);
    shard_make_counting("b_00000.bin", 2, 100, 50, 320);
}

#define SOURCES "a_*.bin:0.6 b_*.bin:0.4"

static void open_mixture(DataLoader *loader, const char *text) {
    Mixture mixture = parsed(text);
    Error error = {0, ""};
    expect_ok(dataloader_open_mixture(loader, &mixture, N, 320, &error), &error);
    dataloader_shuffle(loader, 1);
}

static void next_rows(DataLoader *loader, int64_t rows, int32_t *out) {
    Error error = {0, ""};
    expect_ok(dataloader_next(loader, rows, out, &error), &error);
}

// Each source gives what it gives alone, epochs and their orders included, at its turns.
static void test_sources_as_alone(void **state) {
    (void)state;
    make_sources();
    DataLoader mixed, alone[2];
    open_mixture(&mixed, SOURCES);
    open_mixture(&alone[0], "a_*.bin");
    open_mixture(&alone[1], "b_*.bin");
    assert_int_equal(mixed.n_sequences, 15);
    int64_t taken[2] = {0, 0};
    for (int slot = 0; slot < 200; slot++) {
        int32_t row[N + 1] = {0}, expected[N + 1];
        next_rows(&mixed, 1, row);
        int source = row[0] >= 100;
        next_rows(&alone[source], 1, expected);
        assert_memory_equal(row, expected, sizeof row);
        taken[source]++;
    }
    assert_int_equal(taken[0], 120);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mixed.places.tokens[i], taken[i] * N);
        assert_int_equal(mixed.places.of[i].epoch, alone[i].places.of[0].epoch);
        assert_int_equal(mixed.places.of[i].cursor, alone[i].places.of[0].cursor);
        dataloader_close(&alone[i]);
    }
    dataloader_close(&mixed);
}

// From any saved places a run goes on as if it had not stopped; all numbers of ranks read the same.
static void test_resumed_and_on_ranks(void **state) {
    (void)state;
    make_sources();
    DataLoader whole, resumed, ranks[3];
    open_mixture(&whole, SOURCES);
    for (int r = 0; r < 3; r++) {
        open_mixture(&ranks[r], SOURCES);
        dataloader_set_ranks(&ranks[r], r, 3);
    }
    for (int step = 0; step < 12; step++) {
        int32_t expected[6 * (N + 1)], rows[6 * (N + 1)];
        open_mixture(&resumed, SOURCES);
        dataloader_seek_places(&resumed, &whole.places);
        next_rows(&whole, 6, expected);
        next_rows(&resumed, 6, rows);
        assert_memory_equal(rows, expected, sizeof rows);
        dataloader_close(&resumed);
        for (int r = 0; r < 3; r++) {
            next_rows(&ranks[r], 2, rows);
            assert_memory_equal(rows, expected + 2 * r * (N + 1), 2 * (N + 1) * sizeof *rows);
            assert_memory_equal(&ranks[r].places, &whole.places, sizeof whole.places);
        }
    }
    for (int r = 0; r < 3; r++) dataloader_close(&ranks[r]);
    dataloader_close(&whole);
}

static uint64_t fingerprint(const char *text) {
    DataLoader loader;
    open_mixture(&loader, text);
    uint64_t hash = dataloader_fingerprint(&loader);
    dataloader_close(&loader);
    return hash;
}

// A single source's is that of its shards, as in checkpoints from before; of several all counts.
static void test_fingerprints(void **state) {
    (void)state;
    make_sources();
    assert_true(fingerprint("a_*.bin") == fingerprint("a_*.bin:0.3"));
    assert_true(fingerprint(SOURCES) == fingerprint("a_*.bin:3 b_*.bin:2"));
    assert_true(fingerprint(SOURCES) != fingerprint("a_*.bin:0.5 b_*.bin:0.5"));
    assert_true(fingerprint(SOURCES) != fingerprint("b_*.bin:0.6 a_*.bin:0.4"));
    assert_true(fingerprint(SOURCES) != fingerprint("a_*0.bin:0.6 b_*.bin:0.4"));
    assert_true(fingerprint("a_*0.bin:0.5 [ab]_*[01].bin:0.5") != fingerprint("[ab]_*[01].bin"));
}

static void test_refused_sources(void **state) {
    (void)state;
    make_sources();
    shard_make_counting("short.bin", 2, 0, 9, 320);
    static const char *const texts[][2] = {{"a_*.bin:1 none_*.bin:1", "no file matches none_*.bin"},
                                           {"a_*.bin:1 short.bin:1", "short.bin holds 9 tokens, too few"}};
    for (size_t i = 0; i < 2; i++) {
        DataLoader loader;
        Error error = {0, ""};
        Mixture mixture = parsed(texts[i][0]);
        expect_failed(dataloader_open_mixture(&loader, &mixture, N, 320, &error), &error, STATUS_DATA,
                      texts[i][1]);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temporary_folder_enter, temporary_folder_leave)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_words),        IN_FOLDER(test_single),           IN_FOLDER(test_bad_weights),
        IN_FOLDER(test_absolute),     IN_FOLDER(test_shares),           IN_FOLDER(test_other_context),
        IN_FOLDER(test_far),          IN_FOLDER(test_sources_as_alone), IN_FOLDER(test_resumed_and_on_ranks),
        IN_FOLDER(test_fingerprints), IN_FOLDER(test_refused_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
