// pack: the order, the split into validation and the shards are what the settings say, and the number of
// threads changes nothing.
#include "core/base/files.h"
#include "core/pack/pack_input.h"
#include "core/pack/pack_estimate.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int document_number(const char *text) {
    int number = -1;
    assert_int_equal(sscanf(text, "document %d", &number), 1);
    return number;
}

// Every one of n documents is there once; *displaced receives how many are not in their own place.
static void assert_permutation(const Documents *documents, int n, int *displaced) {
    bool *seen = (bool *)alloc_or_exit((size_t)n, sizeof *seen);
    *displaced = 0;
    for (int64_t i = 0; i < documents->count; i++) {
        int number = document_number(documents->texts[i]);
        assert_in_range(number, 0, n - 1);
        assert_false(seen[number]);
        seen[number] = true;
        *displaced += number != i;
    }
    assert_int_equal(documents->count, n);
    free(seen);
}

static void test_order_is_kept(void **state) {
    (void)state;
    put_lines("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shard_tokens = 100000;
    PackReport report = packing_run(&config);
    Documents documents = documents_load("out/train_*.bin");
    int displaced;
    assert_permutation(&documents, 3000, &displaced);
    assert_int_equal(displaced, 0);
    documents_free(&documents);
    assert_int_equal(report.train.shards, (report.train.tokens + 99999) / 100000);
    for (int64_t i = 0; i < report.train.shards; i++) {
        char path[40];
        int64_t n_tokens;
        snprintf(path, sizeof path, "out/train_%05d.bin", (int)i);
        free(shards_load(path, &n_tokens));
        // A shard ends with the document that reaches the size: none is longer than 300 tokens.
        if (i < report.train.shards - 1) assert_in_range(n_tokens, 100000, 100300);
    }
}

static void test_shuffle(void **state) {
    (void)state;
    put_lines("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shard_tokens = 100000;
    config.shuffle = true;
    config.seed = 1;
    PackReport report = packing_run(&config);
    assert_in_range(report.train.shards, 3, 5); // 430 thousand tokens
    Documents documents = documents_load("out/train_*.bin");
    int displaced;
    assert_permutation(&documents, 3000, &displaced);
    assert_in_range(displaced, 2980, 3000);
    // Neighbours are not neighbours any more: neither in one shard nor as a run within it.
    int neighbours = 0;
    for (int64_t i = 1; i < documents.count; i++) {
        int step = document_number(documents.texts[i]) - document_number(documents.texts[i - 1]);
        neighbours += step == 1;
    }
    assert_in_range(neighbours, 0, 10);
    config.out = "other";
    config.seed = 2;
    packing_run(&config);
    Documents others = documents_load("other/train_*.bin");
    assert_permutation(&others, 3000, &displaced);
    int same = 0;
    for (int64_t i = 0; i < 3000; i++) same += strcmp(documents.texts[i], others.texts[i]) == 0;
    assert_in_range(same, 0, 20);
    documents_free(&documents);
    documents_free(&others);
}

static void test_threads_change_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "in_%d.jsonl", i);
        put_lines(name, 20000 + i);
    }
    const char *inputs[] = {"in_0.jsonl", "in_1.jsonl", "in_2.jsonl", "in_3.jsonl", "in_4.jsonl"};
    const char *const outs[] = {"out1", "out4"};
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        for (int i = 0; i < 2; i++) {
            PackConfig config = packing_config(inputs, 5, outs[i], i ? 4 : 1);
            config.shard_tokens = 3000000;
            config.val_fraction = 0.1;
            config.shuffle = shuffle;
            packing_run(&config);
        }
        assert_true(scratch_count("out1") >= 4);
        expect_same_files("out1", "out4");
        packing_remove("out1");
        packing_remove("out4");
    }
}

