// Runs of `pack` inside a test; see packing.h.
#include "packing.h"

#include "core/base/files.h"
#include "core/pack/json_lines.h"
#include "core/model/tokenizer.h"
#include "expect.h"
#include "scratch.h"
#include "shards.h"
#include "tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

// ---- Inputs

void put_text(const char *path, const char *text) {
    scratch_write(".", path, text, -1);
}

static void make_parent(const char *path) {
    Error error;
    char *folder = path_parent(path);
    expect_ok(folders_make(folder, &error), &error);
    free(folder);
}

void gzip_append_bytes(const char *path, const void *bytes, size_t size) {
    make_parent(path);
    gzFile file = gzopen(path, "ab1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
}

void gzip_append(const char *path, const char *text) {
    gzip_append_bytes(path, text, strlen(text));
}

void put_lines(const char *path, int n) {
    make_parent(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < n; i++) {
        fprintf(file, "{\"text\": \"document %d", i);
        for (int j = 0; j < i % 50; j++) fputs(" word", file);
        fputs("\", \"url\": \"u\"}\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

// ---- Running

PackConfig packing_config(const char **inputs, int n_inputs, const char *out, int threads) {
    PackConfig config;
    memset(&config, 0, sizeof config);
    config.inputs = inputs;
    config.n_inputs = n_inputs;
    config.out = out;
    config.shard_tokens = 1000000;
    config.threads = threads;
    config.max_bad_fraction = 0.001;
    config.document_end = -1;
    config.field = JSON_LINES_FIELD;
    return config;
}

PackReport packing_run(const PackConfig *config) {
    PackReport report;
    Error error = {0, ""};
    expect_ok(pack_run(config, &report, &error), &error);
    assert_false(scratch_exists(config->out, ".packing"));
    return report;
}

void packing_fails(const PackConfig *config, int status, const char *part) {
    PackReport report;
    Error error = {0, ""};
    expect_failed(pack_run(config, &report, &error), &error, status, part);
    if (folder_exists(config->out)) assert_int_equal(scratch_count(config->out), 0);
}

void packing_remove(const char *out) {
    Error error;
    expect_ok(tree_remove(out, &error), &error);
}

// ---- What the shards hold

void expect_same_files(const char *one, const char *other) {
    PathList names;
    Error error;
    assert_int_equal(scratch_count(one), scratch_count(other));
    expect_ok(folder_list(one, &names, &error), &error);
    for (int64_t i = 0; i < names.count; i++) {
        char *a = path_join(one, names.paths[i]), *b = path_join(other, names.paths[i]);
        if (!files_equal(a, b)) fail_msg("%s and %s differ", a, b);
        free(a);
        free(b);
    }
    paths_free(&names);
}

Documents documents_load(const char *pattern) {
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

void documents_free(Documents *documents) {
    for (int64_t i = 0; i < documents->count; i++) free(documents->texts[i]);
    free(documents->texts);
    free(documents->sizes);
}

void expect_document(const Documents *documents, int64_t i, const char *text, size_t size) {
    assert_true(i < documents->count);
    assert_int_equal(documents->sizes[i], size);
    assert_memory_equal(documents->texts[i], text, size);
}
