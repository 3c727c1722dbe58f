// A set of a model's layers, and its text: their numbers with commas between, or "none".
#ifndef CORE_MODEL_LAYER_SET_H
#define CORE_MODEL_LAYER_SET_H

#include "core/base/error.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Far beyond any model, and small enough that no size computed of them overflows 64 bits.
#define MODEL_MAX_LAYERS 512

typedef struct {
    bool has[MODEL_MAX_LAYERS];
} LayerSet;

void layer_set_text(const LayerSet *set, char *text, size_t size);
// Error (status 2) where the text is none of a set.
bool layer_set_parse(const char *text, LayerSet *set, Error *error);
// The last layer of the set; -1 for none.
int layer_set_last(const LayerSet *set);

#ifdef __cplusplus
}
#endif
#endif
