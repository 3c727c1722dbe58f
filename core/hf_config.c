// config.json of a Hugging Face LlamaForCausalLM, both ways; see hf_config.h.
#include "hf_config.h"
#include "files.h"
#include "json_file.h"
#include "tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONTEXT 1000000000 // as that of --seq-len

json_t *hf_config_json(const ModelConfig *model, int64_t context) {
    json_t *config = json_object();
    json_object_set_new(config, "architectures", json_pack("[s]", "LlamaForCausalLM"));
    json_object_set_new(config, "attention_bias", json_false());
    json_object_set_new(config, "attention_dropout", json_real(0));
    json_object_set_new(config, "bos_token_id", json_integer(TOKEN_BOS));
    json_object_set_new(config, "dtype", json_string("float32"));
    json_object_set_new(config, "eos_token_id", json_integer(TOKEN_EOS));
    json_object_set_new(config, "head_dim", json_integer(model->head_dim));
    json_object_set_new(config, "hidden_act", json_string("silu"));
    json_object_set_new(config, "hidden_size", json_integer(model->dim));
    json_object_set_new(config, "intermediate_size", json_integer(model->ffn_dim));
    json_object_set_new(config, "max_position_embeddings", json_integer(context));
    json_object_set_new(config, "mlp_bias", json_false());
    json_object_set_new(config, "model_type", json_string("llama"));
    json_object_set_new(config, "num_attention_heads", json_integer(model->n_heads));
    json_object_set_new(config, "num_hidden_layers", json_integer(model->n_layers));
    json_object_set_new(config, "num_key_value_heads", json_integer(model->n_kv_heads));
    json_object_set_new(config, "rms_norm_eps", json_real(model->norm_eps));
    // transformers 5 reads rope_parameters, 4 reads rope_theta; so do dtype and torch_dtype divide them.
    json_object_set_new(config, "rope_parameters",
                        json_pack("{s:f, s:s}", "rope_theta", model->rope_theta, "rope_type", "default"));
    json_object_set_new(config, "rope_theta", json_real(model->rope_theta));
    json_object_set_new(config, "tie_word_embeddings", json_false());
    json_object_set_new(config, "torch_dtype", json_string("float32"));
    json_object_set_new(config, "use_cache", json_true());
    json_object_set_new(config, "vocab_size", json_integer(model->vocab_size));
    return config;
}

// ---- Reading

// A member that is there and not null.
static const json_t *member(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return json_is_null(value) ? NULL : value;
}

static bool size_read(const json_t *config, const char *path, const char *key, int64_t most, int64_t *value,
                      Error *error) {
    if (json_member_int(config, key, 1, most, value)) return true;
    return error_set(error, STATUS_DATA, "%s: %s must be a whole number from 1 to %lld", path, key,
                     (long long)most);
}

// As size_read, with a value for a member that is not there.
static bool size_read_or(const json_t *config, const char *path, const char *key, int64_t otherwise,
                         int64_t most, int64_t *value, Error *error) {
    *value = otherwise;
    return !member(config, key) || size_read(config, path, key, most, value, error);
}

static bool real_read_or(const json_t *config, const char *path, const char *key, double otherwise,
                         double *value, Error *error) {
    *value = otherwise;
    const json_t *found = member(config, key);
    if (!found) return true;
    *value = json_number_value(found);
    if (json_is_number(found) && isfinite(*value) && *value > 0) return true;
    return error_set(error, STATUS_DATA, "%s: %s must be a number above 0", path, key);
}

static bool refuse(const char *path, const char *key, const json_t *value, const char *wanted, Error *error) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(error, STATUS_DATA, "%s: %s is %.100s; only a plain Llama can be used, where it is %s", path,
              key, text ? text : "missing", wanted);
    free(text);
    return false;
}

static bool text_is(const json_t *value, const char *wanted) {
    return json_is_string(value) && strcmp(json_string_value(value), wanted) == 0;
}

// What would make it another model than ours, were it ignored.
static bool plain_llama_check(const json_t *config, const char *path, Error *error) {
    const json_t *type = json_object_get(config, "model_type");
    if (!text_is(type, "llama")) return refuse(path, "model_type", type, "\"llama\"", error);
    const json_t *architectures = member(config, "architectures");
    if (architectures && !text_is(json_array_get(architectures, 0), "LlamaForCausalLM"))
        return refuse(path, "architectures", architectures, "[\"LlamaForCausalLM\"]", error);
    const json_t *activation = member(config, "hidden_act");
    if (activation && !text_is(activation, "silu"))
        return refuse(path, "hidden_act", activation, "\"silu\"", error);

    static const char *const absent[] = {"attention_bias", "mlp_bias", "quantization_config"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        const json_t *value = member(config, absent[i]);
        if (value && !json_is_false(value)) return refuse(path, absent[i], value, "false or absent", error);
    }
    return true;
}

