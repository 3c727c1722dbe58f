// Damaged checkpoints, and those of another model: whatever is wrong is found and named.
#include "core/base/files.h"
#include "core/checkpoint/tensor_set.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/saved_run.h"
#include "dev/test/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// A damaged checkpoint is refused, with the file's name, before anything of the engine has changed.
static void expect_refused(SavedRun *f, const char *part) {
    Engine *other = fake_engine_create(&saved_model, true), *before = fake_engine_create(&saved_model, true);
    fake_engine_fill(other, 2);
    fake_engine_fill(before, 2);
    Error error;
    expect_failed(checkpoint_load(other, f->folder, &error), &error, STATUS_DATA, part);
    assert_true(fake_engine_same_weights(other, before, true));
    assert_true(fake_engine_same_moments(other, before));
    engine_destroy(other);
    engine_destroy(before);
}

// ---- Damage

// Names of all files, state.json included.
static const char *file_name(int i) {
    return i < CHECKPOINT_FILES ? checkpoint_file_names[i] : STATE_FILE_NAME;
}

// One bit of a byte is flipped, every bit in its turn: loading names the file.
static void expect_noticed(SavedRun *f, Engine *other, const char *name, int64_t byte) {
    Error error;
    int bit = (int)(byte * 5 % 8);
    scratch_flip(f->folder, name, (size_t)byte, bit);
    if (checkpoint_load(other, f->folder, &error)) fail_msg("%s: byte %d was believed", name, (int)byte);
    expect_failed(false, &error, STATUS_DATA, name);
    scratch_flip(f->folder, name, (size_t)byte, bit);
}

// Of a file of tensors the length of its header, every name and number in that (each fifth byte), and the
// ends and middle of every tensor; of other files every byte.
static void check_regions(SavedRun *f, Engine *other, int file) {
    const char *name = file_name(file);
    size_t size;
    free(scratch_read(f->folder, name, &size));
    int64_t header = (int64_t)size, stride = 1;
    if (file == FILE_MODEL || file == FILE_OPTIMIZER || file == FILE_GATES) {
        SafetensorsFile tensors;
        Error error;
        char *path = path_join(f->folder, name);
        expect_ok(safetensors_open(path, &tensors, &error), &error);
        free(path);
        for (int i = 0; i < tensors.count; i++) {
            const SafetensorsTensor *tensor = &tensors.tensors[i];
            if (tensor->begin < header) header = tensor->begin;
            expect_noticed(f, other, name, tensor->begin);
            expect_noticed(f, other, name, (tensor->begin + tensor->end) / 2);
            expect_noticed(f, other, name, tensor->end - 1);
        }
        safetensors_close(&tensors);
        assert_true(header > 8 && header % 8 == 0);
        stride = 5;
    }
    for (int64_t byte = 0; byte < header; byte += byte < 8 ? 1 : stride) expect_noticed(f, other, name, byte);
}

static void test_flipped_bits(void **data) {
    SavedRun *f = (SavedRun *)*data;
    Engine *other = fake_engine_create(&saved_model, true), *before = fake_engine_create(&saved_model, true);
    Error error;
    for (int i = 0; i <= CHECKPOINT_FILES; i++) check_regions(f, other, i);
    assert_true(fake_engine_same_weights(other, before, true)); // and nothing was loaded
    assert_true(fake_engine_same_moments(other, before));
    assert_true(checkpoint_verify(f->folder, NULL, NULL, &error));
    assert_true(checkpoint_load(other, f->folder, &error));
    engine_destroy(other);
    engine_destroy(before);
}

