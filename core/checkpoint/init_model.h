// --init: what a run takes from the folder of the model that it begins from, and what it may change.
#ifndef CORE_CHECKPOINT_INIT_MODEL_H
#define CORE_CHECKPOINT_INIT_MODEL_H

#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Sets shape, vocabulary, RoPE's base and context as the folder's config.json has them. What else says
// another shape is refused with both named (status 2); another base of RoPE and another context are obeyed.
bool init_model_settings(Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
