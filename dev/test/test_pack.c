// pack: every input format gives back its text, the order and the split are what the settings say, the number
// of threads changes nothing, and what is wrong is said.
#include "core/pack.h"
#include "core/pack_input.h"
#include "core/tokenizer.h"
#include "core/files.h"
#include "support/shards.h"
#include "support/temporary_folder.h"

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
#include <zlib.h>
#include <cmocka.h>

// ---- Inputs

static void put(const char *path, const char *data, size_t size) {
    Error error;
    char *folder = path_parent(path);
    bool ok = folders_make(folder, &error) && file_write(path, data, size, &error);
    free(folder);
    if (!ok) fail_msg("%s", error.message);
}

static void put_text(const char *path, const char *text) {
    put(path, text, strlen(text));
}

// Adds a gzip member to a file.
static void put_gzip(const char *path, const char *text) {
    gzFile file = gzopen(path, "ab");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), strlen(text));
    assert_int_equal(gzclose(file), Z_OK);
}

// n lines of JSON; the text of line i is "document i" and i % 50 times " word".
static void put_many(const char *path, int n) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < n; i++) {
        fprintf(file, "{\"text\": \"document %d", i);
        for (int j = 0; j < i % 50; j++) fputs(" word", file);
        fputs("\", \"url\": \"u\"}\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

// ---- Running and reading back

static PackConfig config_for(const char **inputs, int n_inputs) {
    PackConfig config;
    memset(&config, 0, sizeof config);
    config.inputs = inputs;
    config.n_inputs = n_inputs;
    config.out = "out";
    config.shard_tokens = 1000000;
    config.threads = 2;
    config.max_bad_fraction = PACK_MAX_BAD_FRACTION;
    config.document_end = -1;
    return config;
}

static PackReport run(const PackConfig *config) {
    PackReport report;
    Error error = {0, ""};
    if (!pack_run(config, &report, &error)) fail_msg("%s", error.message);
    assert_false(folder_exists("out/.packing"));
    return report;
}

// The run fails so, and leaves no file in the output folder.
static void assert_fails(const PackConfig *config, int status, const char *part) {
    PackReport report;
    Error error = {0, ""};
    assert_false(pack_run(config, &report, &error));
    assert_int_equal(error.status, status);
    if (!strstr(error.message, part)) fail_msg("\"%s\" says nothing of \"%s\"", error.message, part);
    PathList left;
    if (folder_exists(config->out)) {
        assert_true(folder_list(config->out, &left, &error));
        if (left.count > 0) fail_msg("%s was left", left.paths[0]);
        paths_free(&left);
    }
}

static void remove_tree(const char *path) {
    Error error;
    assert_true(tree_remove(path, &error));
}

typedef struct {
    char **texts; // each with a zero byte behind it
    size_t *sizes;
    int64_t count;
} Documents;

// The documents of the shards that match, and a check that their tokens are well formed.
static Documents load(const char *pattern) {
    int64_t n_tokens;
    int32_t *tokens = shards_load(pattern, &n_tokens);
    Documents documents = {NULL, NULL, 0};
    documents.texts = (char **)alloc_or_exit((size_t)n_tokens, sizeof(char *));
    documents.sizes = (size_t *)alloc_or_exit((size_t)n_tokens, sizeof(size_t));
    for (int64_t i = 0; i < n_tokens; i++) {
        assert_int_equal(tokens[i], TOKEN_BOS);
        int64_t start = i + 1;
        for (i = start; i < n_tokens && tokens[i] < 256; i++) {
        }
        assert_true(i < n_tokens);
        assert_int_equal(tokens[i], TOKEN_EOS);
        size_t size = (size_t)(i - start);
        char *text = (char *)alloc_or_exit(size + 1, 1);
        for (size_t j = 0; j < size; j++) text[j] = (char)tokens[start + (int64_t)j];
        documents.texts[documents.count] = text;
        documents.sizes[documents.count++] = size;
    }
    free(tokens);
    return documents;
}

static void unload(Documents *documents) {
    for (int64_t i = 0; i < documents->count; i++) free(documents->texts[i]);
    free(documents->texts);
    free(documents->sizes);
}

static void assert_document(const Documents *documents, int64_t i, const char *text, size_t size) {
    assert_true(i < documents->count);
    assert_int_equal(documents->sizes[i], size);
    assert_memory_equal(documents->texts[i], text, size);
}

// Packs one input in order and compares all documents.
static PackReport assert_packs(const char *input, const char *const *texts, int64_t count) {
    PackConfig config = config_for(&input, 1);
    PackReport report = run(&config);
    Documents documents = load("out/train_*.bin");
    assert_int_equal(documents.count, count);
    assert_int_equal(report.train.documents, count);
    for (int64_t i = 0; i < count; i++) assert_document(&documents, i, texts[i], strlen(texts[i]));
    unload(&documents);
    remove_tree("out");
    return report;
}

// ---- Formats

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
    PackConfig config = config_for(&input, 1);
    run(&config);
    Documents documents = load("out/train_00000.bin");
    assert_int_equal(documents.count, 1);
    assert_document(&documents, 0, "a\0b\0", 4);
    unload(&documents);
}

static void test_gzip_members(void **state) {
    (void)state;
    put_gzip("c4-train.json.gz", "{\"text\": \"one\", \"timestamp\": \"t\", \"url\": \"u\"}\n{\"tex");
    put_gzip("c4-train.json.gz", "t\": \"two\"}\n");
    put_gzip("c4-train.json.gz", "");
    put_gzip("c4-train.json.gz", "{\"url\": \"u\", \"text\": \"three\"}\n");
    const char *const texts[] = {"one", "two", "three"};
    assert_packs("c4-train.json.gz", texts, 3);
}

static void test_plain_text(void **state) {
    (void)state;
    const char text[] = "line\n\xff\xfe not UTF-8\0 zero, as named explicitly\n";
    put("a.dat", text, sizeof text - 1);
    const char *input = "a.dat";
    PackConfig config = config_for(&input, 1);
    run(&config);
    Documents documents = load("out/train_00000.bin");
    assert_int_equal(documents.count, 1);
    assert_document(&documents, 0, text, sizeof text - 1);
    unload(&documents);
}

static void test_text_gzip(void **state) {
    (void)state;
    put_gzip("a.txt.gz", "first half, ");
    put_gzip("a.txt.gz", "second half");
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
    put("in/image.png", "x\0y", 3);
    char *late = (char *)alloc_or_exit(20000, 1); // text at first
    memset(late, 'x', 19999);
    put("in/late.bin", late, 20000);
    free(late);
    assert_int_equal(symlink(".", "in/loop"), 0);
    assert_int_equal(symlink("nowhere", "in/dangling"), 0);
    put_text("outside/o.txt", "o");
    assert_int_equal(symlink("../outside", "in/link"), 0);
    put_gzip("in/z.txt.gz", "z");
    const char *const texts[] = {"a", "a/z", "b", "{\n  \"name\": \"text\"\n}\n", "from JSON", "o", "z"};
    const char *inputs[] = {"in"};
    PackConfig config = config_for(inputs, 1);
    config.max_bad_fraction = 0.5; // of docs.json
    PackReport report = run(&config);
    Documents documents = load("out/train_*.bin");
    assert_int_equal(documents.count, 7);
    for (int64_t i = 0; i < 7; i++) assert_document(&documents, i, texts[i], strlen(texts[i]));
    unload(&documents);
    assert_int_equal(report.binary_files, 2);
    assert_int_equal(report.empty_documents, 1);
    assert_int_equal(report.malformed_lines, 1);
}

static void test_inputs_in_given_order(void **state) {
    (void)state;
    put_text("b.txt", "b");
    put_text("a.txt", "a");
    const char *inputs[] = {"b.txt", "a.txt"};
    PackConfig config = config_for(inputs, 2);
    assert_int_equal(run(&config).files, 2);
    Documents documents = load("out/train_*.bin");
    assert_document(&documents, 0, "b", 1);
    assert_document(&documents, 1, "a", 1);
    unload(&documents);
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
    put("a.txt", text, size);
    put("b.jsonl", line, (size_t)start + size + 3);
    const char *inputs[] = {"a.txt", "b.jsonl", "b.jsonl"};
    PackConfig config = config_for(inputs, 3);
    config.shuffle = true;
    run(&config);
    Documents documents = load("out/train_*.bin");
    assert_int_equal(documents.count, 3);
    for (int i = 0; i < 3; i++) assert_document(&documents, i, text, size);
    unload(&documents);
    free(text);
    free(line);
}

// ---- Order and split

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
    put_many("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    config.shard_tokens = 100000;
    PackReport report = run(&config);
    Documents documents = load("out/train_*.bin");
    int displaced;
    assert_permutation(&documents, 3000, &displaced);
    assert_int_equal(displaced, 0);
    unload(&documents);
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
    put_many("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    config.shard_tokens = 100000;
    config.shuffle = true;
    config.seed = 1;
    PackReport report = run(&config);
    assert_in_range(report.train.shards, 3, 5); // 430 thousand tokens
    Documents documents = load("out/train_*.bin");
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
    PackReport unused;
    Error error;
    assert_true(pack_run(&config, &unused, &error));
    Documents others = load("other/train_*.bin");
    assert_permutation(&others, 3000, &displaced);
    int same = 0;
    for (int64_t i = 0; i < 3000; i++) same += strcmp(documents.texts[i], others.texts[i]) == 0;
    assert_in_range(same, 0, 20);
    unload(&documents);
    unload(&others);
}

static void test_threads_change_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "in_%d.jsonl", i);
        put_many(name, 20000);
    }
    const char *inputs[] = {"in_0.jsonl", "in_1.jsonl", "in_2.jsonl", "in_3.jsonl", "in_4.jsonl"};
    const char *const outs[] = {"out1", "out4"};
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        for (int i = 0; i < 2; i++) {
            PackConfig config = config_for(inputs, 5);
            config.out = outs[i];
            config.shard_tokens = 3000000;
            config.val_fraction = 0.1;
            config.shuffle = shuffle;
            config.threads = i ? 4 : 1;
            PackReport report;
            Error error;
            assert_true(pack_run(&config, &report, &error));
        }
        PathList names;
        Error error;
        assert_true(folder_list("out1", &names, &error));
        assert_true(names.count >= 4);
        for (int64_t i = 0; i < names.count; i++) {
            char *a = path_join("out1", names.paths[i]), *b = path_join("out4", names.paths[i]);
            size_t size_a, size_b;
            char *data_a = file_read(a, SIZE_MAX, &size_a, &error),
                 *data_b = file_read(b, SIZE_MAX, &size_b, &error);
            assert_non_null(data_a);
            assert_non_null(data_b);
            assert_int_equal(size_a, size_b);
            assert_memory_equal(data_a, data_b, size_a);
            free(a), free(b), free(data_a), free(data_b);
        }
        paths_free(&names);
        remove_tree("out1");
        remove_tree("out4");
    }
}

