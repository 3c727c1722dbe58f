// pack with several threads: their number and their timing change no bit of the shards, nor do they let an
// error get lost or leave anything behind.
#include "core/base/files.h"
#include "dataloader.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/faults.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Inputs

static uint64_t next_bits(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// Lines of JSON, with a blank one, an empty document and two that are equal now and then; about `bytes` of
// text that hardly compresses. Release with free().
static char *new_lines(uint64_t seed, int64_t bytes) {
    char *text = (char *)alloc_or_exit((size_t)bytes + 4096, 1), *at = text;
    uint64_t state = seed;
    while (at - text < bytes) {
        int64_t length = (int64_t)(next_bits(&state) % 1500);
        at += sprintf(at, "{\"text\": \"%d %d ", (int)seed, (int)(at - text));
        for (int64_t i = 0; i < length; i++) *at++ = (char)('0' + next_bits(&state) % 75 % 43);
        for (char *c = at - length; c < at; c++) *c = (char)(*c == '\\' ? ' ' : *c);
        at += sprintf(at, "\"}\n");
        if (length % 50 == 0)
            at += sprintf(at, "\n{\"text\": \"\"}\n{\"text\": \"twin\"}\n{\"text\": \"twin\"}\n");
    }
    return text;
}

// Unlike sizes: files of several blocks and of a part of one.
static const int64_t sizes[] = {3000000, 200000, 1100000, 10, 2500000};
#define N_FILES 5

// in/: lines of JSON, every file compressed or none or, mixed, some; and text files.
static void put_inputs(const char *folder, bool plain, bool gzip) {
    for (int i = 0; i < N_FILES; i++) {
        char path[64];
        char *lines = new_lines((uint64_t)i, sizes[i]);
        bool compressed = gzip && (!plain || i % 2);
        snprintf(path, sizeof path, "%s/%d.jsonl%s", folder, i, compressed ? ".gz" : "");
        if (compressed)
            gzip_append(path, lines);
        else
            put_text(path, lines);
        free(lines);
    }
    for (int i = 0; i < 20; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "texts/%d.txt", i);
        snprintf(text, sizeof text, "text file %d", i / 2);
        scratch_write(folder, name, text, -1);
    }
}

// ---- Running

static PackConfig config_for(const char **input, const char *out, int threads) {
    PackConfig config = packing_config(input, 1, out, threads);
    config.shard_tokens = 500000; // some 14 shards
    config.val_fraction = 0.1;
    config.seed = 3;
    config.shuffle = true;
    return config;
}

static void assert_same_report(const PackReport *one, const PackReport *other) {
    PackReport a = *one, b = *other;
    a.seconds = b.seconds = 0;
    assert_memory_equal(&a, &b, sizeof a);
}

// ---- The same shards

static void expect_same(bool shuffle, double passkey_fraction) {
    const char *input = "in";
    PackConfig config = config_for(&input, "one", 1);
    config.shuffle = shuffle;
    config.passkey_fraction = passkey_fraction;
    config.passkey_min = 100;
    config.passkey_max = 1000;
    PackReport one = packing_run(&config);
    assert_true(one.train.shards >= 10 && one.val.shards >= 1);
    assert_true(one.empty_documents > 10 && one.train.documents > 5000);
    assert_int_equal(one.passkeys.documents > 0, passkey_fraction > 0);
    static const int threads[] = {2, 8, 2, 8, 3};
    for (int i = 0; i < 5; i++) {
        config.out = "other";
        config.threads = threads[i];
        PackReport other = packing_run(&config);
        assert_same_report(&one, &other);
        expect_same_files("one", "other");
        packing_remove("other");
    }
    packing_remove("one");
}

static void test_threads_change_nothing(void **state) {
    (void)state;
    put_inputs("in", true, true);
    expect_same(true, 0);
    expect_same(true, 0.2);
    expect_same(false, 0);
    expect_same(false, 0.2);
}

