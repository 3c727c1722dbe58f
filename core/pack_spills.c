// Spills: where documents wait for the shuffle, and the shards made of them; see pack_spills.h.
#include "pack_spills.h"

#include "files.h"
#include "pack_shard.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORD_HEADER 24 // of a spilled document: input, place and size, 8 bytes each

void pack_spills_open(PackSpills *spills, const PackConfig *config, const char *folder, const char *split,
                      int64_t count, size_t room) {
    spills->config = config;
    spills->folder = folder;
    spills->split = split;
    spills->count = count;
    spills->room = room;
    spills->spills = (PackSpill *)alloc_or_exit((size_t)count, sizeof *spills->spills);
    spills->shard = (int64_t *)alloc_or_exit((size_t)count, sizeof *spills->shard);
    for (int64_t i = 0; i < count; i++) pthread_mutex_init(&spills->spills[i].lock, NULL);
}

void pack_spills_close(PackSpills *spills) {
    for (int64_t i = 0; i < spills->count; i++) {
        pthread_mutex_destroy(&spills->spills[i].lock);
        bytes_free(&spills->spills[i].held);
    }
    free(spills->spills);
    free(spills->shard);
}

// ---- Documents into spills

static char *spill_path(const PackSpills *spills, int64_t index) {
    char name[64];
    snprintf(name, sizeof name, "%s_%05lld.spill", spills->split, (long long)index);
    return path_join(spills->folder, name);
}

// A spill's file is opened for every write: there may be more spills than files that may be open.
static bool flush(PackSpills *spills, int64_t index, Error *error) {
    ByteBuffer *held = &spills->spills[index].held;
    char *path = spill_path(spills, index);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool ok = file >= 0 || error_set_errno(error, STATUS_DATA, "cannot create %s", path);
    ok = ok && file_append(file, path, held->data, held->size, error);
    if (file >= 0 && close(file) != 0 && ok)
        ok = error_set_errno(error, STATUS_DATA, "cannot write %s", path);
    held->size = 0;
    free(path);
    return ok;
}

// The spill's lock is held.
static bool add_record(PackSpills *spills, int64_t index, const PackDocument *document, const char *text,
                       Error *error) {
    PackSpill *spill = &spills->spills[index];
    ByteBuffer *held = &spill->held;
    size_t record = RECORD_HEADER + document->size;
    if (held->size > 0 && held->size + record > spills->room && !flush(spills, index, error)) return false;
    if (held->capacity == 0) bytes_reserve(held, spills->room);
    unsigned char header[RECORD_HEADER];
    shard_put(header, 8, (uint64_t)document->input);
    shard_put(header + 8, 8, (uint64_t)document->place);
    shard_put(header + 16, 8, document->size);
    bytes_append(held, header, sizeof header);
    bytes_append(held, text, document->size);
    spill->bytes += (int64_t)record;
    if (held->size <= spills->room) return true;
    bool ok = flush(spills, index, error); // a document that has more than the room by itself
    bytes_free(held);
    return ok;
}

bool pack_spills_add(PackSpills *spills, const PackDocument *document, const char *text, Error *error) {
    uint64_t hash = pack_document_hash(document, PACK_WHICH_SHARD, spills->config->seed);
    int64_t index = (int64_t)(hash % (uint64_t)spills->count);
    PackSpill *spill = &spills->spills[index];
    pthread_mutex_lock(&spill->lock);
    bool ok = add_record(spills, index, document, text, error);
    pthread_mutex_unlock(&spill->lock);
    return ok;
}

// ---- Spills into shards

int64_t pack_spills_number(PackSpills *spills, int64_t *largest) {
    int64_t count = 0;
    *largest = 0;
    for (int64_t i = 0; i < spills->count; i++) {
        int64_t bytes = spills->spills[i].bytes;
        spills->shard[i] = count;
        count += bytes > 0;
        if (bytes > *largest) *largest = bytes;
    }
    return count;
}

typedef struct {
    PackDocument document;
    uint64_t order;
    const char *text;
} SpilledDocument;

static int compare_documents(const void *a, const void *b) {
    const SpilledDocument *x = (const SpilledDocument *)a, *y = (const SpilledDocument *)b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    const PackDocument *p = &x->document, *q = &y->document;
    if (p->input != q->input) return p->input < q->input ? -1 : 1;
    return p->place < q->place ? -1 : p->place > q->place;
}

// The documents of a loaded spill; *count receives their number.
static SpilledDocument *list_documents(const char *data, size_t size, uint64_t seed, size_t *count) {
    size_t n = 0;
    for (size_t at = 0; at < size; n++) {
        at += RECORD_HEADER + (size_t)shard_get((const unsigned char *)data + at + 16, 8);
    }
    SpilledDocument *documents = (SpilledDocument *)alloc_or_exit(n, sizeof *documents);
    const char *at = data;
    for (size_t i = 0; i < n; i++) {
        const unsigned char *header = (const unsigned char *)at;
        PackDocument document = {(int64_t)shard_get(header, 8), (int64_t)shard_get(header + 8, 8),
                                 (size_t)shard_get(header + 16, 8)};
        documents[i].document = document;
        documents[i].order = pack_document_hash(&document, PACK_PLACE_IN_SHARD, seed);
        documents[i].text = at + RECORD_HEADER;
        at = documents[i].text + document.size;
    }
    *count = n;
    return documents;
}

static bool write_shard(const PackSpills *spills, int64_t number, const char *data, size_t size,
                        Error *error) {
    ShardWriter writer;
    if (!pack_shard_open(&writer, spills->config, spills->folder, spills->split, number, error)) return false;
    size_t count;
    SpilledDocument *documents = list_documents(data, size, spills->config->seed, &count);
    qsort(documents, count, sizeof *documents, compare_documents);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = pack_shard_add(&writer, spills->config, documents[i].text, documents[i].document.size, error);
    }
    free(documents);
    if (ok) return shard_writer_close(&writer, error);
    shard_writer_abort(&writer);
    return false;
}

bool pack_spills_shuffle(PackSpills *spills, int64_t index, Error *error) {
    if (spills->spills[index].bytes == 0) return true;
    if (!flush(spills, index, error)) return false;
    bytes_free(&spills->spills[index].held);
    char *path = spill_path(spills, index);
    size_t size;
    char *data = file_read(path, SIZE_MAX, &size, error);
    bool ok = data != NULL;
    if (ok) unlink(path);
    ok = ok && write_shard(spills, spills->shard[index], data, size, error);
    free(data);
    free(path);
    return ok;
}