// The same documents are validation whether shuffled or not, whatever the size of shards; about the share
// asked for.
static void test_validation(void **state) {
    (void)state;
    put_many("a.jsonl", 3000);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    config.val_fraction = 0.1;
    config.seed = 7;
    PackReport report = run(&config);
    Documents in_order = load("out/val_*.bin"), rest = load("out/train_*.bin");
    assert_int_equal(report.val.documents, in_order.count);
    assert_int_equal(report.train.documents, rest.count);
    assert_int_equal(in_order.count + rest.count, 3000);
    assert_in_range(in_order.count, 250, 350); // 300, standard deviation 16
    remove_tree("out");
    config.shuffle = true;
    config.shard_tokens = 20000;
    report = run(&config);
    assert_in_range(report.val.shards, 2, 3);
    Documents shuffled = load("out/val_*.bin");
    assert_int_equal(shuffled.count, in_order.count);
    for (int64_t i = 0; i < in_order.count; i++) {
        int found = 0;
        for (int64_t j = 0; j < shuffled.count; j++) found += !strcmp(in_order.texts[i], shuffled.texts[j]);
        assert_int_equal(found, 1);
    }
    unload(&in_order);
    unload(&rest);
    unload(&shuffled);
}

// With far more spills than documents the names of the shards still have no gap.
static void test_no_empty_shards(void **state) {
    (void)state;
    put_many("a.jsonl", 40);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    config.shard_tokens = 100;
    config.shuffle = true;
    PackReport report = run(&config);
    assert_in_range(report.train.shards, 10, 39);
    for (int64_t i = 0; i <= report.train.shards; i++) {
        char path[40];
        snprintf(path, sizeof path, "out/train_%05d.bin", (int)i);
        assert_int_equal(file_exists(path), i < report.train.shards);
    }
    Documents documents = load("out/train_*.bin");
    int displaced;
    assert_permutation(&documents, 40, &displaced);
    unload(&documents);
}

