// The fuzzers' harnesses without a fuzzer: every seed, every input that a reader once failed on, and some
// mutations of each, always the same. test_fuzz FOLDER, the folder that holds corpus/ and crashes/.
#include "core/base/files.h"
#include "core/base/random.h"
#include "dev/fuzz/harness.h"
#include "dev/test/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MUTATIONS 200          // of an input
#define MAX_SPAN  ((size_t)64) // bytes that a mutation moves

static const char *fuzz_folder;

typedef struct {
    uint64_t stream, count;
} Draws;

static size_t draw(Draws *draws, size_t below) {
    return (size_t)(random_uniform(7, draws->stream, draws->count++) * (double)below);
}

// Changes a few bytes, cuts a piece out, or puts a copy of a piece somewhere else. The new size, `size` +
// MAX_SPAN at most.
static size_t mutate(uint8_t *data, size_t size, Draws *draws) {
    static const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff, '0', '9', '-', '"', '{', '}', '\n', '/', '.'};
    if (size == 0) return 0;
    size_t at = draw(draws, size), span = 1 + draw(draws, MAX_SPAN);
    if (span > size - at) span = size - at;
    switch (draw(draws, 4)) {
    case 0: data[at] ^= (uint8_t)(1 << draw(draws, 8)); return size;
    case 1: data[at] = bytes[draw(draws, sizeof bytes)]; return size;
    case 2: memmove(data + at, data + at + span, size - at - span); return size - span;
    default: {
        size_t to = draw(draws, size + 1);
        uint8_t piece[MAX_SPAN];
        memcpy(piece, data + at, span);
        memmove(data + to + span, data + to, size - to);
        memcpy(data + to, piece, span);
        return size + span;
    }
    }
}

static void run_mutations(const Harness *harness, const char *input, size_t size, Draws *draws) {
    size_t room = size + 8 * MAX_SPAN;
    uint8_t *data = (uint8_t *)test_malloc(room);
    for (int i = 0; i < MUTATIONS; i++) {
        size_t now = size;
        memcpy(data, input, size);
        if (i % 2) now = fuzz_change_number(data, now, size + MAX_SPAN, (unsigned)draw(draws, 1 << 20));
        for (size_t changes = draw(draws, 4); changes > 0; changes--) now = mutate(data, now, draws);
        if (harness->mend && i % 8) now = harness->mend(data, now, room, (unsigned)draw(draws, 1000));
        fuzz_run(harness, data, now);
    }
    test_free(data);
}

// Returns how many inputs there were.
static int64_t run_folder(const Harness *harness, const char *kind, Draws *draws) {
    Error error;
    PathList names = {NULL, 0};
    char *folder = path_join(fuzz_folder, kind), *inputs = path_join(folder, harness->name);
    if (folder_exists(inputs) && !folder_list(inputs, &names, &error)) fail_msg("%s", error.message);
    for (int64_t i = 0; i < names.count; i++) {
        size_t size;
        char *input = scratch_read(inputs, names.paths[i], &size);
        fuzz_run(harness, (const uint8_t *)input, size);
        run_mutations(harness, input, size, draws);
        free(input);
    }
    int64_t count = names.count;
    paths_free(&names);
    free(inputs);
    free(folder);
    return count;
}

static void test_harness(void **state) {
    const Harness *harness = (const Harness *)*state;
    Draws draws = {(uint64_t)(harness - fuzz_harnesses), 0};
    assert_true(run_folder(harness, "corpus", &draws) > 0);
    run_folder(harness, "crashes", &draws);
}

// An input of several files falls apart where it should.
static void test_unpack(void **state) {
    (void)state;
    static const char *const names[] = {"a", "b.json", NULL};
    static const char input[] = "lost\n@@ a\none\ntwo\n@@ b.json\n{}\n@@ c\nstays\n@@ a\n";
    char *folder = scratch_create();
    fuzz_unpack(folder, names, (const uint8_t *)input, strlen(input));
    char *a = scratch_read(folder, "a", NULL), *b = scratch_read(folder, "b.json", NULL);
    assert_string_equal(a, "");
    assert_string_equal(b, "{}\n@@ c\nstays");
    assert_int_equal(scratch_count(folder), 2);
    free(a);
    free(b);
    scratch_remove(folder);
}

// Lengths and checksums that are wrong alone become what they were.
static void test_mend(void **state) {
    (void)state;
    static const struct {
        const char *harness, *seed;
        int64_t place; // of a wrong byte, counted from the end where negative
    } rows[] = {
        {"shard", "bytes", 33},   {"shard", "bytes", 60},    {"shard", "bytes", 17},
        {"state", "written", -5}, {"state", "written", -18}, {"safetensors", "f32", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64];
        size_t size;
        snprintf(name, sizeof name, "corpus/%s/%s", rows[i].harness, rows[i].seed);
        char *input = scratch_read(fuzz_folder, name, &size);
        uint8_t *data = (uint8_t *)test_malloc(size);
        memcpy(data, input, size);
        data[rows[i].place < 0 ? (int64_t)size + rows[i].place : rows[i].place] ^= 1;
        assert_int_equal(fuzz_harness(rows[i].harness)->mend(data, size, size, 7), size);
        assert_memory_equal(data, input, size);
        test_free(data);
        free(input);
    }
}

// One number of a text becomes another, and the rest stays.
static void test_change_number(void **state) {
    (void)state;
    uint8_t text[64] = "{\"a\": 12, \"b\": 3}";
    size_t size = strlen((char *)text);
    size = fuzz_change_number(text, size, sizeof text, 32 + 1); // the second becomes 1
    assert_memory_equal(text, "{\"a\": 12, \"b\": 1}", size);
    size = fuzz_change_number(text, size, sizeof text, 2 * 32 + 31); // round again to the first, doubled
    assert_memory_equal(text, "{\"a\": 24, \"b\": 1}", size);
    assert_int_equal(fuzz_change_number(text, size, size, 15), size); // no room for INT64_MAX
    size = fuzz_change_number(text, size, sizeof text, 15);
    assert_memory_equal(text, "{\"a\": 9223372036854775807, \"b\": 1}", size);
    assert_int_equal(fuzz_change_number(text, 4, sizeof text, 15), 4); // none there
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: test_fuzz FOLDER\n");
        return 2;
    }
    fuzz_folder = argv[1];
    struct CMUnitTest tests[3 + FUZZ_HARNESSES] = {
        cmocka_unit_test(test_change_number), cmocka_unit_test(test_unpack), cmocka_unit_test(test_mend)};
    for (int i = 0; i < FUZZ_HARNESSES; i++) {
        struct CMUnitTest test = {fuzz_harnesses[i].name, test_harness, NULL, NULL,
                                  (void *)&fuzz_harnesses[i]};
        tests[3 + i] = test;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
