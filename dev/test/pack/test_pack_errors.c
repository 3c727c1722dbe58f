// pack: what is wrong is said, and leaves nothing behind.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// Runs with standard error in a file and gives its contents; release with free().
static char *warnings_of(const PackConfig *config) {
    fflush(stderr);
    int saved = dup(STDERR_FILENO), file = open("stderr.txt", O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(saved >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    PackReport report;
    Error error;
    bool ok = pack_run(config, &report, &error);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(file);
    expect_ok(ok, &error);
    char *text = file_read("stderr.txt", 1 << 20, NULL, &error);
    assert_non_null(text);
    return text;
}

static void test_malformed_lines(void **state) {
    (void)state;
    put_text("a.jsonl", "{\"text\": \"good\"}\n"
                        "{\"text\": \"cut\n"
                        "\n"
                        "[\"text\"]\n"
                        "{\"text\": 5}\n"
                        "{\"txt\": \"x\"}\n"
                        "{\"text\": \"\\ud800 alone\"}\n"
                        "{\"text\": \"bad \xff UTF-8\"}\n"
                        "{\"text\": \"good too\"}\n");
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(
        &config, STATUS_DATA,
        "5 of 8 lines are malformed (62.5 %, allowed are 0.1 %): mend them or allow more with --max-bad");
    config.max_bad_fraction = 0.75;
    char *text = warnings_of(&config);
    expect_part(text, "a.jsonl line 2 is left out: ");
    expect_part(text, "a.jsonl line 4 is left out: no JSON object");
    expect_part(text, "a.jsonl line 5 is left out: no text in field \"text\"");
    expect_part(text, "a.jsonl line 6 is left out: no field \"text\"; texts are in \"txt\"");
    expect_part(text, "a.jsonl line 8 is left out: text that is not UTF-8 at byte 15");
    assert_null(strstr(text, "line 7"));
    free(text);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 3);
    expect_document(&documents, 1, "\xef\xbf\xbd alone", 9);
    expect_document(&documents, 2, "good too", 8);
    documents_free(&documents);
}

// Line numbers stay right over the borders of blocks.
static void test_malformed_line_far_down(void **state) {
    (void)state;
    put_lines("a.jsonl", 40000);
    FILE *file = fopen("a.jsonl", "a");
    assert_non_null(file);
    fputs("oops\n", file);
    fclose(file);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    char *text = warnings_of(&config);
    expect_part(text, "a.jsonl line 40001 is left out: ");
    free(text);
}

static void test_no_json_at_all(void **state) {
    (void)state;
    FILE *file = fopen("a.json", "w");
    assert_non_null(file);
    for (int i = 0; i < 200000; i++) fprintf(file, "  \"key %d\": 5,\n", i);
    fclose(file);
    const char *input = "a.json";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.max_bad_fraction = 1;
    packing_fails(
        &config, STATUS_DATA,
        "input a.json is no JSON, one object a line (no JSON object at byte 3); rename plain text to .txt");
}

static void test_damaged_gzip(void **state) {
    (void)state;
    put_lines("a.jsonl", 3000);
    Error error;
    char *text = file_read("a.jsonl", SIZE_MAX, NULL, &error);
    gzip_append("whole.jsonl.gz", text);
    gzip_append("a.jsonl.gz", text);
    free(text);
    size_t size;
    char *data = file_read("a.jsonl.gz", SIZE_MAX, &size, &error);
    const char *inputs[] = {"whole.jsonl.gz", "a.jsonl.gz"};
    PackConfig config = packing_config(inputs, 2, "out", 2);
    for (int shuffle = 0; shuffle < 2; shuffle++) { // shuffling, the estimate sees it first
        config.shuffle = shuffle;
        scratch_write(".", "a.jsonl.gz", data, (int64_t)(size - 1));
        packing_fails(&config, STATUS_DATA, "input a.jsonl.gz is gzip cut short");
        scratch_write(".", "a.jsonl.gz", data, (int64_t)(size / 2));
        packing_fails(&config, STATUS_DATA, "input a.jsonl.gz is gzip cut short");
        scratch_write(".", "a.jsonl.gz", data, (int64_t)size);
        file_flip_bit("a.jsonl.gz", -5); // of the checksum
        packing_fails(&config, STATUS_DATA, "input a.jsonl.gz is damaged gzip");
        // file_read leaves a zero behind: padding is no damage
        scratch_write(".", "a.jsonl.gz", data, (int64_t)(size + 1));
        config.out = "padded";
        assert_int_equal(packing_run(&config).train.documents, 6000);
        packing_remove("padded");
        config.out = "out";
        FILE *file = fopen("a.jsonl.gz", "ab");
        assert_non_null(file);
        fputs("garbage", file);
        fclose(file);
        packing_fails(&config, STATUS_DATA, "input a.jsonl.gz is damaged gzip");
        scratch_write(".", "a.txt.gz", "<html>", 6);
        inputs[1] = "a.txt.gz";
        packing_fails(&config, STATUS_DATA,
                      "input a.txt.gz is named .gz but is no gzip file: fetch it again");
        inputs[1] = "a.jsonl.gz";
    }
    free(data);
}

static void test_missing_inputs(void **state) {
    (void)state;
    put_text("a.txt", "a");
    assert_int_equal(mkdir("empty", 0777), 0);
    const char *inputs[] = {"a.txt", "missing.txt"};
    PackConfig config = packing_config(inputs, 2, "out", 2);
    packing_fails(&config, STATUS_DATA, "input missing.txt cannot be opened: No such file");
    inputs[1] = "empty";
    config.inputs = inputs + 1;
    config.n_inputs = 1;
    packing_fails(&config, STATUS_DATA, "no text file in empty");
    put_text("empty/nothing.txt", "");
    packing_fails(&config, STATUS_DATA, "hold no document; left out: 1 empty document (empty/nothing.txt)");
}

static void test_output_folder(void **state) {
    (void)state;
    put_text("a.txt", "a");
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "deep/[er]/out", 2);
    PackReport report = packing_run(&config);
    Error error;
    assert_true(file_exists("deep/[er]/out/train_00000.bin"));
    expect_failed(pack_run(&config, &report, &error), &error, STATUS_USAGE,
                  "deep/[er]/out already holds shards (train_00000.bin)");
    config.out = "a.txt/out";
    expect_failed(pack_run(&config, &report, &error), &error, STATUS_DATA, "cannot make the folder a.txt");
}