// RoPE must be the plain one; `rope` is the whole configuration, or the member that says more.
static bool rope_plain_check(const json_t *rope, const char *path, Error *error) {
    static const char *const names[] = {"rope_type", "type"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *type = member(rope, names[i]);
        if (type && !text_is(type, "default")) return refuse(path, names[i], type, "\"default\"", error);
    }
    const json_t *part = member(rope, "partial_rotary_factor");
    if (part && json_number_value(part) != 1) return refuse(path, "partial_rotary_factor", part, "1", error);
    return true;
}

static bool rope_read(const json_t *config, const char *path, double *theta, Error *error) {
    if (!real_read_or(config, path, "rope_theta", 10000, theta, error)) return false;
    if (!rope_plain_check(config, path, error)) return false;
    static const char *const names[] = {"rope_scaling", "rope_parameters"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *rope = member(config, names[i]);
        if (!rope) continue;
        if (!json_is_object(rope)) return refuse(path, names[i], rope, "an object or null", error);
        if (!real_read_or(rope, path, "rope_theta", *theta, theta, error)) return false;
        if (!rope_plain_check(rope, path, error)) return false;
    }
    return true;
}

static bool config_parse(const json_t *config, const char *path, ModelConfig *model, int64_t *context,
                         bool *tied, Error *error) {
    memset(model, 0, sizeof *model);
    bool ok = plain_llama_check(config, path, error) &&
              size_read(config, path, "num_hidden_layers", MODEL_MAX_LAYERS, &model->n_layers, error) &&
              size_read(config, path, "hidden_size", MODEL_MAX_WIDTH, &model->dim, error) &&
              size_read(config, path, "num_attention_heads", MODEL_MAX_HEADS, &model->n_heads, error) &&
              size_read(config, path, "intermediate_size", MODEL_MAX_WIDTH, &model->ffn_dim, error) &&
              size_read(config, path, "vocab_size", MODEL_MAX_VOCAB, &model->vocab_size, error) &&
              size_read_or(config, path, "num_key_value_heads", model->n_heads, MODEL_MAX_HEADS,
                           &model->n_kv_heads, error) &&
              size_read_or(config, path, "head_dim", model->dim / model->n_heads, MODEL_MAX_WIDTH,
                           &model->head_dim, error) &&
              size_read_or(config, path, "max_position_embeddings", 2048, MAX_CONTEXT, context, error) &&
              real_read_or(config, path, "rms_norm_eps", 1e-6, &model->norm_eps, error) &&
              rope_read(config, path, &model->rope_theta, error);
    if (!ok) return false;

    *tied = json_is_true(json_object_get(config, "tie_word_embeddings"));
    if (model_config_check(model, error)) return true;
    error->status = STATUS_DATA;
    return error_prefix(error, "%s", path);
}

bool hf_config_read(const char *folder, ModelConfig *model, int64_t *context, bool *tied, Error *error) {
    char *path = path_join(folder, "config.json");
    json_t *config = json_file_read(path, error);
    bool ok = config && config_parse(config, path, model, context, tied, error);
    json_decref(config);
    free(path);
    return ok;
}

bool hf_config_same(const ModelConfig *found, const ModelConfig *wanted, const char *folder, Error *error) {
    const struct {
        const char *key;
        double found, wanted;
    } rows[] = {
        {"num_hidden_layers", (double)found->n_layers, (double)wanted->n_layers},
        {"hidden_size", (double)found->dim, (double)wanted->dim},
        {"num_attention_heads", (double)found->n_heads, (double)wanted->n_heads},
        {"num_key_value_heads", (double)found->n_kv_heads, (double)wanted->n_kv_heads},
        {"head_dim", (double)found->head_dim, (double)wanted->head_dim},
        {"intermediate_size", (double)found->ffn_dim, (double)wanted->ffn_dim},
        {"vocab_size", (double)found->vocab_size, (double)wanted->vocab_size},
        {"rope_theta", found->rope_theta, wanted->rope_theta},
        {"rms_norm_eps", found->norm_eps, wanted->norm_eps},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].found == rows[i].wanted) continue;
        return error_set(error, STATUS_DATA,
                         "%s/config.json: %s is %.10g, this run has %.10g; give the same shape", folder,
                         rows[i].key, rows[i].found, rows[i].wanted);
    }
    return true;
}
