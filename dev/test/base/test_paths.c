// Paths within files from strangers never leave their folder: each of these names a file that is there and
// would do, were it followed.
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/model/hf_config.h"
#include "core/commands/info.h"
#include "core/checkpoint/model_folder.h"
#include "core/options/options.h"
#include "core/checkpoint/tensor_set.h"
#include "dev/fuzz/harness.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const ModelConfig small_model = {1, 64, 1, 1, 64, 64, 320, 10000, 1e-5};

// ---- Sharded models

// model/ with an index alone, and the whole model's weights inside and outside of it.
static Engine *make_model(void) {
    json_t *config = hf_config_json(&small_model, 64);
    char *text = json_dumps(config, 0);
    scratch_write(".", "model/config.json", text, -1);
    free(text);
    json_decref(config);
    Engine *engine = fake_engine_create(&small_model, false);
    fake_engine_fill(engine, 1);
    TensorSet set = tensor_set_weights(&engine->table);
    static const char *const places[] = {"model/a.safetensors", "outside.safetensors"};
    for (int i = 0; i < 2; i++) {
        Digest digest;
        Error error;
        expect_ok(fake_engine_save(engine, &set, places[i], &digest, &error), &error);
    }
    tensor_set_free(&set);
    return engine;
}

static bool load_by_index(const char *file, Engine *target, Error *error) {
    char index[PATH_MAX + 64];
    snprintf(index, sizeof index, "{\"weight_map\": {\"model.norm.weight\": \"%s\"}}", file);
    scratch_write("model", "model.safetensors.index.json", index, -1);
    return model_folder_load(target, "model", error);
}

static void test_index(void **state) {
    (void)state;
    Engine *source = make_model(), *target = fake_engine_create(&small_model, false);
    char here[PATH_MAX], absolute[PATH_MAX + 32];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(absolute, sizeof absolute, "%s/outside.safetensors", here);
    assert_int_equal(symlink("..", "model/up"), 0);
    const char *const files[] = {"../outside.safetensors",
                                 absolute,
                                 "./../outside.safetensors",
                                 "up/outside.safetensors",
                                 "./a.safetensors",
                                 "sub/../a.safetensors",
                                 "..",
                                 ".",
                                 ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        Error error;
        expect_failed(load_by_index(files[i], target, &error), &error, STATUS_DATA,
                      "'model.norm.weight' is not mapped to a file of this folder");
    }
    assert_false(fake_engine_same_weights(source, target, false));
    // The same index with the file's plain name is taken.
    Error error;
    expect_ok(load_by_index("a.safetensors", target, &error), &error);
    assert_true(fake_engine_same_weights(source, target, false));
    engine_destroy(source);
    engine_destroy(target);
}

// ---- Checkpoints

// Puts one file more into the list of run/step_00000010, with its right digest, under a hash that is right.
static void list_file(const char *name) {
    Digest digest;
    Error error;
    char *path = path_join("run/step_00000010", name[0] == '/' ? "../../outside" : name);
    expect_ok(digest_file(path, &digest, &error), &error);
    free(path);
    size_t size;
    char *text = scratch_read("run/step_00000010", STATE_FILE_NAME, &size);
    json_t *json = json_loadb(text, size, 0, NULL);
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)digest.xxh3);
    json_object_set_new(json_object_get(json, "files"), name,
                        json_pack("{s:I, s:s}", "size", (json_int_t)digest.size, "xxh3", hash));
    char *listed = fuzz_state_text(json, &size);
    scratch_write("run/step_00000010", STATE_FILE_NAME, listed, (int64_t)size);
    free(listed);
    free(text);
    json_decref(json);
}

static void save_checkpoint(Engine *engine) {
    TrainerState state;
    memset(&state, 0, sizeof state);
    state.step = 10;
    state.attention = ATTENTION_DENSE;
    state.settings = json_object();
    Error error;
    expect_ok(checkpoint_save(engine, "run", &state, 64, NULL, &error), &error);
    json_decref(state.settings);
}

static void test_state(void **data) {
    (void)data;
    char here[PATH_MAX], absolute[PATH_MAX + 32];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(absolute, sizeof absolute, "%s/outside", here);
    const char *const names[] = {"../../outside", absolute, "trainer/../../../outside",
                                 "trainer/./state.json", "./config.json"};
    scratch_write(".", "outside", "not of the checkpoint", -1);
    Engine *engine = fake_engine_create(&small_model, false);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TrainerState state;
        Error error;
        char *latest = NULL;
        save_checkpoint(engine);
        expect_ok(checkpoint_load(engine, "run/step_00000010", &error), &error);
        list_file(names[i]);
        const char *refusal = "not the state of a checkpoint";
        expect_failed(checkpoint_read_state("run/step_00000010", &state, &error), &error, STATUS_DATA,
                      refusal);
        expect_failed(checkpoint_verify("run/step_00000010", NULL, NULL, &error), &error, STATUS_DATA,
                      refusal);
        expect_failed(checkpoint_load(engine, "run/step_00000010", &error), &error, STATUS_DATA, refusal);
        expect_failed(checkpoint_latest("run", &latest, &error), &error, STATUS_DATA, refusal);
        FILE *null = fopen("/dev/null", "w");
        assert_non_null(null);
        expect_failed(info_path(null, "run/step_00000010", true, &error), &error, STATUS_DATA, refusal);
        fclose(null);
        // What goes with a checkpoint is its folder, nothing that it names.
        assert_true(checkpoint_prune("run", 1, &error));
        assert_true(scratch_exists(".", "outside"));
    }
    engine_destroy(engine);
}

// A list that says what is true of files that belong is taken after the same treatment: it is the name that
// is refused.
static void test_state_of_its_own_files(void **data) {
    (void)data;
    Engine *engine = fake_engine_create(&small_model, false);
    Error error;
    scratch_write(".", "outside", "x", -1);
    save_checkpoint(engine);
    list_file("config.json");
    expect_ok(checkpoint_load(engine, "run/step_00000010", &error), &error);
    engine_destroy(engine);
}

// ---- Settings

// Settings of a run.json or a checkpoint say what is read and how, never where something is written.
static void test_settings(void **data) {
    (void)data;
    static const char *const keys[] = {"out", "resume", "config", "model"};
    char program[] = "train_gpt_lighthouse", command[] = "train";
    char *words[] = {program, command, NULL};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        Options options;
        Error error;
        bool done;
        assert_true(options_parse(&options, 2, words, &done, &error));
        json_t *settings = json_pack("{s:s}", keys[i], "../elsewhere");
        expect_failed(options_read_settings(&options, settings, SOURCE_CONFIG, "run.json", &error), &error,
                      STATUS_USAGE, "unknown setting");
        json_decref(settings);
        options_free(&options);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_FOLDER(test_index), IN_FOLDER(test_state),
                                       IN_FOLDER(test_state_of_its_own_files), IN_FOLDER(test_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