// What a killed run left is cleared away; a folder that another run works in is left alone.
static void test_working_folder(void **state) {
    (void)state;
    put_text("a.txt", "a");
    put_text("out/.packing/train_00007.bin", "old");
    put_text("out/.packing/train_00001.spill", "old");
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shuffle = true;
    int other = open("out/.packing", O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(other, LOCK_EX), 0);
    PackReport report;
    Error error;
    expect_failed(pack_run(&config, &report, &error), &error, STATUS_USAGE,
                  "another `pack` is writing to out");
    assert_true(file_exists("out/.packing/train_00001.spill"));
    close(other);
    report = packing_run(&config);
    assert_int_equal(report.train.shards, 1);
    assert_int_equal(report.train.tokens, 3);
    assert_false(file_exists("out/train_00007.bin"));
}

// A disk that fills up, in the middle of the run or in the shuffle after it.
static void test_write_error(void **state) {
    (void)state;
    put_lines("a.jsonl", 20000);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shard_tokens = 4000000;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    signal(SIGXFSZ, SIG_IGN);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        config.shuffle = shuffle;
        // The one shard has some 5.8 MB, each of its spills a third of half of that.
        for (limit.rlim_cur = 500000; limit.rlim_cur <= 4000000; limit.rlim_cur += 3500000) {
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
            bool in_spill = shuffle && limit.rlim_cur == 500000;
            packing_fails(&config, STATUS_DATA,
                          in_spill ? ".spill: File too large" : "train_00000.bin.tmp: File too large");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        }
    }
    signal(SIGXFSZ, SIG_DFL);
}

// A text of one byte cannot give both.
static void test_no_validation(void **state) {
    (void)state;
    put_text("a.txt", "a");
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.val_fraction = 0.5;
    char *text = warnings_of(&config);
    expect_part(text, "there is no validation: the text is too short to be cut in two");
    free(text);
    assert_true(file_exists("out/train_00000.bin"));
}

static void test_impossible_settings(void **state) {
    (void)state;
    put_text("a.txt", "some text that is longer than a few bytes");
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.val_fraction = 1;
    packing_fails(&config, STATUS_USAGE, "--val-fraction 1 ");
    config.val_fraction = 0;
    config.threads = 0;
    packing_fails(&config, STATUS_USAGE, "--threads 0 ");
    config.threads = 1;
    config.shard_tokens = 0;
    packing_fails(&config, STATUS_USAGE, "--shard-tokens 0 ");
    config.shard_tokens = 1;
    config.shuffle = true;
    char *big = (char *)alloc_or_exit(200000, 1);
    memset(big, 'x', 200000);
    scratch_write(".", "big.txt", big, 200000);
    free(big);
    input = "big.txt";
    packing_fails(&config, STATUS_USAGE, "use --shard-tokens");
    config.n_inputs = 0;
    packing_fails(&config, STATUS_USAGE, "at least one input");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_malformed_lines), IN_FOLDER(test_malformed_line_far_down),
        IN_FOLDER(test_no_json_at_all),  IN_FOLDER(test_damaged_gzip),
        IN_FOLDER(test_missing_inputs),  IN_FOLDER(test_output_folder),
        IN_FOLDER(test_working_folder),  IN_FOLDER(test_write_error),
        IN_FOLDER(test_no_validation),   IN_FOLDER(test_impossible_settings),
    };
    return cmocka_run_group_tests_name("pack errors", tests, NULL, NULL);
}
