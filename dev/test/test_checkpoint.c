// Checkpoints: saved whole or not at all, loaded bit for bit, and any damage is found and named.
#include "core/checkpoint.h"
#include "core/files.h"
#include "core/tensor_set.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CONTEXT 2048

static const ModelConfig small_model = {2, 64, 2, 1, 64, 64, 320, 10000, 1e-5};

static TrainerState state_of(int64_t step) {
    TrainerState state;
    memset(&state, 0, sizeof state);
    state.step = step;
    state.cursor = step * 4096;
    state.epoch = 3;
    state.tokens = step * 4096 + 7;
    state.attention = ATTENTION_DENSE;
    state.settings =
        json_pack("{s:f, s:s, s:[i, i]}", "lr", 0.002, "data", "train_*.bin", "dense_layers", 0, -1);
    return state;
}

static void save(Engine *engine, const char *run, int64_t step) {
    TrainerState state = state_of(step);
    Error error;
    if (!checkpoint_save(engine, run, &state, CONTEXT, NULL, &error)) fail_msg("%s", error.message);
    json_decref(state.settings);
}

// ---- Fixture: a run with one checkpoint, of an engine with gates

typedef struct {
    char *run, *folder;
    Engine *engine;
} Fixture;

static int set_up(void **data) {
    Fixture *f = (Fixture *)alloc_or_exit(1, sizeof *f);
    f->run = scratch_create();
    f->engine = fake_engine_create(&small_model, true);
    fake_engine_fill(f->engine, 1);
    save(f->engine, f->run, 10);
    f->folder = path_join(f->run, "step_00000010");
    *data = f;
    return 0;
}

static int tear_down(void **data) {
    Fixture *f = (Fixture *)*data;
    engine_destroy(f->engine);
    scratch_remove(f->run);
    free(f->folder);
    free(f);
    return 0;
}

// A damaged checkpoint is refused, with the file's name, before anything of the engine has changed.
static void expect_refused(Fixture *f, const char *part) {
    Engine *other = fake_engine_create(&small_model, true), *before = fake_engine_create(&small_model, true);
    fake_engine_fill(other, 2);
    fake_engine_fill(before, 2);
    Error error;
    expect_failed(checkpoint_load(other, f->folder, &error), &error, STATUS_DATA, part);
    assert_true(fake_engine_same_weights(other, before, true));
    assert_true(fake_engine_same_moments(other, before));
    engine_destroy(other);
    engine_destroy(before);
}

// ---- Saving and loading

static void test_round_trip(void **data) {
    Fixture *f = (Fixture *)*data;
    Engine *other = fake_engine_create(&small_model, true);
    Error error;
    if (!checkpoint_load(other, f->folder, &error)) fail_msg("%s", error.message);
    assert_true(fake_engine_same_weights(f->engine, other, true));
    assert_true(fake_engine_same_moments(f->engine, other));
    engine_destroy(other);

    TrainerState state, saved = state_of(10);
    assert_true(checkpoint_read_state(f->folder, &state, &error));
    assert_int_equal(state.step, 10);
    assert_int_equal(state.cursor, 40960);
    assert_int_equal(state.epoch, 3);
    assert_int_equal(state.tokens, 40967);
    assert_int_equal(state.attention, ATTENTION_DENSE);
    assert_true(json_equal(state.settings, saved.settings));
    json_decref(state.settings);
    json_decref(saved.settings);
}

static void test_files(void **data) {
    Fixture *f = (Fixture *)*data;
    assert_int_equal(scratch_count(f->run), 1);
    assert_int_equal(scratch_count(f->folder), 5);
    char *trainer = path_join(f->folder, "trainer");
    assert_int_equal(scratch_count(trainer), 3);
    free(trainer);
    for (int i = 0; i < CHECKPOINT_FILES; i++)
        assert_true(scratch_exists(f->folder, checkpoint_file_names[i]));
    assert_true(scratch_exists(f->folder, STATE_FILE_NAME));
}

