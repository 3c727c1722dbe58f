// The table of RoPE scalings, and scalings as text; see rope_scaling.h.
#include "core/model/rope_scaling.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const ROPE_TYPE_NAMES[ROPE_TYPE_COUNT] = {
#define ROPE_TYPE(ID, name) name,
#include "core/model/rope_types.def"
#undef ROPE_TYPE
};

#define LINEAR  (1u << ROPE_LINEAR)
#define DYNAMIC (1u << ROPE_DYNAMIC)
#define LLAMA3  (1u << ROPE_LLAMA3)
#define YARN    (1u << ROPE_YARN)

const RopeFieldRow ROPE_FIELD_TABLE[ROPE_FIELD_COUNT] = {
#define ROPE_FIELD(place, name, key, kind, needed, taken) {name, key, ROPE_KIND_##kind, needed, taken},
#include "core/model/rope_types.def"
#undef ROPE_FIELD
};

static const size_t offsets[] = {
#define ROPE_FIELD(place, ...) offsetof(RopeScaling, place),
#include "core/model/rope_types.def"
#undef ROPE_FIELD
};

double *rope_field(RopeScaling *scaling, int field) {
    return (double *)(void *)((char *)scaling + offsets[field]);
}

bool rope_type_find(const char *name, RopeType *type) {
    for (int i = 0; i < ROPE_TYPE_COUNT; i++) {
        if (strcmp(ROPE_TYPE_NAMES[i], name) != 0) continue;
        *type = (RopeType)i;
        return true;
    }
    return false;
}

void rope_type_names(char *text, size_t size) {
    text[0] = 0;
    for (int i = 0; i < ROPE_TYPE_COUNT; i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", ROPE_TYPE_NAMES[i]);
    }
}

// ---- As text

static void append_value(const RopeFieldRow *row, double value, bool first, char *text) {
    size_t used = strlen(text), room = ROPE_TEXT_SIZE - used;
    char number[32];
    for (int digits = 10; digits <= 17; digits++) {
        snprintf(number, sizeof number, "%.*g", digits, value);
        if (strtod(number, NULL) == value) break;
    }
    if (row->kind == ROPE_KIND_FLAG) snprintf(number, sizeof number, "%s", value > 0 ? "true" : "false");
    snprintf(text + used, room, "%c%s=%s", first ? ':' : ',', row->name, number);
}

void rope_scaling_text(RopeScaling scaling, char text[ROPE_TEXT_SIZE]) {
    bool first = true;
    snprintf(text, ROPE_TEXT_SIZE, "%s", scaling.type ? ROPE_TYPE_NAMES[scaling.type] : "none");
    for (int i = 0; i < ROPE_FIELD_COUNT; i++) {
        double value = *rope_field(&scaling, i);
        if (value == 0) continue;
        append_value(&ROPE_FIELD_TABLE[i], value, first, text);
        first = false;
    }
}

static bool value_parse(const char *name, const char *text, RopeScaling *scaling, Error *error) {
    int field = 0;
    while (field < ROPE_FIELD_COUNT && strcmp(ROPE_FIELD_TABLE[field].name, name) != 0) field++;
    if (field == ROPE_FIELD_COUNT || !rope_type_has(scaling->type, field)) {
        return error_set(error, STATUS_USAGE, "%s has no field '%s'", ROPE_TYPE_NAMES[scaling->type], name);
    }
    double *value = rope_field(scaling, field);
    if (*value != 0) return error_set(error, STATUS_USAGE, "%s is given twice", name);
    if (ROPE_FIELD_TABLE[field].kind == ROPE_KIND_FLAG) {
        *value = strcmp(text, "true") == 0 ? 1 : strcmp(text, "false") == 0 ? -1 : 0;
        return *value != 0 || error_set(error, STATUS_USAGE, "%s must be true or false", name);
    }
    char *end;
    *value = strtod(text, &end);
    return (end > text && !*end && isfinite(*value) && *value > 0) ||
           error_set(error, STATUS_USAGE, "%s must be a number above 0", name);
}

static bool type_parse(const char *name, RopeScaling *scaling, Error *error) {
    char names[128];
    if (rope_type_find(strcmp(name, "none") == 0 ? "default" : name, &scaling->type)) return true;
    rope_type_names(names, sizeof names);
    return error_set(error, STATUS_USAGE, "there is no type '%.60s'; there are none, %s", name, names);
}

bool rope_scaling_parse(const char *text, RopeScaling *scaling, Error *error) {
    char copy[ROPE_TEXT_SIZE], *rest = NULL;
    memset(scaling, 0, sizeof *scaling);
    if (strlen(text) >= sizeof copy) return error_set(error, STATUS_USAGE, "is too long");
    memcpy(copy, text, strlen(text) + 1);
    char *values = strchr(copy, ':');
    if (values) *values++ = 0;
    if (!type_parse(copy, scaling, error)) return false;
    for (char *word = values ? strtok_r(values, ",", &rest) : NULL; word; word = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(word, '=');
        if (!equals) return error_set(error, STATUS_USAGE, "'%s' is not of the form field=value", word);
        *equals = 0;
        if (!value_parse(word, equals + 1, scaling, error)) return false;
    }
    return rope_scaling_check(scaling, error);
}

// ---- What is possible

#define MOST 1e12 // far beyond any model, and far from overflow