// Compressed inputs are estimated well enough to give about the wanted number of shards.
static void test_estimate(void **state) {
    (void)state;
    put_many("a.jsonl", 20000);
    Error error;
    char *text = file_read("a.jsonl", SIZE_MAX, NULL, &error);
    put_gzip("b.jsonl.gz", text);
    put_gzip("c.txt.gz", text);
    const char *inputs[] = {"a.jsonl", "b.jsonl.gz", "c.txt.gz"};
    for (int i = 0; i < 3; i++) {
        PackConfig config = config_for(&inputs[i], 1);
        int64_t expected = run(&config).train.tokens, estimate;
        remove_tree("out");
        PackInputs list;
        assert_true(pack_inputs_list(&inputs[i], 1, 0, &list, &error));
        assert_true(pack_inputs_estimate(&list, 0, &estimate, &error));
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
        put_gzip(name, small);
    }
    for (int place = 0; place <= SMALL; place += 25) {
        snprintf(name, sizeof name, "in/%03d_large.jsonl.gz", place);
        put_gzip(name, large);
        const char *input = "in";
        PackConfig config = config_for(&input, 1);
        int64_t expected = run(&config).train.tokens, estimate;
        remove_tree("out");
        PackInputs list;
        assert_true(pack_inputs_list(&input, 1, 0, &list, &error));
        assert_true(pack_inputs_estimate(&list, 0, &estimate, &error));
        pack_inputs_free(&list);
        assert_in_range(estimate, expected / 2, expected * 2);
        assert_int_equal(unlink(name), 0);
    }
    free(large);
    free(small);
}

