// Fields of a model as text; see model_text.h.
#include "core/model/model_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES_INT     false
#define CHANGES_REAL    false
#define CHANGES_FLAG    false
#define CHANGES_THETA   true
#define CHANGES_FAMILY  false
#define CHANGES_WINDOW  true
#define CHANGES_SCALING true
#define CHANGES_LAYERS  false

const ModelFieldRow MODEL_FIELD_TABLE[MODEL_FIELD_COUNT] = {
#define FIELD(type, place, key, ...) {key, CHANGES_##type},
#include "core/model/model_fields.def"
#undef FIELD
};

static void real_text(double value, char *text) {
    for (int digits = 10; digits <= 17; digits++) {
        snprintf(text, MODEL_TEXT_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value) return;
    }
}

static void int_text(int64_t value, char *text) {
    snprintf(text, MODEL_TEXT_SIZE, "%lld", (long long)value);
}

static void family_text(Family family, char *text) {
    snprintf(text, MODEL_TEXT_SIZE, "%s", FAMILY_TABLE[family].name);
}

static void flag_text(bool flag, char *text) {
    snprintf(text, MODEL_TEXT_SIZE, "%s", flag ? "true" : "false");
}

static void layers_text(LayerSet set, char *text) {
    layer_set_text(&set, text, MODEL_TEXT_SIZE);
}

#define TEXT_INT     int_text
#define TEXT_FLAG    flag_text
#define TEXT_REAL    real_text
#define TEXT_THETA   real_text
#define TEXT_FAMILY  family_text
#define TEXT_WINDOW  int_text
#define TEXT_SCALING rope_scaling_text
#define TEXT_LAYERS  layers_text

void model_field_text(const ModelConfig *model, int field, char text[MODEL_TEXT_SIZE]) {
    switch (field) {
#define FIELD(type, place, ...)          \
    case MODEL_FIELD_##place:            \
        TEXT_##type(model->place, text); \
        break;
#include "core/model/model_fields.def"
#undef FIELD
    default: text[0] = 0;
    }
}

int model_field_differs(const ModelConfig *a, const ModelConfig *b, int field) {
    char mine[MODEL_TEXT_SIZE], theirs[MODEL_TEXT_SIZE];
    for (; field < MODEL_FIELD_COUNT; field++) {
        model_field_text(a, field, mine);
        model_field_text(b, field, theirs);
        if (strcmp(mine, theirs) != 0) break;
    }
    return field;
}
