// config.json of a model folder: read for the shape, the plan of its memory, and the marks of its tokenizer.
#include "harness.h"

#include "core/base/files.h"
#include "core/cost/flops.h"
#include "core/model/hf_config.h"
#include "core/commands/info.h"
#include "core/model/model_origin.h"
#include "core/model/model_tokenizer.h"

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
    fuzz_must(hf_config_read(again, &found, &found_context, &error) &&
                  hf_config_same(&found, model, again, &error) && found_context == context,
              "a configuration that is not read as it was written");
    free(again);
    free(text);
    json_decref(json);
}

void fuzz_config(const char *folder, const uint8_t *data, size_t size) {
    fuzz_write(folder, "config.json", data, size);
    ModelConfig model;
    ModelOrigin origin;
    int64_t context;
    Error error;
    memset(&error, 0, sizeof error);
    if (hf_config_read(folder, &model, &context, &error)) {
        plan_model(&model, context);
        write_again(folder, &model, context);
    } else {
        fuzz_refused(&error);
    }
    if (!model_origin_read(folder, true, &origin, &error)) fuzz_refused(&error);
    model_origin_free(&origin);
    if (!model_tokenizer_check_bytes(folder, &error)) fuzz_refused(&error);
    FILE *null = fopen("/dev/null", "w");
    if (!info_path(null, folder, true, &error)) fuzz_refused(&error);
    fclose(null);
}
