// A model folder of strangers, one file or sharded: loaded into an engine that only holds tensors, and
// exported. Weights that the input does not bring are those of fuzz_small_model, so that inputs stay small.
#include "harness.h"

#include "core/commands/export.h"
#include "core/base/files.h"
#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/tensor_set.h"
#include "dev/test/support/fake_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARAMETERS 100000 // larger ones would only take time

static const char *const names[] = {"config.json",
                                    "model.safetensors",
                                    "model.safetensors.index.json",
                                    "a.safetensors",
                                    "b.safetensors",
                                    "tokenizer.json",
                                    "../outside",
                                    NULL};

const ModelConfig fuzz_small_model = {1, 8, 1, 1, 64, 8, 8, 10000, 1e-5};

void fuzz_write_weights(const char *folder, const char *name) {
    Error error;
    Digest digest;
    char *path = path_join(folder, name);
    Engine *engine = fake_engine_create(&fuzz_small_model, false);
    TensorSet set = tensor_set_weights(&engine->table);
    fuzz_must(fake_engine_save(engine, &set, path, &digest, &error), "no room for the weights");
    tensor_set_free(&set);
    engine_destroy(engine);
    free(path);
}

static bool has(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static void load(const char *folder, const ModelConfig *model) {
    ParamTable table = param_table_create(model, false);
    bool small = table.n_trained <= MAX_PARAMETERS;
    param_table_free(&table);
    if (!small) return;
    Error error;
    memset(&error, 0, sizeof error);
    Engine *engine = fake_engine_create(model, false);
    if (!model_folder_load(engine, folder, &error)) fuzz_refused(&error);
    engine_destroy(engine);
}

static void export_it(const char *folder) {
    char *out = path_join(folder, "../exported"), *model = copy_or_exit(folder);
    Options options;
    Error error;
    memset(&options, 0, sizeof options);
    memset(&error, 0, sizeof error);
    options.model = model;
    options.out = out;
    FILE *kept = stdout; // which the GNU C library lets programs replace
    stdout = fopen("/dev/null", "w");
    if (!export_model(&options, &error)) fuzz_refused(&error);
    fclose(stdout);
    stdout = kept;
    free(model);
    free(out);
}

void fuzz_model(const char *scratch, const uint8_t *data, size_t size) {
    char *folder = path_join(scratch, "model");
    Error error;
    memset(&error, 0, sizeof error);
    fuzz_must(folders_make(folder, &error), "no room for the input");
    fuzz_unpack(folder, names, data, size);
    const char *weights = has(folder, "model.safetensors.index.json") ? "a.safetensors" : "model.safetensors";
    if (!has(folder, weights)) fuzz_write_weights(folder, weights);
    ModelConfig model;
    int64_t context;
    if (model_folder_config(folder, &model, &context, &error)) {
        load(folder, &model);
        export_it(folder);
    } else {
        fuzz_refused(&error);
    }
    free(folder);
}
