// Golden models; see golden_model.h.
#include "dev/test/support/golden_model.h"

#include "dev/test/support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t integer(const json_t *object, const char *key) {
    return (int64_t)json_integer_value(json_object_get(object, key));
}
static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static void read_config(GoldenModel *model) {
    const json_t *json = model->json;
    EngineConfig *config = &model->config;
    ModelConfig *m = &config->model;
    m->n_layers = integer(json, "layers");
    m->dim = integer(json, "dim");
    m->n_heads = integer(json, "heads");
    m->n_kv_heads = integer(json, "kv_heads");
    m->head_dim = integer(json, "head_dim");
    m->ffn_dim = integer(json, "ffn");
    m->vocab_size = integer(json, "vocab");
    m->rope_theta = number(json, "rope_theta");
    m->norm_eps = number(json, "norm_eps");
    config->lighthouse.scorer = SCORER_NORM;
    config->lighthouse.levels = integer(json, "levels");
    config->lighthouse.pool = integer(json, "pool");
    config->lighthouse.topk = integer(json, "topk");
    config->lighthouse.dilation = 4;
    const json_t *dense = json_object_get(json, "dense_layers");
    for (size_t i = 0; i < json_array_size(dense); i++) {
        config->dense_layer[json_integer_value(json_array_get(dense, i))] = true;
    }
    config->use_lighthouse = true;
    config->training = true;
    config->deterministic = true;
    config->batch = 1;
    config->context = integer(json, "seq");
    model->seed = (uint32_t)integer(json, "seed");
}

bool golden_model_open(GoldenModel *model, const char *path) {
    memset(model, 0, sizeof *model);
    json_error_t why;
    model->json = json_load_file(path, 0, &why);
    if (!model->json) {
        fprintf(stderr, "%s: %s\n", path, why.text);
        return false;
    }
    read_config(model);
    int64_t N = model->config.context;
    model->tokens = (int32_t *)alloc_or_exit((size_t)(N + 1), sizeof(int32_t));
    for (int64_t i = 0; i <= N; i++) {
        model->tokens[i] = (int32_t)(256 * golden_uniform(model->seed, 1584, (uint32_t)i));
    }
    return true;
}

void golden_model_close(GoldenModel *model) {
    json_decref(model->json);
    free(model->tokens);
}

// The case's number of a parameter, by which its random streams go; -1 when it has none.
static int64_t case_index(const GoldenModel *model, const char *name) {
    const json_t *names = json_object_get(model->json, "names");
    for (size_t i = 0; i < json_array_size(names); i++) {
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0) return (int64_t)i;
    }
    fprintf(stderr, "the golden model has no tensor %s\n", name);
    exit(1);
}

void golden_model_write_weights(const GoldenModel *model, Engine *engine) {
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        uint32_t stream = 100 + (uint32_t)case_index(model, param->name);
        float *values = (float *)alloc_or_exit((size_t)param_size(param), sizeof *values);
        for (int64_t i = 0; i < param_size(param); i++) {
            float z = golden_bf16(golden_z(model->seed, stream, (uint32_t)(i / param->cols),
                                           (uint32_t)(i % param->cols), (uint32_t)param->cols));
            values[i] = golden_bf16(param->n_dims == 1               ? 1 + z / 8
                                    : param->role == PARAM_EMBEDDING ? z / 2
                                                                     : z / 16);
        }
        engine_write(engine, TENSOR_WEIGHT, p, 0, param_size(param), values);
        free(values);
    }
}

Engine *golden_model_engine(const GoldenModel *model, const EngineApi *api) {
    Error error;
    Engine *engine = api->create(&model->config, &error);
    if (!engine) {
        fprintf(stderr, "%s\n", error.message);
        return NULL;
    }
    golden_model_write_weights(model, engine);
    return engine;
}

void golden_model_gradient(const GoldenModel *model, Engine *engine, int param, double *norm,
                           double *projection) {
    const Param *p = &engine->table.params[param];
    uint32_t stream = 16 * (300 + (uint32_t)case_index(model, p->name));
    float *gradient = (float *)alloc_or_exit((size_t)param_size(p), sizeof *gradient);
    engine_read(engine, TENSOR_GRADIENT, param, 0, param_size(p), gradient);
    double squares = 0, dot = 0;
    for (int64_t i = 0; i < param_size(p); i++) {
        squares += (double)gradient[i] * gradient[i];
        dot += gradient[i] * (golden_uniform(model->seed, stream, (uint32_t)i) - 0.5);
    }
    free(gradient);
    *norm = sqrt(squares);
    *projection = dot;
}

static const json_t *stage_of(const GoldenModel *model, const char *stage) {
    return json_object_get(json_object_get(model->json, "stages"), stage);
}

void golden_model_expected(const GoldenModel *model, const char *stage, const char *name, double *norm,
                           double *projection) {
    const json_t *pair = json_object_get(json_object_get(stage_of(model, stage), "grads"), name);
    *norm = json_number_value(json_array_get(pair, 0));
    *projection = json_number_value(json_array_get(pair, 1));
}

double golden_model_loss(const GoldenModel *model, const char *stage) {
    return number(stage_of(model, stage), "loss");
}

double golden_model_step_loss(const GoldenModel *model, const char *schedule, int step) {
    const json_t *losses = json_object_get(json_object_get(model->json, "adamw"), "losses");
    return json_number_value(json_array_get(json_object_get(losses, schedule), (size_t)step));
}

AdamW golden_model_adamw(const GoldenModel *model, int step) {
    const json_t *json = json_object_get(model->json, "adamw"), *betas = json_object_get(json, "betas");
    AdamW adamw = {.step = step + 1,
                   .lr = number(json, "lr"),
                   .beta1 = json_number_value(json_array_get(betas, 0)),
                   .beta2 = json_number_value(json_array_get(betas, 1)),
                   .eps = number(json, "eps"),
                   .weight_decay = number(json, "weight_decay"),
                   .clip = number(json, "clip")};
    return adamw;
}
