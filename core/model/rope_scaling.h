// RoPE scaling: how the rotary angles of a model are stretched over a longer context, and the frequencies
// that come of it. Types, fields and formulas are those of transformers (modeling_rope_utils.py).
#ifndef CORE_MODEL_ROPE_SCALING_H
#define CORE_MODEL_ROPE_SCALING_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
#define ROPE_TYPE(ID, ...) ROPE_##ID,
#include "core/model/rope_types.def"
#undef ROPE_TYPE
    ROPE_TYPE_COUNT
} RopeType;

// 0: not said. A flag is 1 or -1.
typedef struct {
    RopeType type;
#define ROPE_FIELD(place, ...) double place;
#include "core/model/rope_types.def"
#undef ROPE_FIELD
} RopeScaling;

enum {
#define ROPE_FIELD(place, ...) ROPE_FIELD_##place,
#include "core/model/rope_types.def"
#undef ROPE_FIELD
    ROPE_FIELD_COUNT
};

typedef enum { ROPE_KIND_NUMBER, ROPE_KIND_FACTOR, ROPE_KIND_LENGTH, ROPE_KIND_FLAG } RopeKind;

typedef struct {
    const char *name, *key;
    RopeKind kind;
    unsigned needed, taken; // bits 1 << type
} RopeFieldRow;

extern const char *const ROPE_TYPE_NAMES[ROPE_TYPE_COUNT];
extern const RopeFieldRow ROPE_FIELD_TABLE[ROPE_FIELD_COUNT];

#define ROPE_MAX_ORIGINAL 1000000000 // as of --seq-len
#define ROPE_TEXT_SIZE    512

double *rope_field(RopeScaling *scaling, int field);
static inline bool rope_type_has(RopeType type, int field) {
    return ((ROPE_FIELD_TABLE[field].needed | ROPE_FIELD_TABLE[field].taken) >> type & 1) != 0;
}

// The type of a name; false for none.
bool rope_type_find(const char *name, RopeType *type);
// "default, linear, ..."
void rope_type_names(char *text, size_t size);

// "none", or as "yarn:factor=4,original=32768"; each the inverse of the other. Errors have status 2.
void rope_scaling_text(RopeScaling scaling, char text[ROPE_TEXT_SIZE]);
bool rope_scaling_parse(const char *text, RopeScaling *scaling, Error *error);

// Whether all is there that the type needs, and in its bounds; error (status 2) with the field's key.
bool rope_scaling_check(const RopeScaling *scaling, Error *error);

// Warns where sequences are longer than the angles of yarn reach, which is the factor times the original
// context. Models of llama3 are used beyond that: it is told of where it is `chosen` for these sequences.
void rope_scaling_warn(const RopeScaling *scaling, int64_t N, bool chosen);

#define ROPE_MAX_PAIRS 64 // half of the widest head

// What turns pairs of a head: pair i at position n by the angle n inverse[i]; cosine and sine are multiplied
// by attention_factor.
typedef struct {
    double inverse[ROPE_MAX_PAIRS];
    double attention_factor;
} RopeFrequencies;

// Of heads of D for sequences of this many positions, which `dynamic` alone asks for.
RopeFrequencies rope_frequencies(const RopeScaling *scaling, double theta, int64_t D, int64_t positions);

#ifdef __cplusplus
}
#endif
#endif