// In order, whole files and lines come out as they lie in the inputs, whatever the number of threads.
static void test_order(void **state) {
    (void)state;
    put_inputs("in", true, true);
    const char *input = "in";
    PackConfig config = config_for(&input, "out", 8);
    config.shuffle = false;
    config.val_fraction = 0;
    packing_run(&config);
    int64_t count, found = 0;
    int32_t *tokens = shards_load("out/train_*.bin", &count);
    int last_file = -1, last_place = -1;
    for (int64_t i = 0; i < count; i++) {
        if (tokens[i] != 256) continue;
        char text[32] = "";
        for (int j = 0; j < 31 && tokens[i + 1 + j] < 256; j++) text[j] = (char)tokens[i + 1 + j];
        int file, place;
        if (sscanf(text, "%d %d ", &file, &place) != 2) continue; // a twin, or a text file
        assert_true(file == last_file ? place > last_place : file > last_file);
        last_file = file;
        last_place = place;
        found++;
    }
    assert_int_equal(last_file, N_FILES - 1);
    assert_true(found > 5000);
    free(tokens);
}

// Neither does it matter how the inputs are compressed. (The estimate, which decides the number of shards,
// sees all of these files.)
static void test_gzip_is_plain(void **state) {
    (void)state;
    put_inputs("plain", true, false);
    put_inputs("gzip", false, true);
    const char *inputs[] = {"plain", "gzip"};
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        for (int i = 0; i < 2; i++) {
            PackConfig config = config_for(&inputs[i], i ? "out_gzip" : "out_plain", 4);
            config.shuffle = shuffle;
            packing_run(&config);
        }
        expect_same_files("out_plain", "out_gzip");
        packing_remove("out_plain");
        packing_remove("out_gzip");
    }
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Every document of the inputs is in the shards once, none other is.
static void test_nothing_is_lost(void **state) {
    (void)state;
    put_inputs("in", true, true);
    const char *input = "in";
    PackConfig config = config_for(&input, "shuffled", 8);
    PackReport report = packing_run(&config);
    config.shuffle = false;
    config.out = "ordered";
    PackReport ordered = packing_run(&config);
    ordered.train.shards = report.train.shards;
    ordered.val.shards = report.val.shards;
    assert_same_report(&report, &ordered);
    static const char *const patterns[] = {"shuffled/train_*.bin", "ordered/train_*.bin"};
    char **texts[2];
    int64_t counts[2];
    for (int k = 0; k < 2; k++) {
        int64_t n;
        int32_t *tokens = shards_load(patterns[k], &n);
        char *bytes = (char *)alloc_or_exit((size_t)n, 1);
        texts[k] = (char **)alloc_or_exit((size_t)report.train.documents, sizeof(char *));
        counts[k] = 0;
        for (int64_t i = 0; i < n; i++) {
            if (tokens[i] < 256) bytes[i] = (char)tokens[i];
            if (tokens[i] == 256) texts[k][counts[k]++] = bytes + i + 1;
        }
        free(tokens);
        assert_int_equal(counts[k], report.train.documents);
        qsort(texts[k], (size_t)counts[k], sizeof(char *), compare_texts);
    }
    for (int64_t i = 0; i < counts[0]; i++) assert_string_equal(texts[0][i], texts[1][i]);
    for (int k = 0; k < 2; k++) {
        char *first = texts[k][0];
        for (int64_t i = 1; i < counts[k]; i++) first = texts[k][i] < first ? texts[k][i] : first;
        free(first - 1);
        free(texts[k]);
    }
}

// What happens to a line of one file says nothing about the same line of another.
static void test_files_are_independent(void **state) {
    (void)state;
    enum { LINES = 2000 };
    static const char *const inputs[] = {"a.jsonl", "b.jsonl"};
    for (int k = 0; k < 2; k++) {
        FILE *file = fopen(inputs[k], "w");
        assert_non_null(file);
        for (int i = 0; i < LINES; i++) fprintf(file, "{\"text\": \"%d %d \"}\n", k, i);
        assert_int_equal(fclose(file), 0);
    }
    PackConfig config = config_for((const char **)inputs, "out", 2);
    config.n_inputs = 2;
    config.val_fraction = 0.5;
    packing_run(&config);
    bool validation[2][LINES] = {{false}};
    int64_t count;
    int32_t *tokens = shards_load("out/val_*.bin", &count);
    for (int64_t i = 0; i < count; i++) {
        char text[16] = "";
        for (int j = 0; tokens[i] == 256 && tokens[i + 1 + j] < 256; j++) text[j] = (char)tokens[i + 1 + j];
        int file, line;
        if (sscanf(text, "%d %d", &file, &line) == 2) validation[file][line] = true;
    }
    free(tokens);
    int both = 0, either = 0;
    for (int i = 0; i < LINES; i++) {
        both += validation[0][i] && validation[1][i];
        either += validation[0][i] || validation[1][i];
    }
    assert_in_range(both, LINES * 4 / 20, LINES * 6 / 20); // a quarter, and three
    assert_in_range(either, LINES * 14 / 20, LINES * 16 / 20);
}

