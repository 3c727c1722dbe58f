// config.json of a model folder: read for the shape, the plan of its memory, and the marks of its tokenizer.
#include "harness.h"

#include "core/files.h"
#include "core/flops.h"
#include "core/hf_config.h"
#include "core/info.h"
#include "core/model_tokenizer.h"

#include <stdlib.h>
#include <string.h>

// What `eval` does with a shape before it has any weights.
static void plan_model(const ModelConfig *model, int64_t context) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model = *model;
    config.batch = 1;
    config.context = context;
    config.cache = context; // that of `generate`
    fuzz_plan(&config);
    fuzz_must(flops_sequence(&config, context, ATTENTION_DENSE) >= 0, "a negative number of operations");
}

// What is written of a shape is read as the same.
static void write_again(const char *folder, const ModelConfig *model, int64_t context) {
    json_t *json = hf_config_json(model, context);
    char *text = json_dumps(json, JSON_REAL_PRECISION(17)), *again = path_join(folder, "again");
    fuzz_write(again, "config.json", text, strlen(text));
    ModelConfig found;
    Error error;
    int64_t found_context;
    bool tied;
    fuzz_must(hf_config_read(again, &found, &found_context, &tied, &error) &&
                  hf_config_same(&found, model, again, &error) && found_context == context && !tied,
              "a configuration that is not read as it was written");
    free(again);
    free(text);
    json_decref(json);
}

void fuzz_config(const char *folder, const uint8_t *data, size_t size) {
    fuzz_write(folder, "config.json", data, size);
    ModelConfig model;
    ModelTokenizer tokenizer;
    int64_t context;
    bool tied;
    Error error;
    memset(&error, 0, sizeof error);
    if (hf_config_read(folder, &model, &context, &tied, &error)) {
        plan_model(&model, context);
        write_again(folder, &model, context);
    } else {
        fuzz_refused(&error);
    }
    if (!model_tokenizer_read(folder, &tokenizer, &error)) fuzz_refused(&error);
    model_tokenizer_free(&tokenizer);
    if (!model_tokenizer_check_bytes(folder, &error)) fuzz_refused(&error);
    FILE *null = fopen("/dev/null", "w");
    if (!info_path(null, folder, true, &error)) fuzz_refused(&error);
    fclose(null);
}