static void test_gates(void **data) {
    Fixture *f = (Fixture *)*data;
    Error error;
    // Present and not wanted: ignored.
    Engine *plain = fake_engine_create(&small_model, false);
    if (!checkpoint_load(plain, f->folder, &error)) fail_msg("%s", error.message);
    assert_true(fake_engine_same_weights(plain, f->engine, false));

    // Wanted and not present: those of the engine stay.
    save(plain, f->run, 11);
    char *folder = path_join(f->run, "step_00000011");
    assert_false(scratch_exists(folder, checkpoint_file_names[FILE_GATES]));
    Engine *gated = fake_engine_create(&small_model, true);
    int gate = param_find(&gated->table, PARAM_GLA_WEIGHT, 1);
    float drawn = 0.5f, kept = 0;
    engine_write(gated, TENSOR_WEIGHT, gate, 3, 1, &drawn);
    if (!checkpoint_load(gated, folder, &error)) fail_msg("%s", error.message);
    engine_read(gated, TENSOR_WEIGHT, gate, 3, 1, &kept);
    assert_true(kept == drawn);
    assert_true(fake_engine_same_weights(plain, gated, false));
    free(folder);
    engine_destroy(plain);
    engine_destroy(gated);
}

static void test_same_step_is_replaced(void **data) {
    Fixture *f = (Fixture *)*data;
    fake_engine_fill(f->engine, 5);
    save(f->engine, f->run, 10);
    assert_int_equal(scratch_count(f->run), 1);
    Engine *other = fake_engine_create(&small_model, true);
    Error error;
    assert_true(checkpoint_load(other, f->folder, &error));
    assert_true(fake_engine_same_weights(f->engine, other, true));
    engine_destroy(other);
}

// ---- Damage

// Names of all files, state.json included.
static const char *file_name(int i) {
    return i < CHECKPOINT_FILES ? checkpoint_file_names[i] : STATE_FILE_NAME;
}

// One bit of a byte is flipped, every bit in its turn: loading names the file.
static void expect_noticed(Fixture *f, Engine *other, const char *name, int64_t byte) {
    Error error;
    int bit = (int)(byte * 5 % 8);
    scratch_flip(f->folder, name, (size_t)byte, bit);
    if (checkpoint_load(other, f->folder, &error)) fail_msg("%s: byte %d was believed", name, (int)byte);
    expect_failed(false, &error, STATUS_DATA, name);
    scratch_flip(f->folder, name, (size_t)byte, bit);
}