// Threads that wait for their turn, or for a file, are not woken for nothing: of small files each would
// otherwise cost as much as there are threads.
static void test_waiting_is_cheap(void **state) {
    (void)state;
    enum { FILES = 2000 };
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.txt", i);
        scratch_write("in", name, name, -1);
    }
    const char *input = "in";
    PackConfig config = config_for(&input, "out", 64);
    config.shuffle = false;
    struct rusage before, after;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    PackReport report = packing_run(&config);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_int_equal(report.train.documents + report.val.documents, FILES);
    assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 0, 10 * FILES);
}

// ---- Errors

// Damage behind what the estimate reads, in one file of several.
static void test_damaged_gzip(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        char path[32];
        snprintf(path, sizeof path, "in/%d.jsonl.gz", i);
        char *lines = new_lines((uint64_t)i, i == 2 ? 3000000 : 1000000);
        gzip_append(path, lines);
        free(lines);
    }
    file_flip_bit("in/2.jsonl.gz", -100000);
    const char *input = "in";
    static const int threads[] = {1, 2, 8};
    for (int i = 0; i < 6; i++) {
        PackConfig config = config_for(&input, "out", threads[i % 3]);
        config.shuffle = i < 3;
        packing_fails(&config, STATUS_DATA, "input in/2.jsonl.gz is damaged gzip at byte ");
    }
}

// Malformed lines of one file in two: one more than is allowed, wherever it lies.
static void test_malformed_lines(void **state) {
    (void)state;
    char *lines = new_lines(1, 2000000), *other = copy_or_exit(lines);
    for (char *at = other + 7; (at = strstr(at, "\"text\"")) != NULL;) memcpy(at, "\"body\"", 6);
    scratch_write("in", "a.jsonl", lines, -1);
    scratch_write("in", "b.jsonl", other, -1);
    const char *input = "in";
    for (int threads = 1; threads <= 8; threads *= 2) {
        PackConfig config = config_for(&input, "out", threads);
        config.max_bad_fraction = 0.4;
        packing_fails(&config, STATUS_DATA, " lines are malformed (50 %, allowed are 40 %)");
        config.max_bad_fraction = 0.6;
        PackReport report = packing_run(&config);
        assert_int_equal(2 * (report.malformed_lines + 1), report.lines);
        packing_remove("out");
    }
    free(lines);
    free(other);
}

