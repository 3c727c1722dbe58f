// RoPE as config.json says it; see hf_rope.h.
#include "core/model/hf_rope.h"

#include "core/model/hf_members.h"
#include "core/model/hf_numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Where each of transformers 4 and 5 reads the scaling, and 5 the base.
static const char *const members[] = {"rope_scaling", "rope_parameters"};
#define N_MEMBERS (sizeof members / sizeof *members)

// ---- The base

// Where one member and another give the base, they give the same.
static bool theta_read(const json_t *rope, const char *name, const char *path, const char **said,
                       double *theta, Error *error) {
    double found;
    if (!hf_member(rope, "rope_theta")) return true;
    if (!hf_real_read(rope, path, "rope_theta", 0, &found, error)) return false;
    if (*said && found != *theta) {
        return error_set(error, STATUS_DATA,
                         "%s: rope_theta is %.10g, but %s says %.10g; transformers 4 reads the one and 5 the "
                         "other: make them the same",
                         path, *theta, name, found);
    }
    *said = name;
    *theta = found;
    return true;
}

bool hf_rope_theta_read(const json_t *config, const char *path, double otherwise, double *theta,
                        Error *error) {
    const char *said = NULL;
    *theta = otherwise;
    bool ok = theta_read(config, "rope_theta", path, &said, theta, error);
    for (size_t i = 0; ok && i < N_MEMBERS; i++) {
        const json_t *rope = hf_member(config, members[i]);
        ok = !json_is_object(rope) || theta_read(rope, members[i], path, &said, theta, error);
    }
    if (ok && !said && json_is_null(json_object_get(config, "rope_theta")))
        return error_set(
            error, STATUS_DATA,
            "%s: rope_theta is null, and nothing else says the base; write it, or remove the member", path);
    return ok;
}

// ---- The scaling

// By either of its names, which agree where both are there.
static bool type_read(const json_t *rope, const char *name, const char *path, RopeType *type, Error *error) {
    const json_t *said = hf_member(rope, "rope_type"), *older = hf_member(rope, "type");
    char names[128];
    if (!said && !older) {
        return error_set(error, STATUS_DATA,
                         "%s: %s has no rope_type (or type) that says which it is; write \"rope_type\": "
                         "\"default\" into it if it is the plain one, or remove it",
                         path, name);
    }
    if (said && older && !json_equal(said, older))
        return hf_refuse(path, "type", older, "the same as rope_type, or absent", error);
    const char *key = said ? "rope_type" : "type", *text = json_string_value(said ? said : older);
    rope_type_names(names, sizeof names);
    return (text && rope_type_find(text, type)) || hf_refuse(path, key, said ? said : older, names, error);
}

static int field_find(const char *key) {
    int field = 0;
    while (field < ROPE_FIELD_COUNT && strcmp(ROPE_FIELD_TABLE[field].key, key) != 0) field++;
    return field;
}

// Members that are no field of the type: none but the base, the type, and factors of 1.
static bool other_member(const char *key, const json_t *value) {
    static const char *const always[] = {"rope_theta", "rope_type", "type"};
    static const char *const ones[] = {"partial_rotary_factor", "factor", "attention_factor"};
    bool harmless = json_is_null(value);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        harmless = harmless || strcmp(key, always[i]) == 0;
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        harmless = harmless || (strcmp(key, ones[i]) == 0 && json_number_value(value) == 1);
    return harmless;
}

static bool field_read(const json_t *value, int field, const char *path, RopeScaling *scaling, Error *error) {
    const RopeFieldRow *row = &ROPE_FIELD_TABLE[field];
    double *place = rope_field(scaling, field);
    if (row->kind == ROPE_KIND_FLAG) {
        *place = json_is_true(value) ? 1 : -1;
        return json_is_boolean(value) || json_is_null(value) || // which transformers takes for false
               hf_refuse(path, row->key, value, "true or false", error);
    }
    *place = json_number_value(value);
    bool unsaid = *place == 0 && !(row->needed >> scaling->type & 1) && // so transformers takes it,
                  field != ROPE_FIELD_attention_factor;                 // but not of this one
    return (json_is_number(value) && isfinite(*place) && (*place > 0 || unsaid)) ||
           hf_refuse(path, row->key, value, "a number above 0", error);
}