// The same documents are validation whether shuffled or not, whatever the size of shards; about the share
// asked for.
static void test_validation(void **state) {
    (void)state;
    put_lines("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.val_fraction = 0.1;
    config.seed = 7;
    PackReport report = packing_run(&config);
    Documents in_order = documents_load("out/val_*.bin"), rest = documents_load("out/train_*.bin");
    assert_int_equal(report.val.documents, in_order.count);
    assert_int_equal(report.train.documents, rest.count);
    assert_int_equal(in_order.count + rest.count, 3000);
    assert_in_range(in_order.count, 250, 350); // 300, standard deviation 16
    packing_remove("out");
    config.shuffle = true;
    config.shard_tokens = 20000;
    report = packing_run(&config);
    assert_in_range(report.val.shards, 2, 3);
    Documents shuffled = documents_load("out/val_*.bin");
    assert_int_equal(shuffled.count, in_order.count);
    for (int64_t i = 0; i < in_order.count; i++) {
        int found = 0;
        for (int64_t j = 0; j < shuffled.count; j++) found += !strcmp(in_order.texts[i], shuffled.texts[j]);
        assert_int_equal(found, 1);
    }
    documents_free(&in_order);
    documents_free(&rest);
    documents_free(&shuffled);
}

// With far more spills than documents the names of the shards still have no gap.
static void test_no_empty_shards(void **state) {
    (void)state;
    put_lines("a.jsonl", 40);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.shard_tokens = 100;
    config.shuffle = true;
    PackReport report = packing_run(&config);
    assert_in_range(report.train.shards, 10, 39);
    for (int64_t i = 0; i <= report.train.shards; i++) {
        char path[40];
        snprintf(path, sizeof path, "out/train_%05d.bin", (int)i);
        assert_int_equal(file_exists(path), i < report.train.shards);
    }
    Documents documents = documents_load("out/train_*.bin");
    int displaced;
    assert_permutation(&documents, 40, &displaced);
    documents_free(&documents);
}

// ---- The estimate of the tokens

// Compressed inputs are estimated well enough to give about the wanted number of shards.
static void test_estimate(void **state) {
    (void)state;
    put_lines("a.jsonl", 20000);
    Error error;
    char *text = file_read("a.jsonl", SIZE_MAX, NULL, &error);
    gzip_append("b.jsonl.gz", text);
    gzip_append("c.txt.gz", text);
    const char *inputs[] = {"a.jsonl", "b.jsonl.gz", "c.txt.gz"};
    for (int i = 0; i < 3; i++) {
        PackConfig config = packing_config(&inputs[i], 1, "out", 2);
        int64_t expected = packing_run(&config).train.tokens, estimate;
        packing_remove("out");
        PackInputs list;
        assert_true(pack_inputs_list(&config, &list, &error));
        assert_true(pack_estimate(&list, &config, &estimate, &error));
        pack_inputs_free(&list);
        assert_in_range(estimate, expected * 9 / 10, expected * 11 / 10);
    }
    free(text);
}

// So are a large file and many small ones that compress quite differently, wherever it stands among them:
// each counts for the bytes that it has.
static void test_estimate_of_unlike_files(void **state) {
    (void)state;
    enum { SMALL = 100, LINE = 15000, LINES = 200 };
    Error error;
    assert_true(folders_make("in", &error));
    char *large = (char *)alloc_or_exit(LINES, LINE + 20), *at = large;
    for (uint32_t line = 0, bits = 1; line < LINES; line++) {
        at += sprintf(at, "{\"text\": \"");
        for (int i = 0; i < LINE; i++) *at++ = (char)('a' + ((bits = bits * 1664525 + 1013904223) >> 28));
        at += sprintf(at, "\"}\n");
    }
    char *small = copy_or_exit(large), name[40];
    memset(small + 10, 'a', LINE);
    small[10 + LINE + 3] = 0; // its first line, a hundredth on disk
    for (int i = 0; i < SMALL; i++) {
        snprintf(name, sizeof name, "in/%03d.jsonl.gz", i);
        small[10] = (char)('a' + i % 26); // no copies of each other
        small[11] = (char)('a' + i / 26);
        gzip_append(name, small);
    }
    for (int place = 0; place <= SMALL; place += 25) {
        snprintf(name, sizeof name, "in/%03d_large.jsonl.gz", place);
        gzip_append(name, large);
        const char *input = "in";
        PackConfig config = packing_config(&input, 1, "out", 2);
        int64_t expected = packing_run(&config).train.tokens, estimate;
        packing_remove("out");
        PackInputs list;
        assert_true(pack_inputs_list(&config, &list, &error));
        assert_true(pack_estimate(&list, &config, &estimate, &error));
        pack_inputs_free(&list);
        assert_in_range(estimate, expected / 2, expected * 2);
        assert_int_equal(unlink(name), 0);
    }
    free(large);
    free(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_order_is_kept),
        IN_FOLDER(test_shuffle),
        IN_FOLDER(test_threads_change_nothing),
        IN_FOLDER(test_validation),
        IN_FOLDER(test_no_empty_shards),
        IN_FOLDER(test_estimate),
        IN_FOLDER(test_estimate_of_unlike_files),
    };
    return cmocka_run_group_tests_name("pack order", tests, NULL, NULL);
}