static void test_every_byte_of_state_counts(void **data) {
    SavedRun *f = (SavedRun *)*data;
    size_t size;
    free(scratch_read(f->folder, STATE_FILE_NAME, &size));
    for (size_t byte = 0; byte < size; byte++) {
        scratch_flip(f->folder, STATE_FILE_NAME, byte, (int)(byte % 8));
        TrainerState state;
        Error error;
        expect_failed(checkpoint_read_state(f->folder, &state, &error), &error, STATUS_DATA, STATE_FILE_NAME);
        assert_null(state.settings);
        scratch_flip(f->folder, STATE_FILE_NAME, byte, (int)(byte % 8));
    }
}

static void test_lengths(void **data) {
    SavedRun *f = (SavedRun *)*data;
    for (int i = 0; i <= CHECKPOINT_FILES; i++) {
        size_t size;
        char *bytes = scratch_read(f->folder, file_name(i), &size);
        const size_t lengths[] = {0, size / 2, size - 1,
                                  size + 1}; // the last has the reader's zero byte behind
        for (int k = 0; k < 4; k++) {
            scratch_write(f->folder, file_name(i), bytes, (int64_t)lengths[k]);
            expect_refused(f, file_name(i));
        }
        scratch_write(f->folder, file_name(i), bytes, (int64_t)size);
        free(bytes);
    }
}

typedef struct {
    int right, wrong;
    char names[512];
} Seen;

static void see(void *context, const char *file, const char *fault) {
    Seen *seen = (Seen *)context;
    if (!fault) {
        seen->right++;
        return;
    }
    seen->wrong++;
    size_t used = strlen(seen->names);
    snprintf(seen->names + used, sizeof seen->names - used, "%s;", file);
}

// What others put into a checkpoint is told of and does no harm.
static void expect_stranger(const SavedRun *f, const char *name) {
    Seen seen;
    char listed[64];
    memset(&seen, 0, sizeof seen);
    snprintf(listed, sizeof listed, "%s;", name);
    Error error;
    expect_ok(checkpoint_verify(f->folder, see, &seen, &error), &error);
    assert_string_equal(seen.names, listed);
    Engine *other = fake_engine_create(&saved_model, true);
    expect_ok(checkpoint_load(other, f->folder, &error), &error);
    engine_destroy(other);
}

static void test_missing_and_unknown_files(void **data) {
    SavedRun *f = (SavedRun *)*data;
    for (int i = 0; i <= CHECKPOINT_FILES; i++) {
        size_t size;
        char *bytes = scratch_read(f->folder, file_name(i), &size),
             *path = path_join(f->folder, file_name(i));
        unlink(path);
        expect_refused(f, file_name(i));
        scratch_write(f->folder, file_name(i), bytes, (int64_t)size);
        free(bytes);
        free(path);
    }
    const char *const strangers[] = {"README.md", ".hidden", "trainer/more.safetensors", "other/config.json"};
    const char *const named[] = {"README.md", ".hidden", "trainer/more.safetensors", "other"};
    for (int i = 0; i < 4; i++) {
        scratch_write(f->folder, strangers[i], "x", -1);
        expect_stranger(f, named[i]);
        char *path = path_join(f->folder, named[i]);
        Error error;
        tree_remove(path, &error);
        free(path);
    }
    Error error;
    assert_true(checkpoint_verify(f->folder, NULL, NULL, &error));
}

static void test_wrong_step(void **data) {
    SavedRun *f = (SavedRun *)*data;
    char *wrong = path_join(f->run, "step_00000020/"), *free_name = path_join(f->run, "best");
    TrainerState state;
    Error error;
    assert_int_equal(rename(f->folder, wrong), 0);
    expect_failed(checkpoint_read_state(wrong, &state, &error), &error, STATUS_DATA,
                  "of step 10, but its folder is named after step 20");
    assert_int_equal(rename(wrong, free_name), 0); // any other name is the user's choice
    assert_true(checkpoint_read_state(free_name, &state, &error));
    json_decref(state.settings);
    free(wrong);
    free(free_name);
}