// ---- What is wrong

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
    if (!ok) fail_msg("%s", error.message);
    char *text = file_read("stderr.txt", 1 << 20, NULL, &error);
    assert_non_null(text);
    return text;
}

static void assert_contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" says nothing of \"%s\"", text, part);
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
    PackConfig config = config_for(&input, 1);
    assert_fails(
        &config, STATUS_DATA,
        "6 of 8 lines are malformed (75 %, allowed are 0.1 %): mend them or allow more with --max-bad");
    config.max_bad_fraction = 0.75;
    char *text = warnings_of(&config);
    assert_contains(text, "a.jsonl line 2 is left out: ");
    assert_contains(text, "a.jsonl line 4 is left out: no JSON object");
    assert_contains(text, "a.jsonl line 5 is left out: field \"text\" is no string");
    assert_contains(text, "a.jsonl line 6 is left out: no field \"text\"");
    assert_contains(text, "a.jsonl line 7 is left out: ");
    assert_null(strstr(text, "line 8")); // only the first few are named
    free(text);
    Documents documents = load("out/train_*.bin");
    assert_int_equal(documents.count, 2);
    assert_document(&documents, 1, "good too", 8);
    unload(&documents);
}

// Line numbers stay right over the borders of blocks.
static void test_malformed_line_far_down(void **state) {
    (void)state;
    put_many("a.jsonl", 40000);
    FILE *file = fopen("a.jsonl", "a");
    assert_non_null(file);
    fputs("oops\n", file);
    fclose(file);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    char *text = warnings_of(&config);
    assert_contains(text, "a.jsonl line 40001 is left out: ");
    free(text);
}