static bool field_check(const RopeFieldRow *row, RopeType type, double value, Error *error) {
    if (value == 0) {
        return !(row->needed >> type & 1) ||
               error_set(error, STATUS_USAGE, "%s needs %s", ROPE_TYPE_NAMES[type], row->name);
    }
    if (value > MOST)
        return error_set(error, STATUS_USAGE, "%s must be %g or less, and is %g", row->name, MOST, value);
    if (row->kind == ROPE_KIND_FACTOR && !(value >= 1))
        return error_set(error, STATUS_USAGE, "%s must be 1 or more, and is %g", row->name, value);
    bool whole = value == floor(value) && value >= 1 && value <= ROPE_MAX_ORIGINAL;
    return row->kind != ROPE_KIND_LENGTH || whole ||
           error_set(error, STATUS_USAGE, "%s must be a whole number from 1 to %d, and is %.10g", row->name,
                     ROPE_MAX_ORIGINAL, value);
}

#define BETA_FAST 32 // of YaRN, where they are not said
#define BETA_SLOW 1

static double said_or(double value, double otherwise) {
    return value != 0 ? value : otherwise;
}

bool rope_scaling_check(const RopeScaling *scaling, Error *error) {
    RopeScaling copy = *scaling;
    for (int i = 0; i < ROPE_FIELD_COUNT; i++)
        if (!field_check(&ROPE_FIELD_TABLE[i], scaling->type, *rope_field(&copy, i), error)) return false;
    if (scaling->type == ROPE_LLAMA3 && !(scaling->high > scaling->low)) {
        return error_set(error, STATUS_USAGE, "high_freq_factor %g must be above low_freq_factor %g",
                         scaling->high, scaling->low);
    }
    double fast = said_or(scaling->beta_fast, BETA_FAST), slow = said_or(scaling->beta_slow, BETA_SLOW);
    return fast > slow ||
           error_set(error, STATUS_USAGE, "beta_fast %g must be above beta_slow %g", fast, slow);
}

void rope_scaling_warn(const RopeScaling *scaling, int64_t N, bool chosen) {
    double reach = scaling->factor * scaling->original;
    if (scaling->type != ROPE_YARN && !(chosen && scaling->type == ROPE_LLAMA3)) return;
    if ((double)N <= reach) return;
    warn("sequences of %lld tokens: RoPE of type %s reaches %.0f, its factor %.6g times its original context "
         "%.0f; a larger factor reaches further",
         (long long)N, ROPE_TYPE_NAMES[scaling->type], reach, scaling->factor, scaling->original);
}

// ---- Frequencies

// The base that stretches the lowest frequency by as much as the sequence is longer than the original.
static double dynamic_theta(const RopeScaling *s, double theta, int64_t D, int64_t positions) {
    double length = (double)positions > s->original ? (double)positions : s->original;
    return theta * pow(s->factor * length / s->original - (s->factor - 1), (double)D / (double)(D - 2));
}

// Wave lengths that the original context holds often stay, those that it does not hold are stretched.
static double llama3_frequency(const RopeScaling *s, double inverse) {
    double turns = s->original * inverse / (2 * M_PI);
    if (turns > s->high) return inverse;
    if (turns < s->low) return inverse / s->factor;
    double smooth = (turns - s->low) / (s->high - s->low);
    return (1 - smooth) * inverse / s->factor + smooth * inverse;
}

// The pair that makes this many turns in the original context.
static double yarn_pair(const RopeScaling *s, double theta, int64_t D, double turns) {
    return (double)D * log(s->original / (turns * 2 * M_PI)) / (2 * log(theta));
}

// Pairs before `low` stay, those behind `high` are stretched, between them is a ramp.
static void yarn_bounds(const RopeScaling *s, double theta, int64_t D, double *low, double *high) {
    *low = yarn_pair(s, theta, D, said_or(s->beta_fast, BETA_FAST));
    *high = yarn_pair(s, theta, D, said_or(s->beta_slow, BETA_SLOW));
    if (s->truncate >= 0) *low = floor(*low), *high = ceil(*high);
    *low = fmax(*low, 0);
    *high = fmin(*high, (double)D - 1);
    if (*low == *high) *high += 0.001;
}

static double yarn_frequency(const RopeScaling *s, double low, double high, int64_t pair, double inverse) {
    double ramp = fmin(fmax(((double)pair - low) / (high - low), 0), 1);
    return inverse / s->factor * ramp + inverse * (1 - ramp);
}

static double yarn_scale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static double yarn_attention_factor(const RopeScaling *s) {
    if (s->attention_factor != 0) return s->attention_factor;
    if (s->mscale == 0 || s->mscale_all_dim == 0) return yarn_scale(s->factor, 1);
    return yarn_scale(s->factor, s->mscale) / yarn_scale(s->factor, s->mscale_all_dim);
}

RopeFrequencies rope_frequencies(const RopeScaling *scaling, double theta, int64_t D, int64_t positions) {
    RopeFrequencies f;
    double low = 0, high = 0;
    memset(&f, 0, sizeof f);
    f.attention_factor = scaling->type == ROPE_YARN ? yarn_attention_factor(scaling) : 1;
    if (scaling->type == ROPE_DYNAMIC) theta = dynamic_theta(scaling, theta, D, positions);
    if (scaling->type == ROPE_YARN) yarn_bounds(scaling, theta, D, &low, &high);
    for (int64_t i = 0; i < D / 2; i++) {
        double inverse = pow(theta, -2.0 * (double)i / (double)D);
        switch (scaling->type) {
        case ROPE_LINEAR: inverse /= scaling->factor; break;
        case ROPE_LLAMA3: inverse = llama3_frequency(scaling, inverse); break;
        case ROPE_YARN: inverse = yarn_frequency(scaling, low, high, i, inverse); break;
        default: break;
        }
        f.inverse[i] = inverse;
    }
    return f;
}
