// pack: every input format gives back its text.
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// Packs one input in order and compares all documents.
static PackReport assert_packs(const char *input, const char *const *texts, int64_t count) {
    PackConfig config = packing_config(&input, 1, "out", 2);
    PackReport report = packing_run(&config);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, count);
    assert_int_equal(report.train.documents, count);
    for (int64_t i = 0; i < count; i++) expect_document(&documents, i, texts[i], strlen(texts[i]));
    documents_free(&documents);
    packing_remove("out");
    return report;
}

static void test_json_lines(void **state) {
    (void)state;
    put_text("a.jsonl",
             "\xef\xbb\xbf{\"text\": \"one\"}\n"
             "\n"
             "{\"url\": {\"text\": [1, {}]}, \"text\": \"t\\u00e9\\ud83d\\ude00\\n\\\"\\/\", \"n\": 1e5}\r\n"
             "{\"text\": \"\"}\n"
             "  {\"n\": 123456789012345678901234567890, \"text\": \"<|endoftext|><s>\"}\n"
             "{\"text\": \"last\"}");
    const char *const texts[] = {"one", "t\xc3\xa9\xf0\x9f\x98\x80\n\"/", "<|endoftext|><s>", "last"};
    PackReport report = assert_packs("a.jsonl", texts, 4);
    assert_int_equal(report.lines, 5);
    assert_int_equal(report.empty_documents, 1);
    assert_int_equal(report.malformed_lines, 0);
    assert_int_equal(report.train.bytes, 3 + 10 + 16 + 4);
    assert_int_equal(report.train.tokens, report.train.bytes + 8);
    assert_int_equal(report.train.shards, 1);
}

static void test_zero_characters(void **state) {
    (void)state;
    put_text("a.json", "{\"text\": \"a\\u0000b\\u0000\"}\n");
    const char *input = "a.json";
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_run(&config);
    Documents documents = documents_load("out/train_00000.bin");
    assert_int_equal(documents.count, 1);
    expect_document(&documents, 0, "a\0b\0", 4);
    documents_free(&documents);
}

static void test_gzip_members(void **state) {
    (void)state;
    gzip_append("c4-train.json.gz", "{\"text\": \"one\", \"timestamp\": \"t\", \"url\": \"u\"}\n{\"tex");
    gzip_append("c4-train.json.gz", "t\": \"two\"}\n");
    gzip_append("c4-train.json.gz", "");
    gzip_append("c4-train.json.gz", "{\"url\": \"u\", \"text\": \"three\"}\n");
    const char *const texts[] = {"one", "two", "three"};
    assert_packs("c4-train.json.gz", texts, 3);
}

static void test_plain_text(void **state) {
    (void)state;
    const char text[] = "line\n\xff\xfe not UTF-8\n";
    scratch_write(".", "a.dat", text, (int64_t)(sizeof text - 1));
    const char *input = "a.dat";
    PackConfig config = packing_config(&input, 1, "out", 2);
    assert_string_equal(packing_run(&config).kept, "1 text (a.dat)");
    Documents documents = documents_load("out/train_00000.bin");
    assert_int_equal(documents.count, 1);
    expect_document(&documents, 0, text, sizeof text - 1);
    documents_free(&documents);
}

static void test_text_gzip(void **state) {
    (void)state;
    gzip_append("a.txt.gz", "first half, ");
    gzip_append("a.txt.gz", "second half");
    const char *const texts[] = {"first half, second half"};
    assert_packs("a.txt.gz", texts, 1);
}

static void test_folder(void **state) {
    (void)state;
    put_text("in/b.txt", "b");
    put_text("in/a/z.c", "a/z");
    put_text("in/a.txt", "a");
    put_text("in/empty", "");
    put_text("in/config.json", "{\n  \"name\": \"text\"\n}\n");
    put_text("in/docs.json", "{\"name\": 1}\n{\"text\": \"from JSON\"}\n");
    put_text("in/.hidden", "no");
    put_text("in/.git/x", "no");
    scratch_write(".", "in/image.png", "x\0y", 3);
    char *late = (char *)alloc_or_exit(20000, 1); // text at first
    memset(late, 'x', 19999);
    scratch_write(".", "in/late.bin", late, 20000);
    free(late);
    assert_int_equal(symlink(".", "in/loop"), 0);
    assert_int_equal(symlink("nowhere", "in/dangling"), 0);
    put_text("outside/o.txt", "o");
    assert_int_equal(symlink("../outside", "in/link"), 0);
    gzip_append("in/z.txt.gz", "z");
    const char *const texts[] = {"a", "a/z", "b", "from JSON", "o", "z"};
    const char *inputs[] = {"in"};
    PackConfig config = packing_config(inputs, 1, "out", 2);
    config.max_bad_fraction = 0.5; // of docs.json
    PackReport report = packing_run(&config);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 6);
    for (int64_t i = 0; i < 6; i++) expect_document(&documents, i, texts[i], strlen(texts[i]));
    documents_free(&documents);
    assert_string_equal(report.left_out,
                        "1 line (in/docs.json), 1 empty document (in/empty), 1 binary file (in/late.bin), 1 "
                        "dangling link (in/dangling), 2 hidden files (in/.git, in/.hidden), 1 loop of links "
                        "(in/loop), 1 picture (in/image.png), 1 pretty-printed JSON file (in/config.json)");
    assert_int_equal(report.empty_documents, 1);
    assert_int_equal(report.malformed_lines, 1);
}

static void test_inputs_in_given_order(void **state) {
    (void)state;
    put_text("b.txt", "b");
    put_text("a.txt", "a");
    const char *inputs[] = {"b.txt", "a.txt"};
    PackConfig config = packing_config(inputs, 2, "out", 2);
    assert_int_equal(packing_run(&config).files, 2);
    Documents documents = documents_load("out/train_*.bin");
    expect_document(&documents, 0, "b", 1);
    expect_document(&documents, 1, "a", 1);
    documents_free(&documents);
}

// Documents and lines larger than the blocks that they are read in.
static void test_large_documents(void **state) {
    (void)state;
    size_t size = 3500000;
    char *text = (char *)alloc_or_exit(size, 1), *line = (char *)alloc_or_exit(size + 100, 1);
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + i * i % 26);
    int start = snprintf(line, 100, "{\"text\": \"");
    memcpy(line + start, text, size);
    memcpy(line + start + size, "\"}\n", 3);
    scratch_write(".", "a.txt", text, (int64_t)size);
    scratch_write(".", "b.jsonl", line, (int64_t)((size_t)start + size + 3));
    line[(size_t)start + size + 3] = '\n'; // no copy of the other
    scratch_write(".", "c.jsonl", line, (int64_t)((size_t)start + size + 4));
    const char *inputs[] = {"a.txt", "b.jsonl", "c.jsonl"};
    PackConfig config = packing_config(inputs, 3, "out", 2);
    config.shuffle = true;
    packing_run(&config);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 3);
    for (int i = 0; i < 3; i++) expect_document(&documents, i, text, size);
    documents_free(&documents);
    free(text);
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_json_lines),
        IN_FOLDER(test_zero_characters),
        IN_FOLDER(test_gzip_members),
        IN_FOLDER(test_plain_text),
        IN_FOLDER(test_text_gzip),
        IN_FOLDER(test_folder),
        IN_FOLDER(test_inputs_in_given_order),
        IN_FOLDER(test_large_documents),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