static bool fields_read(const json_t *rope, const char *name, const char *path, RopeScaling *scaling,
                        Error *error) {
    const char *key;
    json_t *value;
    char wanted[96];
    json_object_foreach((json_t *)rope, key, value) {
        int field = field_find(key);
        bool has = field < ROPE_FIELD_COUNT && rope_type_has(scaling->type, field);
        if (has && json_is_null(value) && ROPE_FIELD_TABLE[field].kind != ROPE_KIND_FLAG) continue;
        if (has && !field_read(value, field, path, scaling, error)) return false;
        if (has || other_member(key, value)) continue;
        snprintf(wanted, sizeof wanted, "absent from %s of type %s", name, ROPE_TYPE_NAMES[scaling->type]);
        return hf_refuse(path, key, value, wanted, error);
    }
    return true;
}

// What a type takes from the context where it is not said.
static bool context_read(const json_t *config, const char *path, int64_t context, RopeScaling *s,
                         Error *error) {
    if (!rope_type_has(s->type, ROPE_FIELD_original)) return true;
    const json_t *outer = hf_member(config, "original_max_position_embeddings");
    if (outer && json_number_value(outer) != (s->original ? s->original : (double)context))
        return hf_refuse(path, "original_max_position_embeddings", outer, "said in rope_scaling", error);
    if (s->original == 0) s->original = (double)context;
    if (s->type == ROPE_DYNAMIC && s->original != (double)context) {
        return error_set(error, STATUS_DATA,
                         "%s: original_max_position_embeddings is %.10g, but transformers reads %lld, "
                         "max_position_embeddings, for type dynamic: make them the same",
                         path, s->original, (long long)context);
    }
    return true;
}

static bool scaling_read(const json_t *config, const char *name, const char *path, int64_t context,
                         RopeScaling *scaling, Error *error) {
    const json_t *rope = hf_member(config, name);
    memset(scaling, 0, sizeof *scaling);
    if (!json_is_object(rope)) return hf_refuse(path, name, rope, "an object or null", error);
    if (!type_read(rope, name, path, &scaling->type, error) ||
        !fields_read(rope, name, path, scaling, error) ||
        !context_read(config, path, context, scaling, error))
        return false;
    if (rope_scaling_check(scaling, error)) return true;
    error->status = STATUS_DATA;
    return error_prefix(error, "%s: %s", path, name);
}

bool hf_rope_scaling_read(const json_t *config, const char *path, int64_t context, RopeScaling *scaling,
                          Error *error) {
    bool said = false;
    memset(scaling, 0, sizeof *scaling);
    for (size_t i = 0; i < N_MEMBERS; i++) {
        RopeScaling found;
        char text[ROPE_TEXT_SIZE], other[ROPE_TEXT_SIZE];
        if (!hf_member(config, members[i])) continue;
        if (!scaling_read(config, members[i], path, context, &found, error)) return false;
        rope_scaling_text(found, text);
        rope_scaling_text(*scaling, other);
        if (said && strcmp(text, other) != 0) {
            return error_set(error, STATUS_DATA,
                             "%s: %s says %s, but %s says %s; transformers 4 reads the one and 5 the other: "
                             "make them the same",
                             path, members[0], other, members[i], text);
        }
        said = true;
        *scaling = found;
    }
    return true;
}

// ---- Writing

static json_t *field_json(const RopeFieldRow *row, double value) {
    if (row->kind == ROPE_KIND_FLAG) return json_boolean(value > 0);
    return row->kind == ROPE_KIND_LENGTH ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *scaling_json(const RopeScaling *scaling) {
    json_t *object = json_object();
    RopeScaling copy = *scaling;
    json_object_set_new(object, "rope_type", json_string(ROPE_TYPE_NAMES[scaling->type]));
    for (int i = 0; i < ROPE_FIELD_COUNT; i++) {
        double value = *rope_field(&copy, i);
        bool written = value != 0 && !(scaling->type == ROPE_DYNAMIC && i == ROPE_FIELD_original);
        if (written)
            json_object_set_new(object, ROPE_FIELD_TABLE[i].key, field_json(&ROPE_FIELD_TABLE[i], value));
    }
    return object;
}

json_t *hf_rope_scaling(const RopeScaling *scaling) {
    return scaling->type ? scaling_json(scaling) : NULL;
}

json_t *hf_rope_parameters(const RopeScaling *scaling, double theta) {
    json_t *object = scaling_json(scaling);
    json_object_set_new(object, "rope_theta", json_real(theta));
    return object;
}

int64_t hf_rope_context(const RopeScaling *scaling, int64_t context) {
    return scaling->type == ROPE_DYNAMIC ? (int64_t)scaling->original : context;
}
