// A training run small enough for tests; see tiny_run.h.
#include "tiny_run.h"

#include "core/base/files.h"
#include "core/model/tokenizer.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LIMIT_SECONDS 300

// ---- Data

// `count` tokens: documents of 97, 134, 171, ... letters that go on with the alphabet where the last one
// ended.
static void shard_of_letters(const char *path, int64_t count) {
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    int64_t letters = 0, left = 0, length = 60;
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 || tokens[i - 1] == TOKEN_EOS) {
            tokens[i] = TOKEN_BOS;
            left = length += 37;
        } else if (left == 0) {
            tokens[i] = TOKEN_EOS;
        } else {
            tokens[i] = (int32_t)('a' + letters++ % 26);
            left--;
        }
    }
    shard_make(path, 2, tokens, count);
    free(tokens);
}

static const char settings[] =
    "{\"settings\": {\"layers\": 2, \"dim\": 64, \"heads\": 2, \"kv-heads\": 1, \"head-dim\": 64, \"ffn\": "
    "64, "
    "\"vocab\": 264, \"seq-len\": 768, \"levels\": 2, \"pool\": 2, \"topk\": 128, \"dense-layers\": \"0\", "
    "\"data\": \"train_*.bin\", \"val\": \"val_*.bin\", \"val-every\": 0, \"val-batches\": 2, "
    "\"global-batch\": 2, \"warmup\": 2, \"lr\": 0.01}}";

void tiny_files(void) {
    scratch_write(".", "tiny.json", settings, -1);
    shard_of_letters("train_0.bin", 1500);
    shard_of_letters("train_1.bin", TINY_SEQUENCES * TINY_CONTEXT + 100 - 1500);
    shard_of_letters("val_0.bin", 2 * TINY_CONTEXT + 1);
}

int tiny_enter(void **state) {
    int failed = temporary_folder_enter(state);
    if (!failed) tiny_files();
    return failed;
}

// ---- Files

static char *file_bytes(const char *path, size_t *size) {
    Error error;
    char *bytes = file_read(path, SIZE_MAX, size, &error);
    if (!bytes) fail_msg("%s", error.message);
    return bytes;
}

void file_copy(const char *from, const char *to) {
    size_t size;
    char *bytes = file_bytes(from, &size);
    scratch_write(".", to, bytes, (int64_t)size);
    free(bytes);
}

bool files_equal(const char *one, const char *other) {
    size_t size, other_size;
    char *bytes = file_bytes(one, &size), *other_bytes = file_bytes(other, &other_size);
    bool equal = size == other_size && memcmp(bytes, other_bytes, size) == 0;
    free(bytes);
    free(other_bytes);
    return equal;
}

void expect_same_checkpoint(const char *run, const char *other, int64_t step) {
    static const char *const names[] = {"model.safetensors", "trainer/optimizer.safetensors",
                                        "trainer/gates.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512], other_path[512];
        snprintf(path, sizeof path, "%s/step_%08lld/%s", run, (long long)step, names[i]);
        snprintf(other_path, sizeof other_path, "%s/step_%08lld/%s", other, (long long)step, names[i]);
        if (i == 2 && (!file_exists(path) || !file_exists(other_path)))
            continue; // none under dense attention
        if (!files_equal(path, other_path)) fail_msg("%s and %s differ", path, other_path);
    }
}

// ---- Logs

json_t *tiny_log(const char *run) {
    char path[512];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    char *text = file_bytes(path, NULL);
    json_t *lines = json_array();
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        if (!end) fail_msg("%s: the last line is torn: %s", path, line);
        json_t *object = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(object)) fail_msg("%s: no JSON object: %.200s", path, line);
        json_array_append_new(lines, object);
        line = end + 1;
    }
    free(text);
    return lines;
}

json_t *tiny_event(const json_t *log, const char *event, int n) {
    for (size_t i = 0; i < json_array_size(log); i++) {
        json_t *line = json_array_get(log, i);
        const char *name = json_string_value(json_object_get(line, "event"));
        if (name && strcmp(name, event) == 0 && n-- == 0) return line;
    }
    return NULL;
}

