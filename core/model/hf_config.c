// config.json of a Hugging Face model, both ways; see hf_config.h.
#include "core/model/hf_config.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/model/hf_members.h"
#include "core/model/hf_numbers.h"
#include "core/model/hf_rope.h"
#include "core/base/json_file.h"
#include "core/model/model_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONTEXT 1000000000 // as that of --seq-len

// The same with its members in the order of the alphabet; takes the reference.
static json_t *sorted(json_t *object) {
    char *text = json_dumps(object, JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_t *copy = json_loads(text, 0, NULL);
    json_decref(object);
    free(text);
    return copy;
}

// A member of families that have a window alone.
static json_t *window_json(const ModelConfig *model) {
    if (!family_has(model->family, FAMILY_WINDOW)) return NULL;
    return model->window ? json_integer(model->window) : json_null();
}

// A member of families that may have such layers alone: 0 for each of these, 1 for each other.
static json_t *no_rope_json(const ModelConfig *model) {
    if (!family_has(model->family, FAMILY_NO_ROPE)) return NULL;
    json_t *layers = json_array();
    for (int64_t i = 0; i < model->n_layers; i++)
        json_array_append_new(layers, json_integer(!model->no_rope.has[i]));
    return layers;
}

#define WRITE_INT(value)     json_integer(value)
#define WRITE_REAL(value)    json_real(value)
#define WRITE_FLAG(value)    json_boolean(value)
#define WRITE_THETA(value)   json_real(value)
#define WRITE_FAMILY(value)  json_string(FAMILY_TABLE[value].name)
#define WRITE_WINDOW(value)  window_json(model)
#define WRITE_SCALING(value) hf_rope_scaling(&(value))
#define WRITE_LAYERS(value)  no_rope_json(model)

json_t *hf_config_json(const ModelConfig *model, int64_t context) {
    json_t *config = json_object();
#define FIELD(type, place, key, ...) json_object_set_new(config, key, WRITE_##type(model->place));
#include "core/model/model_fields.def"
#undef FIELD
    json_object_set_new(config, "architectures", json_pack("[s]", FAMILY_TABLE[model->family].architecture));
    if (!family_has(model->family, FAMILY_BIAS)) json_object_set_new(config, "attention_bias", json_false());
    json_object_set_new(config, "attention_dropout", json_real(0));
    json_object_set_new(config, "dtype", json_string("float32"));
    json_object_set_new(config, "hidden_act", json_string("silu"));
    json_object_set_new(config, "max_position_embeddings",
                        json_integer(hf_rope_context(&model->rope_scaling, context)));
    json_object_set_new(config, "mlp_bias", json_false());
    // transformers 5 reads rope_parameters, 4 reads rope_theta; so do dtype and torch_dtype divide them.
    json_object_set_new(config, "rope_parameters",
                        hf_rope_parameters(&model->rope_scaling, model->rope_theta));
    json_object_set_new(config, "torch_dtype", json_string("float32"));
    json_object_set_new(config, "use_cache", json_true());
    return sorted(config);
}

// The family that a configuration names, or the first.
static Family family_of(const json_t *config) {
    const char *name = json_string_value(json_object_get(config, "model_type"));
    int family;
    return name && choice_find(FAMILY_CHOICES, name, &family) ? (Family)family : FAMILY_LLAMA;
}

// What training changes, and how the rope's base is said to transformers 4 and 5; the rest stays as it was.
json_t *hf_config_update(const json_t *source, const ModelConfig *model, int64_t context) {
    static const char *const changed[] = {"dtype",           "torch_dtype", "max_position_embeddings",
                                          "rope_parameters", "rope_theta",  "tie_word_embeddings",
                                          "sliding_window",  "rope_scaling"};
    json_t *config = json_deep_copy(source),
           *ours = hf_config_json(model, hf_config_context(source, context));
    // Of no effect, or they would have been refused; a window that the family does not have must not bound a
    // longer context elsewhere.
    json_object_del(config, "rope_scaling");
    json_object_del(config, "sliding_window");
    if (family_has(model->family, FAMILY_SWITCH) && json_object_get(config, "use_sliding_window"))
        json_object_set_new(config, "use_sliding_window", json_false()); // it has a length where none is said
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
        json_object_set(config, changed[i], json_object_get(ours, changed[i]));
    json_decref(ours);
    return config;
}

int64_t hf_config_context(const json_t *config, int64_t context) {
    int64_t before = FAMILY_TABLE[family_of(config)].context;
    json_member_int(config, "max_position_embeddings", 1, MAX_CONTEXT, &before);
    return before > context ? before : context;
}

// ---- Reading

// A family of no row: what its configuration says that this program does not know.
static bool family_refuse(const json_t *config, const char *path, const json_t *type, Error *error) {
    char names[128];
    choice_names(FAMILY_CHOICES, names, sizeof names);
    if (!type) return error_set(error, STATUS_DATA, "%s: model_type is missing; there are %s", path, names);
    char *text = json_dumps(type, JSON_ENCODE_ANY);
    ByteBuffer unknown = {NULL, 0, 0};
    hf_members_unknown(config, &unknown);
    if (!hf_members_check(config, path, MAX_CONTEXT, FAMILY_LLAMA, error)) {
        error_prefix(error, "model_type %.60s is none of %s, and not computed as one", text, names);
    } else {
        error_set(error, STATUS_DATA,
                  "%s: model_type is %.60s, and there are %s; what it has beyond these is not known%s%.*s",
                  path, text, names, unknown.size ? ", nor its members " : "", (int)unknown.size,
                  unknown.size ? unknown.data : "");
    }
    bytes_free(&unknown);
    free(text);
    return false;
}

static bool family_read(const json_t *config, const char *path, Family *family, Error *error) {
    const json_t *type = hf_member(config, "model_type");
    *family = family_of(config);
    const FamilyRow *row = &FAMILY_TABLE[*family];
    if (!hf_text_is(type, row->name)) return family_refuse(config, path, type, error);
    const json_t *architectures = hf_member(config, "architectures");
    char wanted[64];
    snprintf(wanted, sizeof wanted, "[\"%s\"]", row->architecture);
    return !architectures ||
           (json_array_size(architectures) == 1 &&
            hf_text_is(json_array_get(architectures, 0), row->architecture)) ||
           hf_refuse(path, "architectures", architectures, wanted, error);
}

static bool flag_read(const json_t *config, const char *path, const char *key, bool otherwise, bool *value,
                      Error *error) {
    const json_t *found = hf_member(config, key);
    *value = found ? json_is_true(found) : otherwise;
    return !found || json_is_boolean(found) || hf_refuse(path, key, found, "true or false", error);
}

static bool plain_check(const json_t *config, const char *path, Family family, Error *error) {
    static const char *const activations[] = {"hidden_act", "hidden_activation"};
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++) {
        const json_t *activation = hf_member(config, activations[i]);
        if (activation && !hf_text_is(activation, "silu") && !hf_text_is(activation, "swish"))
            return hf_refuse(path, activations[i], activation, "\"silu\"", error);
    }
    int64_t context = FAMILY_TABLE[family].context;
    json_member_int(config, "max_position_embeddings", 1, MAX_CONTEXT, &context);
    return hf_members_check(config, path, context, family, error);
}

