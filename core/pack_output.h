// The shards that `pack` makes: which document goes where, the shuffle, and the folder that gets all shards
// or none.
//
// Documents are numbered as they come. A hash of seed and number decides: validation or not, which shard, and
// the place within it. When shuffling, documents first go to one spill file a shard; each spill is then
// loaded, ordered and written, so that memory is bounded by a shard. All this happens in a hidden folder
// inside the output folder; finished shards move out of it at the very end.
#ifndef CORE_PACK_OUTPUT_H
#define CORE_PACK_OUTPUT_H

#include "bytes.h"
#include "dataloader.h"
#include "error.h"
#include "pack.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;   // "train" or "val"
    PackCounts counts;  // shards: those finished
    int64_t n_spills;   // shuffled: one a shard
    ByteBuffer *spills; // what of each is not yet in its file
    ShardWriter writer; // in order: the shard being filled, when writer.path is set
} PackSplit;

typedef struct {
    const PackConfig *config;
    char *work; // the hidden folder
    int work_lock;
    size_t spill_buffer; // bytes a spill holds back
    int64_t n_documents;
    PackSplit train, val;
    PackCounts passkeys; // those of train that are passkey documents
    char *passkey;       // room for the text of one
} PackOutput;

// Prepares the output folder. `estimated_tokens` of all inputs decides the number of shards when shuffling.
bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens, Error *error);

// Takes the next document, which is not empty: a text, or ids as they came. Where passkey documents are
// wanted, as many follow a training document as bring their share of the training tokens to what was asked
// for; validation gets none.
bool pack_output_add(PackOutput *output, const char *text, size_t size, Error *error);

// Behind the last document: each spill, in order, becomes a shard. None when not shuffling.
int64_t pack_output_spills(const PackOutput *output);
bool pack_output_shuffle(PackOutput *output, int64_t spill, Error *error);

// Then: moves the shards into the output folder, all or none.
bool pack_output_finish(PackOutput *output, Error *error);

// Removes everything temporary and releases memory; after pack_output_finish, or instead of it.
void pack_output_close(PackOutput *output);

#ifdef __cplusplus
}
#endif
#endif