static void test_no_json_at_all(void **state) {
    (void)state;
    FILE *file = fopen("a.json", "w");
    assert_non_null(file);
    for (int i = 0; i < 200000; i++) fprintf(file, "  \"key %d\": 5,\n", i);
    fclose(file);
    const char *input = "a.json";
    PackConfig config = config_for(&input, 1);
    config.max_bad_fraction = 1;
    assert_fails(&config, STATUS_DATA, " lines of a.json are all malformed: one JSON object a line");
}

static void test_damaged_gzip(void **state) {
    (void)state;
    put_many("a.jsonl", 3000);
    Error error;
    char *text = file_read("a.jsonl", SIZE_MAX, NULL, &error);
    put_gzip("whole.jsonl.gz", text);
    put_gzip("a.jsonl.gz", text);
    free(text);
    size_t size;
    char *data = file_read("a.jsonl.gz", SIZE_MAX, &size, &error);
    const char *inputs[] = {"whole.jsonl.gz", "a.jsonl.gz"};
    PackConfig config = config_for(inputs, 2);
    for (int shuffle = 0; shuffle < 2; shuffle++) { // shuffling, the estimate sees it first
        config.shuffle = shuffle;
        put("a.jsonl.gz", data, size - 1);
        assert_fails(&config, STATUS_DATA, "input a.jsonl.gz is gzip cut short");
        put("a.jsonl.gz", data, size / 2);
        assert_fails(&config, STATUS_DATA, "input a.jsonl.gz is gzip cut short");
        put("a.jsonl.gz", data, size);
        file_flip_bit("a.jsonl.gz", -5); // of the checksum
        assert_fails(&config, STATUS_DATA, "input a.jsonl.gz is damaged gzip");
        put("a.jsonl.gz", data, size + 1); // file_read leaves a zero behind: padding is no damage
        config.out = "padded";
        PackReport report;
        assert_true(pack_run(&config, &report, &error));
        assert_int_equal(report.train.documents, 6000);
        remove_tree("padded");
        config.out = "out";
        FILE *file = fopen("a.jsonl.gz", "ab");
        assert_non_null(file);
        fputs("garbage", file);
        fclose(file);
        assert_fails(&config, STATUS_DATA, "input a.jsonl.gz is damaged gzip");
        put("a.jsonl.gz", "{}", 2);
        assert_fails(&config, STATUS_DATA, "input a.jsonl.gz is named .gz but is not gzip");
    }
    free(data);
}

static void test_missing_inputs(void **state) {
    (void)state;
    put_text("a.txt", "a");
    assert_int_equal(mkdir("empty", 0777), 0);
    const char *inputs[] = {"a.txt", "missing.txt"};
    PackConfig config = config_for(inputs, 2);
    assert_fails(&config, STATUS_DATA, "missing.txt: No such file");
    inputs[1] = "empty";
    config.inputs = inputs + 1;
    config.n_inputs = 1;
    assert_fails(&config, STATUS_DATA, "no text file in empty");
    put_text("empty/nothing.txt", "");
    assert_fails(&config, STATUS_DATA, "no document: 1 empty");
    assert_int_equal(mkfifo("pipe", 0666), 0);
    inputs[1] = "pipe";
    assert_fails(&config, STATUS_DATA, "pipe is no regular file");
}