// Of a family that has one; a member that is missing is not one that is null.
static bool window_read(const json_t *config, const char *path, Family family, int64_t otherwise,
                        int64_t *window, Error *error) {
    const json_t *found = json_object_get(config, "sliding_window");
    *window = family_has(family, FAMILY_WINDOW) && !found ? otherwise : 0;
    if (!family_has(family, FAMILY_WINDOW) || !hf_member(config, "sliding_window")) return true;
    return hf_size_read(config, path, "sliding_window", 0, MODEL_MAX_WINDOW, window, error);
}

// ---- Layers without RoPE

#define NO_ROPE_INTERVAL 4 // where it is not said

// A list with a value for each layer, or every so many layers.
static bool no_rope_read(const json_t *config, const char *path, const ModelConfig *model, LayerSet *set,
                         Error *error) {
    int64_t interval;
    memset(set, 0, sizeof *set);
    if (!family_has(model->family, FAMILY_NO_ROPE)) return true;
    const json_t *layers = hf_member(config, "no_rope_layers");
    if (!hf_size_read(config, path, "no_rope_layer_interval", NO_ROPE_INTERVAL, MODEL_MAX_LAYERS, &interval,
                      error))
        return false;
    bool ok = !layers || (int64_t)json_array_size(layers) == model->n_layers;
    for (int64_t i = 0; ok && i < model->n_layers && i < MODEL_MAX_LAYERS; i++) {
        const json_t *layer = json_array_get(layers, (size_t)i);
        ok = !layers || json_is_boolean(layer) || json_is_number(layer);
        set->has[i] =
            layers ? json_is_false(layer) || (ok && json_is_number(layer) && json_number_value(layer) == 0)
                   : (i + 1) % interval == 0;
    }
    return ok ||
           hf_refuse(path, "no_rope_layers", layers, "a list of 1 or 0 for each layer, or absent", error);
}

// ---- The shape

static bool head_dim_check(const json_t *config, const char *path, const ModelConfig *model, Error *error) {
    return hf_member(config, "head_dim") || family_has(model->family, FAMILY_HEAD_128) ||
           model->dim % model->n_heads == 0 ||
           error_set(error, STATUS_DATA,
                     "%s: has no head_dim, and num_attention_heads %lld does not divide hidden_size %lld",
                     path, (long long)model->n_heads, (long long)model->dim);
}