static void test_report_names_every_fault(void **data) {
    SavedRun *f = (SavedRun *)*data;
    scratch_flip(f->folder, "config.json", 5, 0);
    scratch_flip(f->folder, "trainer/gates.safetensors", 100, 3);
    scratch_write(f->folder, "stray", "x", -1);
    Seen seen;
    memset(&seen, 0, sizeof seen);
    Error error;
    expect_failed(checkpoint_verify(f->folder, see, &seen, &error), &error, STATUS_DATA, "config.json");
    assert_int_equal(seen.right, 5);
    assert_int_equal(seen.wrong, 2);
    assert_string_equal(seen.names, "config.json;trainer/gates.safetensors;");
}

// ---- Contents that are sound files but not this model's

static void test_other_shape(void **data) {
    SavedRun *f = (SavedRun *)*data;
    ModelConfig wide = saved_model;
    wide.ffn_dim = 128;
    Engine *other = fake_engine_create(&wide, false);
    Error error;
    expect_failed(checkpoint_load(other, f->folder, &error), &error, STATUS_DATA,
                  "config.json: intermediate_size is 64, this run has 128");
    engine_destroy(other);
}

// Puts another tensor file into the checkpoint, hashes and all: only the contents are wrong.
static void replace_tensors(SavedRun *f, int which, Engine *source, TensorSet set) {
    Manifest manifest;
    TrainerState state;
    Error error;
    assert_true(trainer_state_read(f->folder, &state, &manifest, &error));
    char *path = path_join(f->folder, checkpoint_file_names[which]);
    unlink(path);
    assert_true(fake_engine_save(source, &set, path, &manifest.digest[which], &error));
    assert_true(trainer_state_write(f->folder, &state, &manifest, &error));
    json_decref(state.settings);
    tensor_set_free(&set);
    free(path);
}

static void test_other_tensors(void **data) {
    SavedRun *f = (SavedRun *)*data;
    const ParamTable *table = &f->engine->table;
    ModelConfig wide = saved_model, deep = saved_model;
    wide.ffn_dim = 128;
    deep.n_layers = 3;
    Engine *wider = fake_engine_create(&wide, false), *deeper = fake_engine_create(&deep, false);

    replace_tensors(f, FILE_MODEL, wider, tensor_set_weights(&wider->table));
    expect_refused(f,
                   "model.safetensors: tensor 'model.layers.0.mlp.gate_proj.weight' has shape (128, 64), the "
                   "model's is (64, 64)");
    replace_tensors(f, FILE_MODEL, deeper, tensor_set_weights(&deeper->table));
    expect_refused(f, "tensor 'model.layers.2.input_layernorm.weight' is not one of the model's");
    TensorSet fewer = tensor_set_weights(table);
    fewer.count--;
    replace_tensors(f, FILE_MODEL, f->engine, fewer);
    expect_refused(f, "model.safetensors: tensor 'lm_head.weight' is missing");
    replace_tensors(f, FILE_MODEL, f->engine, tensor_set_weights(table));

    replace_tensors(f, FILE_OPTIMIZER, f->engine, tensor_set_weights(table));
    expect_refused(f, "optimizer.safetensors: tensor 'model.embed_tokens.weight.exp_avg' is missing");
    replace_tensors(f, FILE_OPTIMIZER, f->engine, tensor_set_moments(table));
    replace_tensors(f, FILE_GATES, f->engine, tensor_set_weights(table));
    expect_refused(f, "gates.safetensors: tensor 'model.layers.0.self_attn.gate.weight' is missing");
    engine_destroy(wider);
    engine_destroy(deeper);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SAVED_RUN(test_flipped_bits), WITH_SAVED_RUN(test_every_byte_of_state_counts),
        WITH_SAVED_RUN(test_lengths),      WITH_SAVED_RUN(test_missing_and_unknown_files),
        WITH_SAVED_RUN(test_wrong_step),   WITH_SAVED_RUN(test_report_names_every_fault),
        WITH_SAVED_RUN(test_other_shape),  WITH_SAVED_RUN(test_other_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
