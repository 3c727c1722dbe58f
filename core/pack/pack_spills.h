// Spills: where the documents of a split wait until all are there, and the shards that are made of them.
//
// A document's key, a hash of the seed and its place in the inputs, says where it goes in the split's order.
// Each spill is a file with the documents of one range of keys: sorted one by one, the spills are the whole
// split in order. It is cut into shards where it reaches the next multiple of their size. So neither the
// order nor the shards depend on how many spills there are, memory is bounded by them, and a shard is as
// large as was asked, but for a part of a document.
#ifndef CORE_PACK_PACK_SPILLS_H
#define CORE_PACK_PACK_SPILLS_H

#include "core/base/bytes.h"
#include "core/pack/pack_config.h"
#include "core/pack/pack_document.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    pthread_mutex_t lock; // over the rest
    ByteBuffer held;      // what is not yet in the file
    int64_t bytes;        // of the file, with what is held
    int64_t tokens;       // of its documents
    int64_t first;        // place of its first token among those of all spills
    int users;            // who still has to read it
} PackSpill;

typedef struct {
    const PackConfig *config;
    const char *folder, *split;
    PackSpill *spills;
    int64_t count;
    size_t room;      // bytes that one may hold back
    int64_t tokens;   // of all, when numbered
    int64_t n_shards; // that are to be; one that a long document leaves nothing for is not made
    bool *made;       // by shard
} PackSpills;

// folder: of spills and shards. Its name and the split's stay the caller's.
void pack_spills_open(PackSpills *spills, const PackConfig *config, const char *folder, const char *split,
                      int64_t count, size_t room);
// Suits spills that are all zero too. Files are left to the folder's owner.
void pack_spills_close(PackSpills *spills);

// Takes a document; any thread may, at any time.
bool pack_spills_add(PackSpills *spills, const PackDocument *document, const char *text, Error *error);

// The documents of a spill in the order in which they came, one after the other.
typedef bool PackSpillVisitor(void *context, const PackDocument *document, const char *text, Error *error);
bool pack_spills_visit(PackSpills *spills, int64_t index, PackSpillVisitor *visit, void *context,
                       Error *error);

// Behind the last document: says how many shards there will be, and gives the bytes of the largest spill.
// Status 2 where they are more than have names.
bool pack_spills_number(PackSpills *spills, int64_t *largest, Error *error);

// Then: makes the shards that begin in one spill, and removes the files of spills that nobody needs any more.
// Several threads may, each from another one.
bool pack_spills_shuffle(PackSpills *spills, int64_t index, Error *error);

#ifdef __cplusplus
}
#endif
#endif
