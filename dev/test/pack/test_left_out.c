// What is left out is counted and named, and kinds of files are told by their first bytes.
#include "core/base/file_kind.h"
#include "core/pack/left_out.h"
#include "dev/test/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect_text(LeftOut *left, const char *expected) {
    char text[400];
    left_out_text(left, text, sizeof text);
    assert_string_equal(text, expected);
}

static void test_counts(void **state) {
    (void)state;
    LeftOut left = {NULL, 0};
    expect_text(&left, "");
    left_out_add(&left, "dangling link", "in/link", 1);
    left_out_add(&left, "binary file", "b", 1);
    left_out_add(&left, "line", "b.jsonl", 20);
    left_out_add(&left, "binary file", "a", 1);
    left_out_add(&left, "line", "a.jsonl", 5);
    left_out_add(&left, "line", "b.jsonl", 4);
    left_out_add(&left, "line", "c.jsonl", 0);
    left_out_add(&left, "empty document", "a.jsonl", 3);
    assert_int_equal(left_out_count(&left), 35);
    for (int twice = 0; twice < 2; twice++) {
        expect_text(&left, "29 lines (24 of them in b.jsonl), 3 empty documents (a.jsonl), 2 binary files "
                           "(a, b), 1 dangling link (in/link)");
    }
    left_out_free(&left);
}

static void test_many_names(void **state) {
    (void)state;
    LeftOut left = {NULL, 0};
    for (int i = 9; i > 0; i--) {
        char name[16];
        snprintf(name, sizeof name, "%d\n.bin", i);
        left_out_add(&left, "binary file", name, 1);
    }
    expect_text(&left, "9 binary files (1?.bin, 2?.bin and 7 more)");
    char text[20];
    left_out_text(&left, text, sizeof text);
    assert_string_equal(text, "9 binary files (...");
    left_out_free(&left);
}

static void expect_kind(const char *first, size_t size, const char *name) {
    const FileKind *kind = file_kind_of(first, size);
    if (!name && kind) fail_msg("%s, where none is expected", kind->name);
    if (!name) return;
    if (!kind) fail_msg("no kind, where %s is expected", name);
    assert_string_equal(kind->name, name);
}

#define KIND(first, name) expect_kind(first, sizeof(first) - 1, name)

static void test_kinds(void **state) {
    (void)state;
    KIND("", NULL);
    KIND("A text.", NULL);
    KIND("\x1f\x8b\x08", "gzip file");
    KIND("\x28\xb5\x2f\xfd....", "zstd file");
    KIND("\x5a\x2a\x4d\x18\4\0\0\0", "zstd file");
    KIND("\xfd"
         "7zXZ\0",
         "xz file");
    KIND("BZh91AY&SY", "bzip2 file");
    KIND("PK\3\4", "zip archive");
    KIND("PAR1....", "Parquet file");
    KIND("ARROW1\0\0", "Arrow file");
    KIND("\xff\xff\xff\xff\x30\1\0\0", "Arrow stream");
    KIND("SQLite format 3\0", "sqlite database");
    KIND("version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer");
    KIND("%PDF-1.7", "PDF document");
    KIND("\x93NUMPY\1\0", "NumPy array");
    KIND("LHSHARD\n", "shard");
    KIND("version https://git-lfs", NULL);
    char block[512] = "name";
    block[257 - 1] = 0;
    memcpy(block + 257, "ustar", 5);
    expect_kind(block, sizeof block, "tar archive");
    expect_kind(block, 260, NULL);
}

// An archive without a magic number is known by the sum of its first header.
static void test_old_tar(void **state) {
    (void)state;
    char block[512] = "name";
    unsigned sum = 8 * ' ' + 'n' + 'a' + 'm' + 'e';
    snprintf(block + 148, 8, "%6o", sum);
    expect_kind(block, sizeof block, "tar archive");
    block[200] = 'x';
    expect_kind(block, sizeof block, NULL);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(file_kind_named("in/a.PARQUET")->name, "Parquet file");
    assert_string_equal(file_kind_named("a.tgz")->name, "gzip file");
    assert_null(file_kind_named("parquet"));
    assert_null(file_kind_named("a.txt"));
    assert_null(file_kind_named(".gz"));
}

static void test_command(void **state) {
    (void)state;
    char text[80];
    file_kind_command("xz -dc FILE > FILE.txt", "in/a.xz", text, sizeof text);
    assert_string_equal(text, "xz -dc in/a.xz > in/a.xz.txt");
    file_kind_command("cat FILE", "it's in/a b", text, sizeof text);
    assert_string_equal(text, "cat 'it'\\''s in/a b'");
    file_kind_command(NULL, "a", text, sizeof text);
    assert_string_equal(text, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),  cmocka_unit_test(test_many_names), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_old_tar), cmocka_unit_test(test_names),      cmocka_unit_test(test_command),
    };
    return cmocka_run_group_tests_name("left out", tests, NULL, NULL);
}
