// What the names of `pack`'s inputs tell.
#ifndef CORE_PACK_PACK_NAMES_H
#define CORE_PACK_PACK_NAMES_H

#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// Counts the files that are for validation or tests by their name or their folder's, among others that are
// for training: whoever packs a whole data set hardly wants to train on them.
void pack_names_of_validation(const PackInputs *inputs, LeftOut *found);

#ifdef __cplusplus
}
#endif
#endif
