// Ready token ids as inputs of `pack`: arrays of 2 or 4 bytes an id, little-endian, cut into documents and
// held against the vocabulary.
#ifndef CORE_PACK_IDS_H
#define CORE_PACK_IDS_H

#include "pack.h"
#include "pack_document.h"
#include "text_source.h"

#ifdef __cplusplus
extern "C" {
#endif

// What is wrong with a block of ids.
typedef enum { PACK_IDS_RIGHT, PACK_IDS_TOO_LARGE, PACK_IDS_CUT } PackIdsFaultKind;
typedef struct {
    PackIdsFaultKind kind;
    int64_t place, id; // the first that is too large, counted in the block
} PackIdsFault;

// Status 2 where the settings of ids do not fit each other or those of text.
bool pack_ids_check_config(const PackConfig *config, Error *error);

// Appends each document of a block (PackDocument). A document ends behind document_end, or with the block.
void pack_ids_split(const PackConfig *config, const TextBlock *block, ByteBuffer *documents,
                    PackIdsFault *fault);

// Status 3 where a block has a fault.
bool pack_ids_check(const PackConfig *config, const TextBlock *block, const PackIdsFault *fault,
                    Error *error);

// Width of an id in shards: 2 bytes where the vocabulary fits.
static inline int pack_ids_shard_bytes(const PackConfig *config) {
    return config->vocab <= 1 << 16 ? 2 : 4;
}

#ifdef __cplusplus
}
#endif
#endif
