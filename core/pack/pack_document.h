// A document on its way through `pack`, and what its place in the inputs decides.
//
// A hash of the seed and of that place says whether a document is for validation, and where it goes in the
// order of its split. So nothing depends on the order in which threads come to documents.
#ifndef CORE_PACK_PACK_DOCUMENT_H
#define CORE_PACK_PACK_DOCUMENT_H

#include "core/data/shard.h"

#include <xxhash.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t input; // index of its file among the inputs; PACK_PASSKEYS for a passkey document
    int64_t place; // in the file: its line, from 1, or its first id; 0 for a whole file
    size_t size;   // bytes of the text, or of the ids as they came
} PackDocument;

#define PACK_PASSKEYS (-1) // these are counted by `place`

typedef enum { PACK_IS_VALIDATION, PACK_PLACE_IN_ORDER } PackDecision;

static inline uint64_t pack_document_hash(const PackDocument *document, PackDecision decision,
                                          uint64_t seed) {
    unsigned char key[24];
    shard_put(key, 8, (uint64_t)document->input);
    shard_put(key + 8, 8, (uint64_t)document->place);
    shard_put(key + 16, 8, (uint64_t)decision);
    return XXH3_64bits_withSeed(key, sizeof key, seed);
}

#ifdef __cplusplus
}
#endif
#endif
