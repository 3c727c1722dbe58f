// Token ids as inputs of `pack`: arrays of 2 or 4 bytes an id, little-endian, cut into documents and
// held against the vocabulary.
#ifndef CORE_PACK_PACK_IDS_H
#define CORE_PACK_PACK_IDS_H

#include "core/pack/ids_seen.h"
#include "core/pack/pack_config.h"
#include "core/pack/pack_document.h"
#include "core/pack/text_source.h"

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

// Tells what a file that is listed is (ids_format.h).
bool pack_ids_judge(const PackConfig *config, PackInput *file, PackRefusal *refusal, Error *error);

// Appends each document of a block (PackDocument). A document ends behind document_end, or with the block.
void pack_ids_split(const PackConfig *config, const TextBlock *block, ByteBuffer *documents, IdsSeen *seen,
                    PackIdsFault *fault);

// Status 3 where a block, which has these ids, has a fault.
bool pack_ids_check(const PackConfig *config, const TextBlock *block, const PackIdsFault *fault,
                    const ByteBuffer *ids, Error *error);

#ifdef __cplusplus
}
#endif
#endif
