// Families of models: what each has beside what all share, and what its config.json stands for where it says
// nothing.
#ifndef CORE_MODEL_FAMILY_H
#define CORE_MODEL_FAMILY_H

#include "core/base/choice.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
#define FAMILY(ID, ...) FAMILY_##ID,
#include "core/model/families.def"
#undef FAMILY
    FAMILY_COUNT
} Family;

extern const Choice FAMILY_CHOICES[];

// Bits of what a family has.
enum {
    FAMILY_WINDOW = 1,    // a member sliding_window, which bounds what its tokens attend to
    FAMILY_NO_ROPE = 2,   // members no_rope_layers, no_rope_layer_interval: some layers have no RoPE
    FAMILY_BIAS = 4,      // biases of q, k and v
    FAMILY_QK_NORM = 8,   // RMSNorm of each head of q and k, before RoPE
    FAMILY_HEAD_128 = 16, // heads of 128 where head_dim is missing; else the width over the heads
    FAMILY_SWITCH = 32,   // a member use_sliding_window, which turns windows on
};

typedef struct {
    const char *name;         // model_type
    const char *architecture; // the only one of `architectures`
    unsigned has;
    // What transformers takes for a member that is missing.
    int64_t context; // max_position_embeddings
    double theta;    // rope_theta
    int64_t window;  // sliding_window
    bool tied;       // tie_word_embeddings
} FamilyRow;

extern const FamilyRow FAMILY_TABLE[FAMILY_COUNT];

static inline bool family_has(Family family, unsigned bit) {
    return (FAMILY_TABLE[family].has & bit) != 0;
}

#ifdef __cplusplus
}
#endif
#endif