json_t *tiny_steps(const char *run) {
    json_t *log = tiny_log(run), *steps = json_array();
    for (size_t i = 0; i < json_array_size(log); i++) {
        json_t *line = json_array_get(log, i);
        if (!json_object_get(line, "event")) json_array_append(steps, line);
    }
    json_decref(log);
    return steps;
}

int64_t line_integer(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_integer(json_object_get(line, key)));
    return json_integer_value(json_object_get(line, key));
}

const char *line_text(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_string(json_object_get(line, key)));
    return json_string_value(json_object_get(line, key));
}

double line_number(const json_t *line, const char *key) {
    assert_non_null(line);
    assert_true(json_is_number(json_object_get(line, key)));
    return json_number_value(json_object_get(line, key));
}

void expect_same_steps(const char *run, const char *other, int64_t steps) {
    static const char *const keys[] = {"step", "tokens", "loss", "grad_norm", "lr", "attention"};
    json_t *mine = tiny_steps(run), *theirs = tiny_steps(other);
    assert_int_equal(json_array_size(mine), steps);
    assert_int_equal(json_array_size(theirs), steps);
    for (int64_t s = 0; s < steps; s++) {
        json_t *line = json_array_get(mine, (size_t)s), *other_line = json_array_get(theirs, (size_t)s);
        assert_int_equal(json_integer_value(json_object_get(line, "step")), s + 1);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            if (json_equal(json_object_get(line, keys[k]), json_object_get(other_line, keys[k]))) continue;
            fail_msg("%s and %s differ in \"%s\" of step %lld", run, other, keys[k], (long long)s + 1);
        }
    }
    json_decref(mine);
    json_decref(theirs);
}

static bool log_holds(const char *run, const char *wanted) {
    Error error;
    char *path = path_join(run, "log.jsonl"),
         *text = file_exists(path) ? file_read(path, SIZE_MAX, NULL, &error) : NULL;
    bool found = text && strstr(text, wanted);
    free(text);
    free(path);
    return found;
}

static bool has_folder(const char *run, const char *name) {
    char *path = path_join(run, name);
    bool found = folder_exists(path);
    free(path);
    return found;
}

static bool wait_until(bool (*has)(const char *run, const char *what), const char *run, const char *what) {
    struct timespec pause = {0, 1000000};
    for (int64_t waited = 0; waited < LIMIT_SECONDS * INT64_C(1000); waited++) {
        if (has(run, what)) return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

bool tiny_wait_for(const char *run, const char *wanted) {
    return wait_until(log_holds, run, wanted);
}

bool tiny_wait_saved(const char *run, int64_t step) {
    char name[32];
    snprintf(name, sizeof name, "step_%08lld", (long long)step);
    return wait_until(has_folder, run, name);
}

bool tiny_wait(const char *run, int64_t step) {
    char line[64];
    snprintf(line, sizeof line, "{\"step\":%lld,", (long long)step);
    return tiny_wait_for(run, line);
}

// ---- Broken models

void tiny_scale(const char *model, const char *scaled, const char *tensor, float factor) {
    size_t size;
    uint64_t header_size;
    json_int_t begin, end;
    char config[512], scaled_config[512];
    char *bytes = scratch_read(model, "model.safetensors", &size);
    memcpy(&header_size, bytes, sizeof header_size);
    char *start = bytes + sizeof header_size + header_size;
    json_t *header = json_loadb(bytes + sizeof header_size, header_size, 0, NULL);
    assert_int_equal(json_unpack(json_object_get(header, tensor), "{s:[I, I]}", "data_offsets", &begin, &end),
                     0);
    for (char *at = start + begin; at < start + end; at += sizeof(float)) {
        float weight;
        memcpy(&weight, at, sizeof weight);
        weight *= factor;
        memcpy(at, &weight, sizeof weight);
    }
    scratch_write(scaled, "model.safetensors", bytes, (int64_t)size);
    snprintf(config, sizeof config, "%s/config.json", model);
    snprintf(scaled_config, sizeof scaled_config, "%s/config.json", scaled);
    file_copy(config, scaled_config);
    json_decref(header);
    free(bytes);
}