// Of a file of tensors the length of its header, every name and number in that (each fifth byte), and the
// ends and middle of every tensor; of other files every byte.
static void check_regions(Fixture *f, Engine *other, int file) {
    const char *name = file_name(file);
    size_t size;
    free(scratch_read(f->folder, name, &size));
    int64_t header = (int64_t)size, stride = 1;
    if (file == FILE_MODEL || file == FILE_OPTIMIZER || file == FILE_GATES) {
        SafetensorsFile tensors;
        Error error;
        char *path = path_join(f->folder, name);
        if (!safetensors_open(path, &tensors, &error)) fail_msg("%s", error.message);
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
    Fixture *f = (Fixture *)*data;
    Engine *other = fake_engine_create(&small_model, true), *before = fake_engine_create(&small_model, true);
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
    Fixture *f = (Fixture *)*data;
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
    Fixture *f = (Fixture *)*data;
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

static void test_missing_and_unknown_files(void **data) {
    Fixture *f = (Fixture *)*data;
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
        expect_refused(f, named[i]);
        char *path = path_join(f->folder, named[i]);
        Error error;
        tree_remove(path, &error);
        free(path);
    }
    Error error;
    assert_true(checkpoint_verify(f->folder, NULL, NULL, &error));
}

static void test_wrong_step(void **data) {
    Fixture *f = (Fixture *)*data;
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

static void test_report_names_every_fault(void **data) {
    Fixture *f = (Fixture *)*data;
    scratch_flip(f->folder, "config.json", 5, 0);
    scratch_flip(f->folder, "trainer/gates.safetensors", 100, 3);
    scratch_write(f->folder, "stray", "x", -1);
    Seen seen;
    memset(&seen, 0, sizeof seen);
    Error error;
    expect_failed(checkpoint_verify(f->folder, see, &seen, &error), &error, STATUS_DATA, "stray");
    assert_int_equal(seen.right, 5);
    assert_int_equal(seen.wrong, 3);
    assert_string_equal(seen.names, "stray;config.json;trainer/gates.safetensors;");
}

// ---- Contents that are sound files but not this model's

static void test_other_shape(void **data) {
    Fixture *f = (Fixture *)*data;
    ModelConfig wide = small_model;
    wide.ffn_dim = 128;
    Engine *other = fake_engine_create(&wide, false);
    Error error;
    expect_failed(checkpoint_load(other, f->folder, &error), &error, STATUS_DATA,
                  "config.json: intermediate_size is 64, this run has 128");
    engine_destroy(other);
}

// Puts another tensor file into the checkpoint, hashes and all: only the contents are wrong.
static void replace_tensors(Fixture *f, int which, Engine *source, TensorSet set) {
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
    Fixture *f = (Fixture *)*data;
    const ParamTable *table = &f->engine->table;
    ModelConfig wide = small_model, deep = small_model;
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

// ---- Saves that fail or are killed

static void test_unwritable_run(void **data) {
    Fixture *f = (Fixture *)*data;
    scratch_write(f->run, "file", "x", -1);
    char *run = path_join(f->run, "file/run");
    TrainerState state = state_of(1);
    Error error;
    expect_failed(checkpoint_save(f->engine, run, &state, CONTEXT, NULL, &error), &error, STATUS_DATA,
                  "cannot make the folder");
    json_decref(state.settings);
    free(run);
}

// Files of this process may not grow beyond `bytes`.
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_latest(const char *run, const char *name) {
    char *folder;
    Error error;
    if (!checkpoint_latest(run, &folder, &error)) fail_msg("%s", error.message);
    assert_non_null(folder);
    assert_string_equal(path_name(folder), name);
    free(folder);
}

static void test_full_disk(void **data) {
    Fixture *f = (Fixture *)*data;
    TrainerState state = state_of(20);
    Error error;
    signal(SIGXFSZ, SIG_IGN);
    limit_files(100000);
    bool saved = checkpoint_save(f->engine, f->run, &state, CONTEXT, NULL, &error);
    limit_files(RLIM_INFINITY);
    signal(SIGXFSZ, SIG_DFL);
    expect_failed(saved, &error, STATUS_DATA, "checkpoint of step 20 not saved");
    expect_part(error.message, "model.safetensors");
    assert_int_equal(scratch_count(f->run), 1);
    expect_latest(f->run, "step_00000010");
    json_decref(state.settings);
}

static void test_killed_save(void **data) {
    Fixture *f = (Fixture *)*data;
    pid_t child = fork();
    if (child == 0) { // the limit's signal ends it in the midst of a file
        struct rlimit core = {0, 0};
        setrlimit(RLIMIT_CORE, &core);
        signal(SIGXFSZ, SIG_DFL);
        limit_files(100000);
        save(f->engine, f->run, 20);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
    assert_true(scratch_exists(f->run, ".step_00000020.tmp/model.safetensors"));
    expect_latest(f->run, "step_00000010");

    scratch_write(f->run, ".step_00000003.old/trainer/state.json", "{}", -1);
    scratch_write(f->run, ".step_notes", "the user's", -1);
    save(f->engine, f->run, 30);
    assert_int_equal(scratch_count(f->run), 3);
    assert_true(scratch_exists(f->run, ".step_notes"));
    expect_latest(f->run, "step_00000030");
}

// ---- Finding and pruning

static void test_latest(void **data) {
    Fixture *f = (Fixture *)*data;
    Error error;
    save(f->engine, f->run, 9);
    save(f->engine, f->run, 100000);
    scratch_write(f->run, "step_99/x", "x", -1); // no name of ours
    expect_latest(f->run, "step_00100000");

    char *newest = path_join(f->run, "step_00100000"), *folder;
    scratch_write(newest, "config.json", "{}", -1);
    expect_latest(f->run, "step_00000010");
    scratch_flip(f->folder, STATE_FILE_NAME, 20, 1);
    expect_latest(f->run, "step_00000009");
    char *oldest = path_join(f->run, "step_00000009"), *model = path_join(oldest, "model.safetensors");
    unlink(model);
    expect_failed(checkpoint_latest(f->run, &folder, &error), &error, STATUS_DATA,
                  "none of its 3 checkpoints is whole");
    assert_null(folder);
    expect_part(error.message, "step_00000009/model.safetensors");
    free(newest);
    free(oldest);
    free(model);
}

static void test_find(void **data) {
    Fixture *f = (Fixture *)*data;
    Error error;
    char *found = checkpoint_find(f->run, &error);
    assert_string_equal(found, f->folder);
    free(found);
    found = checkpoint_find(f->folder, &error);
    assert_string_equal(found, f->folder);
    free(found);

    scratch_write(f->run, "empty/file", "x", -1);
    char *empty = path_join(f->run, "empty"), *none = path_join(f->run, "none"), *folder;
    expect_failed(checkpoint_find(empty, &error) != NULL, &error, STATUS_DATA,
                  "neither a checkpoint nor a run");
    expect_failed(checkpoint_find(none, &error) != NULL, &error, STATUS_DATA, "no such run or checkpoint");
    assert_true(checkpoint_latest(none, &folder, &error));
    assert_null(folder);
    free(empty);
    free(none);
}

static void test_prune(void **data) {
    Fixture *f = (Fixture *)*data;
    Error error;
    for (int64_t step = 20; step <= 50; step += 10) save(f->engine, f->run, step);
    assert_true(checkpoint_prune(f->run, 0, &error));
    assert_int_equal(scratch_count(f->run), 5);
    scratch_flip(f->run, "step_00000050/" STATE_FILE_NAME, 9, 2); // damaged: not one of the two to keep
    assert_true(checkpoint_prune(f->run, 2, &error));
    assert_int_equal(scratch_count(f->run), 3);
    assert_true(scratch_exists(f->run, "step_00000030"));
    assert_true(scratch_exists(f->run, "step_00000040"));
    expect_latest(f->run, "step_00000040");
    assert_true(checkpoint_prune(f->run, 2, &error));
    assert_int_equal(scratch_count(f->run), 3);
}

static void test_name_step(void **data) {
    (void)data;
    assert_int_equal(checkpoint_name_step("step_00010000"), 10000);
    assert_int_equal(checkpoint_name_step("step_123456789"), 123456789);
    const char *const others[] = {
        "step_1",        "step_000000010", "step_00010000.tmp",        ".step_00010000",
        "step_-0000001", "step_",          "step_99999999999999999999"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(checkpoint_name_step(others[i]), -1);
}

#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RUN(test_round_trip),
        WITH_RUN(test_files),
        WITH_RUN(test_gates),
        WITH_RUN(test_same_step_is_replaced),
        WITH_RUN(test_flipped_bits),
        WITH_RUN(test_every_byte_of_state_counts),
        WITH_RUN(test_lengths),
        WITH_RUN(test_missing_and_unknown_files),
        WITH_RUN(test_wrong_step),
        WITH_RUN(test_report_names_every_fault),
        WITH_RUN(test_other_shape),
        WITH_RUN(test_other_tensors),
        WITH_RUN(test_unwritable_run),
        WITH_RUN(test_full_disk),
        WITH_RUN(test_killed_save),
        WITH_RUN(test_latest),
        WITH_RUN(test_find),
        WITH_RUN(test_prune),
        cmocka_unit_test(test_name_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