// A disk that is full when spills, or shards of the shuffle, are written by several threads at once.
static void test_write_error(void **state) {
    (void)state;
    put_inputs("in", true, true);
    const char *input = "in";
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 4; i++) {
        PackConfig config = config_for(&input, "out", 8);
        config.shard_tokens = 2000000;
        limit.rlim_cur = i % 2 ? 2000000 : 200000; // a spill has some 1,100,000 bytes, a shard 4,000,000
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        packing_fails(&config, STATUS_DATA, i % 2 ? ".bin.tmp: File too large" : ".spill: File too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static int count_lines(const char *text) {
    int count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

// Every fifth operation on files fails in turn, and the disk is full from there on: one error, and nothing
// is left; or, as with a removal that is made up for later, none, and the shards are whole.
static void test_faults(void **state) {
    (void)state;
    static const char pack[] = "pack in --shard-tokens 8000 --threads 4 --out";
    static const Fault none = {"error", "other", 0};
    char folder[PATH_MAX], under[PATH_MAX + 16];
    char *lines = new_lines(1, 200000), *others = new_lines(2, 100000), *large = new_lines(3, 1100000);
    scratch_write("in", "a.jsonl", lines, -1);
    scratch_write("in", "b.jsonl", others, -1);
    scratch_write("in", "large.txt", large, -1); // spilled at once
    free(lines);
    free(others);
    free(large);
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(under, sizeof under, "%s/out", folder);
    faults_begin(none, under, "trace");
    program_expect(0, NULL, "%s %s", pack, under);
    faults_end();
    char *trace = scratch_read(".", "trace", NULL);
    int operations = 0, failed = 0, runs = 0;
    for (const char *at = trace; (at = strstr(at, "other ")) != NULL; at++) operations++;
    free(trace);
    assert_int_equal(rename("out", "whole"), 0);
    assert_true(operations > 100 && scratch_count("whole") > 30);
    for (int at = 1; at <= operations; at += 5, runs++) {
        Fault fault = {at % 2 ? "error" : "full", "other", at};
        faults_begin(fault, under, "trace");
        Outcome outcome = program_run("%s %s", pack, under);
        faults_end();
        if (outcome.status == 0) {
            expect_same_files("whole", "out");
            packing_remove("out");
        } else {
            const char *why = at % 2 ? "Input/output error" : "No space left on device";
            bool right = outcome.status == 3 && strstr(outcome.err, why) && count_lines(outcome.err) == 1;
            if (!right) fail_msg("%s at %d: status %d, %s", fault.kind, at, outcome.status, outcome.err);
            assert_false(folder_exists("out"));
            failed++;
        }
        outcome_free(&outcome);
    }
    assert_true(failed > runs * 2 / 3);
}

// A kill while finished shards move out of the working folder: those that are there are not taken for all,
// and once they are deleted the next run starts over.
static void test_kill_between_moves(void **state) {
    (void)state;
    static const char pack[] = "pack in --shard-tokens 30000 --threads 4 --out";
    char folder[PATH_MAX], under[PATH_MAX + 16];
    char *lines = new_lines(1, 400000);
    scratch_write("in", "a.jsonl", lines, -1);
    free(lines);
    assert_non_null(getcwd(folder, sizeof folder));
    snprintf(under, sizeof under, "%s/out", folder);
    program_expect(0, NULL, "%s whole", pack);
    Fault fault = {"kill", "main", 6}; // the operations before it make folders and move shards
    faults_begin(fault, under, "trace");
    Outcome outcome = program_run("%s %s", pack, under);
    faults_end();
    assert_int_not_equal(outcome.status, 0);
    outcome_free(&outcome);
    assert_in_range(scratch_count("out"), 2, scratch_count("whole") - 1);
    DataLoader loader;
    Error error;
    expect_failed(dataloader_open(&loader, "out/train_*.bin", 64, 320, &error), &error, STATUS_DATA,
                  "shards beside out/.packing are not complete: `pack` is at work or");
    program_expect(2, "out already holds shards (train_00000.bin)", "%s out", pack);
    assert_true(folder_exists("out/.packing"));
    PathList moved;
    assert_true(paths_glob("out/*.bin", &moved, &error));
    for (int64_t i = 0; i < moved.count; i++) assert_int_equal(unlink(moved.paths[i]), 0);
    paths_free(&moved);
    program_expect(0, NULL, "%s out", pack);
    expect_same_files("whole", "out");
    assert_false(folder_exists("out/.packing"));
    assert_true(dataloader_open(&loader, "out/train_*.bin", 64, 320, &error));
    dataloader_close(&loader);
}

int main(void) {
    program_find();
    faults_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_threads_change_nothing),
        IN_FOLDER(test_order),
        IN_FOLDER(test_gzip_is_plain),
        IN_FOLDER(test_nothing_is_lost),
        IN_FOLDER(test_files_are_independent),
        IN_FOLDER(test_waiting_is_cheap),
        IN_FOLDER(test_damaged_gzip),
        IN_FOLDER(test_malformed_lines),
        IN_FOLDER(test_write_error),
        IN_FOLDER(test_faults),
        IN_FOLDER(test_kill_between_moves),
    };
    return cmocka_run_group_tests_name("pack threads", tests, NULL, NULL) ? 1 : 0;
}
