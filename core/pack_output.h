// The shards that `pack` makes: which document goes where, the shuffle, and the folder that gets all shards
// or none.
//
// A hash of seed and place in the inputs decides about each document: validation or not, which shard, and the
// place within it (pack_document.h). When shuffling, documents first go to one spill file a shard; each spill
// is then loaded, ordered and written (pack_spills.h). All this happens in a hidden folder inside the output
// folder; finished shards move out of it at the very end.
#ifndef CORE_PACK_OUTPUT_H
#define CORE_PACK_OUTPUT_H

#include "error.h"
#include "pack.h"
#include "pack_progress.h"
#include "pack_spills.h"
#include "shard.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;   // "train" or "val"
    PackCounts counts;  // shards: those finished
    PackSpills spills;  // shuffled
    ShardWriter writer; // in order: the shard being filled, when writer.path is set
} PackSplit;

typedef struct {
    const PackConfig *config;
    char *work; // the hidden folder
    int work_lock;
    PackSplit train, val;
    pthread_mutex_t lock; // over both splits' counts and what follows
    PackCounts passkeys;  // those of train that are passkey documents
    char *passkey;        // room for the text of one
} PackOutput;

// Prepares the output folder. `estimated_tokens` of all inputs decides the number of shards when shuffling.
bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens, Error *error);

// Takes documents, texts or ids as they came, that lie one behind the other. When shuffling any thread may,
// at any time; else one at a time does, in the order of the inputs. Where passkey documents are wanted, as
// many follow as bring their share of the training tokens to what was asked for; validation gets none.
bool pack_output_add(PackOutput *output, const PackDocument *documents, int64_t count, const char *text,
                     Error *error);

// Documents so far, without passkeys. Any thread may ask.
int64_t pack_output_documents(PackOutput *output);

// Behind the last document: makes the spills into shards when shuffling.
bool pack_output_shuffle(PackOutput *output, PackProgress *progress, Error *error);

// Then: moves the shards into the output folder, all or none.
bool pack_output_finish(PackOutput *output, Error *error);

// Removes everything temporary and releases memory; after pack_output_finish, or instead of it.
void pack_output_close(PackOutput *output);

#ifdef __cplusplus
}
#endif
#endif
