// The shards that `pack` makes: which document goes where, the shuffle, and the folder that gets all shards
// or none.
//
// A hash of seed and place in the inputs decides about each document: validation or not, and the place in the
// order of its split (pack_document.h). When shuffling, documents first go to spills, from which the shards
// are then made (pack_spills.h). All this happens in a hidden folder inside the output folder
// (pack_folder.h); finished shards move out of it at the very end.
//
// Until both training and validation have got a document, all wait together. Where one of them never gets
// any, validation is cut from the end of the longest document instead (pack_cut.h).
#ifndef CORE_PACK_PACK_OUTPUT_H
#define CORE_PACK_PACK_OUTPUT_H

#include "core/base/error.h"
#include "core/pack/pack_config.h"
#include "core/pack/pack_folder.h"
#include "core/pack/pack_progress.h"
#include "core/pack/pack_spills.h"
#include "core/data/shard.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;   // "train" or "val"
    PackCounts counts;  // shards: those finished
    int64_t published;  // of these, moved into the output folder
    PackSpills spills;  // shuffled
    ShardWriter writer; // in order: the shard being filled, when writer.path is set
} PackSplit;

// The document whose end is validation; cut is 0 where none was cut.
typedef struct {
    PackDocument document;
    size_t cut;       // bytes that stay for training
    int64_t newlines; // among them, in text
} PackTail;

typedef struct {
    const PackConfig *config;
    PackFolder folder;
    PackSplit train, val;
    pthread_mutex_t lock; // over both splits' counts and what follows
    PackCounts passkeys;  // those of train that are passkey documents
    char *passkey;        // room for the text of one
    bool decided;         // both splits have a document, or none is wanted for validation
    bool drawn[2];        // which of them, training and validation, has one
    PackSpills waiting;   // one spill: documents in their order, until that is so
    PackCounts waits;
    PackTail tail; // of the longest that waits, the first of these
} PackOutput;

// Prepares the output folder. The inputs' tokens, about, and their bytes on disk say how many spills are
// made, and how much room the disk must have; the shards do not depend on it.
bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens,
                      int64_t input_bytes, Error *error);

// Takes documents, texts or ids as they came, that lie one behind the other. When shuffling any thread may,
// at any time; else one at a time does, in the order of the inputs. Where passkey documents are wanted, as
// many follow as bring their share of the training tokens to what was asked for; validation gets none.
bool pack_output_add(PackOutput *output, const PackDocument *documents, int64_t count, const char *text,
                     Error *error);

// Documents so far, without passkeys. Any thread may ask.
int64_t pack_output_documents(PackOutput *output);

// Behind the last document: gives validation the end of the longest where it has none, or training has none.
bool pack_output_decide(PackOutput *output, Error *error);

// Then: makes the spills into shards when shuffling.
bool pack_output_shuffle(PackOutput *output, PackProgress *progress, Error *error);

// Then: moves the shards into the output folder, all or none.
bool pack_output_finish(PackOutput *output, Error *error);

// Removes everything temporary and releases memory; after pack_output_finish, or instead of it.
void pack_output_close(PackOutput *output);

#ifdef __cplusplus
}
#endif
#endif
