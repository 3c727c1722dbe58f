// pack --separator: one text file with many documents.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define PACK "pack %s --out out --val-fraction 0 --no-shuffle --separator %s"

// The documents of the file, parted so, are these; NULL ends them.
static void expect_documents(const char *name, const char *separator, const char *const *texts) {
    free(program_output(PACK, name, separator));
    Documents documents = documents_load("out/train_*.bin");
    int64_t count = 0;
    for (; texts[count]; count++) expect_document(&documents, count, texts[count], strlen(texts[count]));
    assert_int_equal(documents.count, count);
    documents_free(&documents);
    packing_remove("out");
}

static void test_documents(void **state) {
    (void)state;
    static const char *const three[] = {"one\n", "\ntwo\n", "\nthree\n", NULL};
    put_text("a.txt", "one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n");
    expect_documents("a.txt", "<|endoftext|>", three);
    put_text("a.txt", "<|endoftext|>one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n");
    expect_documents("a.txt", "<|endoftext|>", three); // at both ends
    put_text("a.txt", "one\n<|endoftext|><|endoftext|>\ntwo\n<|endoftext|> \n<|endoftext|>\nthree\n");
    expect_documents("a.txt", "<|endoftext|>", three); // documents without a letter
    gzip_append("a.txt.gz", "one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n");
    expect_documents("a.txt.gz", "<|endoftext|>", three);
    static const char *const plain[] = {"one", "two", "three", NULL};
    put_text("a.txt", "one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree");
    expect_documents("a.txt", "\\n<|endoftext|>\\n", plain);
    put_text("a.txt", "one\n\ntwo\n\nthree");
    expect_documents("a.txt", "\\n\\n", plain);
    put_text("a.txt", "one\x1etwo\x1ethree\x1e");
    expect_documents("a.txt", "\\x1e", plain);
    put_text("a.txt", "one\\two\\three");
    expect_documents("a.txt", "\\\\", plain);
    static const char *const last[] = {"one", "\ntwo", NULL};
    put_text("a.txt", "one\n\n\ntwo"); // the first that fits counts
    expect_documents("a.txt", "\\n\\n", last);
}

// Who does not know the option hears of it.
static void test_hint(void **state) {
    (void)state;
    put_text("in/a.txt", "one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n");
    put_text("in/b.txt", "a text about <|endoftext|>\n");
    char *text = program_output("pack in --out out --val-fraction 0");
    expect_part(text, "with <|endoftext|> in it, and packed as one document each (see --separator): 1 text "
                      "(in/a.txt)\n");
    free(text);
    text = program_output("pack in --out parted --val-fraction 0 --separator <|endoftext|>");
    assert_null(strstr(text, "as one document"));
    free(text);
}

// Documents of all lengths around the size of a block, and a separator that lies on its border in each way.
static void test_borders(void **state) {
    (void)state;
    static const char separator[] = "<|endoftext|>";
    enum { BLOCK = 1 << 20, DOCUMENTS = 16 };
    FILE *file = fopen("a.txt", "w");
    assert_non_null(file);
    for (int i = 0; i < DOCUMENTS; i++) {
        int length = BLOCK - 20 + i;
        for (int j = 0; j < length; j++) fputc('a' + (i + j / 1000) % 26, file);
        fputs(separator, file);
        fprintf(file, "short %d%s", i, separator);
    }
    assert_int_equal(fclose(file), 0);
    for (int threads = 1; threads <= 3; threads += 2) {
        free(program_output("pack a.txt --out out%d --val-fraction 0 --separator <|endoftext|> --threads %d",
                            threads, threads));
    }
    expect_same_files("out1", "out3");
    free(program_output(PACK, "a.txt", separator));
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 2 * DOCUMENTS);
    for (int i = 0; i < DOCUMENTS; i++) {
        char text[32];
        assert_int_equal(documents.sizes[2 * i], BLOCK - 20 + i);
        assert_int_equal(documents.texts[2 * i][0], 'a' + i % 26);
        snprintf(text, sizeof text, "short %d", i);
        expect_document(&documents, 2 * i + 1, text, strlen(text));
    }
    documents_free(&documents);
}

// What is held is a block, not the file.
static void test_memory(void **state) {
    (void)state;
    enum { PIECES = 200000 };
    FILE *file = fopen("a.txt", "w");
    assert_non_null(file);
    for (int i = 0; i < PIECES; i++) {
        fprintf(file, "%0400d<|endoftext|>", i);
    }
    assert_int_equal(fclose(file), 0);
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "out", 1);
    Error error;
    expect_ok(separator_read(&config.separator, "<|endoftext|>", &error), &error);
    config.shard_tokens = 10000000;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    PackReport report = packing_run(&config);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(report.train.documents, PIECES);
    assert_in_range(after.ru_maxrss - before.ru_maxrss, 0, 40000); // KB, of a file of 82 MB
}

// One of several that has other ends of lines is told.
static void test_unparted(void **state) {
    (void)state;
    put_text("a.txt", "one\n\ntwo\n\nthree");
    put_text("b.txt", "four\r\n\r\nfive");
    char *said = program_output("pack a.txt b.txt --separator \\n\\n --val-fraction 0 --out out");
    expect_part(said, "without the --separator, and packed as one document each: 1 text (b.txt)");
    free(said);
    put_text("b.txt", "four\n\nfive");
    said = program_output("pack a.txt b.txt --separator \\n\\n --val-fraction 0 --out all");
    assert_null(strstr(said, "without the --separator"));
    free(said);
}

static void test_refusals(void **state) {
    (void)state;
    put_text("a.txt", "one\n\ntwo");
    put_text("a.jsonl", "{\"text\": \"one\"}\n");
    program_expect(3,
                   "the --separator is nowhere in the texts: see how their documents are parted, or "
                   "leave it out",
                   PACK, "a.txt", "<|endoftext|>");
    program_expect(2, "--separator parts text files, and all inputs are JSON lines", PACK, "a.jsonl", "x");
    program_expect(2, "--separator a\\q: \\n, \\r, \\t, \\\\ and \\x01 to \\xff are known", PACK, "a.txt",
                   "a\\q");
    program_expect(2, "behind a backslash", PACK, "a.txt", "\\x00");
    program_expect(2, "behind a backslash", PACK, "a.txt", "\\x1");
    program_expect(2, "--separator is for text",
                   "pack a.txt --tokens uint16 --vocab 1000 --out out --separator x");
    const char *words[] = {"pack", "a.txt", "--out", "out", "--separator", "", NULL};
    Outcome outcome = program_run_words(words);
    assert_int_equal(outcome.status, 2);
    outcome_free(&outcome);
    assert_false(folder_exists("out"));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_documents), IN_FOLDER(test_hint),     IN_FOLDER(test_borders),
        IN_FOLDER(test_memory),    IN_FOLDER(test_unparted), IN_FOLDER(test_refusals),
    };
    return cmocka_run_group_tests_name("pack separator", tests, NULL, NULL);
}
