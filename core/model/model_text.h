// Fields of a model as text, for options and errors. Two values of a field are the same where their texts
// are.
//
// A new type of field has a line of its own in each of these: FIELD_ in model.h (its C type), TEXT_ and
// CHANGES_ in model_text.c, WRITE_ and READ_ in hf_config.c, SET_ in core/options/options_meaning.c.
#ifndef CORE_MODEL_MODEL_TEXT_H
#define CORE_MODEL_MODEL_TEXT_H

#include "core/model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
#define FIELD(type, place, ...) MODEL_FIELD_##place,
#include "core/model/model_fields.def"
#undef FIELD
    MODEL_FIELD_COUNT
};

typedef struct {
    const char *key; // of config.json
    bool changes;    // --init may change it; all else is the model's shape
} ModelFieldRow;

extern const ModelFieldRow MODEL_FIELD_TABLE[MODEL_FIELD_COUNT];

#define MODEL_TEXT_SIZE 4096

// The value as its option takes it; a number in the fewest digits that are read as the same.
void model_field_text(const ModelConfig *model, int field, char text[MODEL_TEXT_SIZE]);

// The first field from `field` on whose value differs; MODEL_FIELD_COUNT for none.
int model_field_differs(const ModelConfig *a, const ModelConfig *b, int field);

#ifdef __cplusplus
}
#endif
#endif