static void test_output_folder(void **state) {
    (void)state;
    put_text("a.txt", "a");
    const char *input = "a.txt";
    PackConfig config = config_for(&input, 1);
    config.out = "deep/[er]/out";
    PackReport report;
    Error error;
    assert_true(pack_run(&config, &report, &error));
    assert_true(file_exists("deep/[er]/out/train_00000.bin"));
    assert_false(pack_run(&config, &report, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_contains(error.message, "deep/[er]/out already holds shards (train_00000.bin)");
    config.out = "a.txt/out";
    assert_false(pack_run(&config, &report, &error));
    assert_int_equal(error.status, STATUS_DATA);
    assert_contains(error.message, "cannot make the folder a.txt");
}

// What a killed run left is cleared away; a folder that another run works in is left alone.
static void test_working_folder(void **state) {
    (void)state;
    put_text("a.txt", "a");
    put_text("out/.packing/train_00007.bin", "old");
    put_text("out/.packing/train_00001.spill", "old");
    const char *input = "a.txt";
    PackConfig config = config_for(&input, 1);
    config.shuffle = true;
    int other = open("out/.packing", O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(other, LOCK_EX), 0);
    PackReport report;
    Error error;
    assert_false(pack_run(&config, &report, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_contains(error.message, "another `pack` is writing to out");
    assert_true(file_exists("out/.packing/train_00001.spill"));
    close(other);
    report = run(&config);
    assert_int_equal(report.train.shards, 1);
    assert_int_equal(report.train.tokens, 3);
    assert_false(file_exists("out/train_00007.bin"));
}

// A disk that fills up, in the middle of the run or in the shuffle after it.
static void test_write_error(void **state) {
    (void)state;
    put_many("a.jsonl", 20000);
    const char *input = "a.jsonl";
    PackConfig config = config_for(&input, 1);
    config.shard_tokens = 4000000;
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    signal(SIGXFSZ, SIG_IGN);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        config.shuffle = shuffle;
        // The one shard has some 5.8 MB, its spill half of that.
        for (limit.rlim_cur = 1000000; limit.rlim_cur <= 4000000; limit.rlim_cur += 3000000) {
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
            bool in_spill = shuffle && limit.rlim_cur == 1000000;
            assert_fails(&config, STATUS_DATA,
                         in_spill ? "train_00000.spill: File too large"
                                  : "train_00000.bin.tmp: File too large");
            assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        }
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void test_validation_is_all_or_nothing(void **state) {
    (void)state;
    put_text("a.txt", "a");
    const char *input = "a.txt";
    PackConfig config = config_for(&input, 1);
    config.val_fraction = 1e-9;
    char *text = warnings_of(&config);
    assert_contains(text, "none of the 1 documents fell into validation");
    free(text);
    remove_tree("out");
    config.val_fraction = 1 - 1e-9;
    assert_fails(&config, STATUS_DATA, "all 1 documents fell into validation, none is left to train on");
}

static void test_impossible_settings(void **state) {
    (void)state;
    put_text("a.txt", "some text that is longer than a few bytes");
    const char *input = "a.txt";
    PackConfig config = config_for(&input, 1);
    config.val_fraction = 1;
    assert_fails(&config, STATUS_USAGE, "--val-fraction 1 ");
    config.val_fraction = 0;
    config.threads = 0;
    assert_fails(&config, STATUS_USAGE, "--threads 0 ");
    config.threads = 1;
    config.shard_tokens = 0;
    assert_fails(&config, STATUS_USAGE, "--shard-tokens 0 ");
    config.shard_tokens = 1;
    config.shuffle = true;
    char *big = (char *)alloc_or_exit(200000, 1);
    memset(big, 'x', 200000);
    put("big.txt", big, 200000);
    free(big);
    input = "big.txt";
    assert_fails(&config, STATUS_USAGE, "use --shard-tokens");
    config.n_inputs = 0;
    assert_fails(&config, STATUS_USAGE, "at least one input");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temporary_folder_enter, temporary_folder_leave)

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
        IN_FOLDER(test_order_is_kept),
        IN_FOLDER(test_shuffle),
        IN_FOLDER(test_threads_change_nothing),
        IN_FOLDER(test_validation),
        IN_FOLDER(test_no_empty_shards),
        IN_FOLDER(test_estimate),
        IN_FOLDER(test_estimate_of_unlike_files),
        IN_FOLDER(test_malformed_lines),
        IN_FOLDER(test_malformed_line_far_down),
        IN_FOLDER(test_no_json_at_all),
        IN_FOLDER(test_damaged_gzip),
        IN_FOLDER(test_missing_inputs),
        IN_FOLDER(test_output_folder),
        IN_FOLDER(test_working_folder),
        IN_FOLDER(test_write_error),
        IN_FOLDER(test_validation_is_all_or_nothing),
        IN_FOLDER(test_impossible_settings),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
