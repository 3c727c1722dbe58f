// Spills: where the documents of a split wait until all are there, one file for each shard to be; and the
// shard that is made of one, its documents in an order drawn from the seed. So memory is bounded by shards.
#ifndef CORE_PACK_SPILLS_H
#define CORE_PACK_SPILLS_H

#include "bytes.h"
#include "pack.h"
#include "pack_document.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    pthread_mutex_t lock; // over the rest
    ByteBuffer held;      // what is not yet in the file
    int64_t bytes;        // of the file, with what is held
} PackSpill;

typedef struct {
    const PackConfig *config;
    const char *folder, *split;
    PackSpill *spills;
    int64_t count;
    size_t room;    // bytes that one may hold back
    int64_t *shard; // the number that each one's shard gets
} PackSpills;

// folder: of spills and shards. Its name and the split's stay the caller's.
void pack_spills_open(PackSpills *spills, const PackConfig *config, const char *folder, const char *split,
                      int64_t count, size_t room);
// Suits spills that are all zero too. Files are left to the folder's owner.
void pack_spills_close(PackSpills *spills);

// Takes a document; any thread may, at any time.
bool pack_spills_add(PackSpills *spills, const PackDocument *document, const char *text, Error *error);

// Behind the last document: numbers the shards without a gap, as an empty spill makes none, and gives how
// many there are and the bytes of the largest spill.
int64_t pack_spills_number(PackSpills *spills, int64_t *largest);

// Then: makes the shard of one spill, and removes its file. Several threads may, each of another one.
bool pack_spills_shuffle(PackSpills *spills, int64_t index, Error *error);

#ifdef __cplusplus
}
#endif
#endif
