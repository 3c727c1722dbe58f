// pack: what is for training and what for validation where there are too few documents to draw them, and how
// large shards are, whatever order long and short documents come in.
#include "core/base/files.h"
#include "dataloader.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void put_numbers(const char *path, int lines) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < lines; i++) fprintf(file, "line %d\n", i + 1);
    assert_int_equal(fclose(file), 0);
}

// Both splits have a sequence of the tiny model, with its defaults.
static void expect_tiny_trains(const char *out) {
    static const char *const splits[] = {"train", "val"};
    for (int i = 0; i < 2; i++) {
        char pattern[64];
        DataLoader loader;
        Error error;
        snprintf(pattern, sizeof pattern, "%s/%s_*.bin", out, splits[i]);
        expect_ok(dataloader_open(&loader, pattern, 2048, 320, &error), &error);
        dataloader_close(&loader);
    }
}

// ---- Validation from the end of a document

// The one document of these shards.
static char *only_text(const char *pattern) {
    Documents documents = documents_load(pattern);
    assert_int_equal(documents.count, 1);
    char *text = copy_or_exit(documents.texts[0]);
    documents_free(&documents);
    return text;
}

// Both parts are whole lines, and together the file.
static void expect_cut_at_line(const char *out, const char *whole) {
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s/train_*.bin", out);
    char *head = only_text(pattern);
    snprintf(pattern, sizeof pattern, "%s/val_*.bin", out);
    char *tail = only_text(pattern);
    size_t size = strlen(head);
    assert_int_equal(head[size - 1], '\n');
    assert_int_equal(strncmp(whole, head, size), 0);
    assert_string_equal(whole + size, tail);
    free(head);
    free(tail);
}

// Of two texts of one length the seed draws one for validation: half of the tokens, not the share asked for.
static void test_share(void **state) {
    (void)state;
    put_text("two/a.txt", "");
    put_numbers("two/a.txt", 1000);
    put_numbers("two/b.txt", 1001);
    char *said = program_output("pack two --out halves");
    expect_part(said, "validation has 50 % of the tokens, where --val-fraction is 1 %: documents are few");
    free(said);
    said = program_output("pack two --out tail --seed 2"); // the advice
    expect_part(said, "validation is the end of two/b.txt");
    assert_null(strstr(said, "validation has"));
    free(said);
    put_text("lines.jsonl", "");
    put_lines("lines.jsonl", 1000);
    said = program_output("pack lines.jsonl --out drawn");
    assert_null(strstr(said, "validation has"));
    free(said);
}

// The first command that anyone types.
static void test_one_file(void **state) {
    (void)state;
    put_numbers("input.txt", 100000);
    char *whole = scratch_read(".", "input.txt", NULL);
    char *said = program_output("pack input.txt --out data");
    expect_part(said, "validation 1 documents, ");
    expect_part(said, "validation is the end of input.txt, from line 990");
    free(said);
    expect_cut_at_line("data", whole);
    free(program_output("pack input.txt --out ordered --no-shuffle"));
    expect_same_files("data", "ordered");
    free(program_output("pack input.txt --out one --threads 1"));
    expect_same_files("data", "one");
    expect_tiny_trains("data");
    said = program_output("pack input.txt --out none --val-fraction 0");
    expect_part(said, "validation 0 documents");
    assert_null(strstr(said, "the end of"));
    free(said);
    char *all = only_text("none/train_*.bin");
    assert_string_equal(all, whole);
    free(all);
    free(whole);
}

// Small, but enough for a sequence of the tiny model where a tenth of the text is.
static void test_small_file(void **state) {
    (void)state;
    put_numbers("input.txt", 12000);
    free(program_output("pack input.txt --out data"));
    expect_tiny_trains("data");
    put_numbers("input.txt", 100);
    free(program_output("pack input.txt --out small"));
    program_expect(3, "pack more text (for validation with a larger --val-fraction), or use --seq-len ",
                   "train --preset tiny --data small/train_*.bin --out run");
}

static void test_one_line(void **state) {
    (void)state;
    put_text("a.jsonl", "{\"text\": \"ab \\u00e4\\u00e4\\u00e4\\u00e4\\u00e4\\u00e4\\u00e4\\u00e4\"}\n");
    char *said = program_output("pack a.jsonl --out data --val-fraction 0.3");
    expect_part(said, "validation is the end of a.jsonl, from byte ");
    expect_part(said, " of the text of line 1 on");
    free(said);
    char *head = only_text("data/train_*.bin"), *tail = only_text("data/val_*.bin");
    assert_int_equal(strlen(head) + strlen(tail), 19);
    assert_int_not_equal((unsigned char)tail[0] & 0xc0, 0x80); // no character is cut in two
    free(head);
    free(tail);
}