// Shapes that no engine takes, in the words of config.json.
static bool shape_check(const json_t *config, const char *path, const ModelConfig *model, Error *error) {
    if (!head_width_known(model->head_dim)) {
        return error_set(error, STATUS_DATA, "%s: %s is %lld; attention is built for " HEAD_WIDTHS, path,
                         hf_member(config, "head_dim") ? "head_dim" : "hidden_size / num_attention_heads",
                         (long long)model->head_dim);
    }
    if (model->n_heads % model->n_kv_heads != 0) {
        return error_set(error, STATUS_DATA,
                         "%s: num_key_value_heads %lld does not divide num_attention_heads %lld", path,
                         (long long)model->n_kv_heads, (long long)model->n_heads);
    }
    bool ffn = model->dim % 8 == 0;
    return (ffn && model->ffn_dim % 8 == 0) ||
           error_set(error, STATUS_DATA, "%s: %s is %lld, and must be a multiple of 8 (rows of 16 bytes)",
                     path, ffn ? "intermediate_size" : "hidden_size",
                     (long long)(ffn ? model->ffn_dim : model->dim));
}

// What transformers takes where head_dim is missing.
static int64_t model_missing_head_dim(const ModelConfig *model) {
    return family_has(model->family, FAMILY_HEAD_128) ? 128 : model->dim / model->n_heads;
}

#define READ_INT(key, otherwise, most, place)     hf_size_read(config, path, key, otherwise, most, place, error)
#define READ_REAL(key, otherwise, most, place)    hf_real_read(config, path, key, otherwise, place, error)
#define READ_FLAG(key, otherwise, most, place)    flag_read(config, path, key, otherwise, place, error)
#define READ_THETA(key, otherwise, most, place)   hf_rope_theta_read(config, path, otherwise, place, error)
#define READ_LAYERS(key, otherwise, most, place)  no_rope_read(config, path, m, place, error)
#define READ_SCALING(key, otherwise, most, place) hf_rope_scaling_read(config, path, *context, place, error)
#define READ_FAMILY(key, otherwise, most, place)  true // read before
#define READ_WINDOW(key, otherwise, most, place)  window_read(config, path, m->family, otherwise, place, error)

// Members whose null transformers takes for no default: it refuses it, or computes another model.
static bool null_check(const json_t *config, const char *path, Family family, Error *error) {
    static const char *const keys[] = {"hidden_act", "rms_norm_eps", "max_position_embeddings",
                                       "tie_word_embeddings", "head_dim"};
    size_t count = sizeof keys / sizeof *keys - !family_has(family, FAMILY_HEAD_128);
    for (size_t i = 0; i < count; i++) {
        if (!json_is_null(json_object_get(config, keys[i]))) continue;
        return error_set(
            error, STATUS_DATA,
            "%s: %s is null, which transformers does not take for its default; write the value, or "
            "remove the member",
            path, keys[i]);
    }
    return true;
}

static bool config_parse(const json_t *config, const char *path, ModelConfig *model, int64_t *context,
                         Error *error) {
    memset(model, 0, sizeof *model);
    ModelConfig *m = model;
    bool ok = family_read(config, path, &m->family, error) && null_check(config, path, m->family, error) &&
              plain_check(config, path, m->family, error);
    ok = ok && hf_size_read(config, path, "max_position_embeddings", FAMILY_TABLE[m->family].context,
                            MAX_CONTEXT, context, error);
#define FIELD(type, place, key, option, most, otherwise) \
    ok = ok && READ_##type(key, otherwise, most, &model->place);
#include "core/model/model_fields.def"
#undef FIELD
    ok = ok && head_dim_check(config, path, model, error);
    if (!ok || !shape_check(config, path, model, error)) return false;

    if (model_config_check(model, error)) return true;
    error->status = STATUS_DATA;
    return error_prefix(error, "%s", path);
}

bool hf_config_read(const char *folder, ModelConfig *model, int64_t *context, Error *error) {
    char *path = path_join(folder, CONFIG_FILE);
    json_t *config = json_file_read(path, error);
    bool ok = config && config_parse(config, path, model, context, error);
    json_decref(config);
    free(path);
    return ok;
}

bool hf_config_same(const ModelConfig *found, const ModelConfig *wanted, const char *folder, Error *error) {
    char is[MODEL_TEXT_SIZE], needed[MODEL_TEXT_SIZE];
    for (int i = 0; (i = model_field_differs(found, wanted, i)) < MODEL_FIELD_COUNT; i++) {
        if (MODEL_FIELD_TABLE[i].changes) continue;
        model_field_text(found, i, is);
        model_field_text(wanted, i, needed);
        return error_set(error, STATUS_DATA, "%s/config.json: %s is %s, this run has %s; give the same shape",
                         folder, MODEL_FIELD_TABLE[i].key, is, needed);
    }
    return true;
}