// None of a few documents fell into validation, or all did: the longest, which is not the last, gives its
// end.
static void test_few_documents(void **state) {
    (void)state;
    put_text("in/a.txt", "short\n");
    put_numbers("in/b.txt", 200);
    put_text("in/c.txt", "short too\n");
    const char *input = "in";
    static const double fractions[] = {1e-9, 1 - 1e-9};
    for (int i = 0; i < 4; i++) {
        PackConfig config = packing_config(&input, 1, "out", 2);
        config.val_fraction = fractions[i % 2];
        config.shuffle = i < 2;
        PackReport report = packing_run(&config);
        assert_int_equal(report.train.documents, 3);
        assert_int_equal(report.val.documents, 1);
        expect_part(report.tail, "validation is the end of in/b.txt, from line ");
        char *tail = only_text("out/val_*.bin");
        expect_part(tail, "line 200\n");
        assert_int_equal(strncmp(tail, "line ", 5), 0);
        free(tail);
        packing_remove("out");
    }
}

// Token ids of one document are cut between two ids.
static void test_ids(void **state) {
    (void)state;
    unsigned char ids[2 * 1000];
    for (int i = 0; i < 1000; i++) {
        ids[2 * i] = (unsigned char)(i & 255);
        ids[2 * i + 1] = (unsigned char)(i >> 8);
    }
    scratch_write(".", "ids.bin", ids, sizeof ids);
    char *said = program_output("pack ids.bin --tokens uint16 --vocab 1000 --out data");
    expect_part(said, "validation is the end of ids.bin, from id 900 (from 0) on");
    free(said);
    int64_t head, tail;
    free(shards_load("data/train_*.bin", &head));
    int32_t *tokens = shards_load("data/val_*.bin", &tail);
    assert_int_equal(head, 900);
    assert_int_equal(tail, 100);
    for (int i = 0; i < 100; i++) assert_int_equal(tokens[i], 900 + i);
    free(tokens);
}

// ---- Sizes of shards

#define SHORT 14000

// One line of JSON, most of it an address.
static void put_line(FILE *file, int number, const char *letters, int length) {
    fprintf(file, "{\"url\": \"http://%0300d\", \"text\": \"%.*s\"}\n", number, length, letters);
}

// Lines of one letter, more of them than are read for an estimate, and of 1 to `longest` letters; rising or
// falling.
static void put_sorted(const char *path, int longest, bool falling) {
    char *letters = (char *)alloc_or_exit((size_t)longest + 1, 1);
    memset(letters, 'x', (size_t)longest);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    int count = SHORT + longest;
    for (int i = 0; i < count; i++) {
        int place = falling ? count - 1 - i : i, length = place < SHORT ? 1 : place - SHORT + 1;
        put_line(file, i, letters, length);
    }
    assert_int_equal(fclose(file), 0);
    free(letters);
}

static void expect_shards_within(const char *pattern, int64_t least, int64_t most) {
    PathList paths;
    Error error;
    expect_ok(paths_glob(pattern, &paths, &error), &error);
    assert_true(paths.count > 1);
    for (int64_t i = 0; i < paths.count; i++) {
        int64_t count;
        free(shards_load(paths.paths[i], &count));
        assert_in_range(count, least, most);
    }
    paths_free(&paths);
}

static void test_sorted_by_length(void **state) {
    (void)state;
    for (int falling = 0; falling < 2; falling++) {
        put_sorted("a.jsonl", 3000, falling);
        const char *input = "a.jsonl";
        for (int threads = 1; threads <= 4; threads += 3) {
            PackConfig config = packing_config(&input, 1, threads == 1 ? "one" : "four", threads);
            config.shuffle = true;
            config.shard_tokens = 100000;
            PackReport report = packing_run(&config);
            assert_in_range(report.train.shards, 30, 60);
            assert_int_equal(report.train.documents, SHORT + 3000);
        }
        expect_shards_within("one/*.bin", 50000, 200000);
        expect_same_files("one", "four");
        packing_remove("one");
        packing_remove("four");
    }
}

// One that is longer than a shard has a shard for itself, or with a few; no name is left out.
static void test_long_document(void **state) {
    (void)state;
    put_text("in/a.jsonl", "");
    put_sorted("in/a.jsonl", 500, false);
    put_numbers("in/long.txt", 50000);
    const char *input = "in";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shuffle = true;
    config.shard_tokens = 20000;
    PackReport report = packing_run(&config);
    assert_int_equal(report.train.documents, SHORT + 501);
    assert_int_equal(scratch_count("out"), report.train.shards);
    assert_in_range(report.train.shards, 8, 12);
    assert_int_equal(report.train.long_documents, 1);
    char *said = program_output("pack in --out said --shard-tokens 20000 --val-fraction 0");
    expect_part(said, "1 document is longer than --shard-tokens, up to 538896 tokens");
    free(said);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, SHORT + 501);
    documents_free(&documents);
    for (int64_t i = 0; i < report.train.shards; i++) {
        char path[64];
        snprintf(path, sizeof path, "out/train_%05d.bin", (int)i);
        assert_true(file_exists(path));
    }
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_share),
        IN_FOLDER(test_one_file),
        IN_FOLDER(test_small_file),
        IN_FOLDER(test_one_line),
        IN_FOLDER(test_few_documents),
        IN_FOLDER(test_ids),
        IN_FOLDER(test_sorted_by_length),
        IN_FOLDER(test_long_document),
    };
    return cmocka_run_group_tests_name("pack split", tests, NULL, NULL);
}
