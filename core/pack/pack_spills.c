// Spills: where documents wait for the shuffle, and the shards made of them; see pack_spills.h.
#include "core/pack/pack_spills.h"

#include "core/base/files.h"
#include "core/pack/pack_shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    for (int64_t i = 0; i < count; i++) pthread_mutex_init(&spills->spills[i].lock, NULL);
}

void pack_spills_close(PackSpills *spills) {
    for (int64_t i = 0; i < spills->count; i++) {
        pthread_mutex_destroy(&spills->spills[i].lock);
        bytes_free(&spills->spills[i].held);
    }
    free(spills->spills);
    free(spills->made);
}

// ---- Documents into spills

static char *spill_path(const PackSpills *spills, int64_t index) {
    char name[64];
    snprintf(name, sizeof name, "%s_%05lld.spill", spills->split, (long long)index);
    return path_join(spills->folder, name);
}

// Writes what is held and `size` bytes of text behind it. A spill's file is opened for every write: there may
// be more spills than files that may be open.
static bool flush(PackSpills *spills, int64_t index, const char *text, size_t size, Error *error) {
    ByteBuffer *held = &spills->spills[index].held;
    char *path = spill_path(spills, index);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool ok = file >= 0 || error_set_errno(error, STATUS_DATA, "cannot create %s", path);
    ok = ok && file_append(file, path, held->data, held->size, error) &&
         file_append(file, path, text, size, error);
    if (file >= 0 && close(file) != 0 && ok)
        ok = error_set_errno(error, STATUS_DATA, "cannot write %s", path);
    held->size = 0;
    free(path);
    return ok;
}

static bool flush_held(PackSpills *spills, int64_t index, Error *error) {
    return spills->spills[index].held.size == 0 || flush(spills, index, NULL, 0, error);
}

// The spill's lock is held.
static bool add_record(PackSpills *spills, int64_t index, const PackDocument *document, const char *text,
                       Error *error) {
    PackSpill *spill = &spills->spills[index];
    ByteBuffer *held = &spill->held;
    size_t record = RECORD_HEADER + document->size;
    if (held->size + record > spills->room && !flush_held(spills, index, error)) return false;
    if (held->capacity == 0) bytes_reserve(held, spills->room);
    unsigned char header[RECORD_HEADER];
    shard_put(header, 8, (uint64_t)document->input);
    shard_put(header + 8, 8, (uint64_t)document->place);
    shard_put(header + 16, 8, document->size);
    bytes_append(held, header, sizeof header);
    spill->bytes += (int64_t)record;
    spill->tokens += pack_shard_tokens(spills->config, document->size);
    if (record > spills->room) return flush(spills, index, text, document->size, error);
    bytes_append(held, text, document->size);
    return true;
}

static uint64_t key_of(const PackSpills *spills, const PackDocument *document) {
    return pack_document_hash(document, PACK_PLACE_IN_ORDER, spills->config->seed);
}

bool pack_spills_add(PackSpills *spills, const PackDocument *document, const char *text, Error *error) {
    uint64_t high = key_of(spills, document) >> 32;
    int64_t index = (int64_t)(high * (uint64_t)spills->count >> 32); // it rises with the key
    PackSpill *spill = &spills->spills[index];
    pthread_mutex_lock(&spill->lock);
    bool ok = add_record(spills, index, document, text, error);
    pthread_mutex_unlock(&spill->lock);
    return ok;
}

// ---- A spill read back

static PackDocument header_document(const char *at) {
    const unsigned char *header = (const unsigned char *)at;
    PackDocument document = {(int64_t)shard_get(header, 8), (int64_t)shard_get(header + 8, 8),
                             (size_t)shard_get(header + 16, 8)};
    return document;
}

static bool read_exactly(FILE *file, const char *path, char *out, size_t size, Error *error) {
    errno = 0;
    return fread(out, 1, size, file) == size ||
           error_set_errno(error, STATUS_DATA, "cannot read back %s", path);
}

static bool visit_records(FILE *file, const char *path, int64_t bytes, PackSpillVisitor *visit, void *context,
                          Error *error) {
    ByteBuffer text = {NULL, 0, 0};
    bool ok = true;
    while (ok && bytes > 0) {
        char header[RECORD_HEADER];
        ok = read_exactly(file, path, header, sizeof header, error);
        if (!ok) break;
        PackDocument document = header_document(header);
        text.size = 0;
        char *out = bytes_reserve(&text, document.size);
        ok = read_exactly(file, path, out, document.size, error) && visit(context, &document, out, error);
        bytes -= (int64_t)(RECORD_HEADER + document.size);
    }
    bytes_free(&text);
    return ok;
}

bool pack_spills_visit(PackSpills *spills, int64_t index, PackSpillVisitor *visit, void *context,
                       Error *error) {
    PackSpill *spill = &spills->spills[index];
    if (spill->bytes == 0) return true;
    if (!flush_held(spills, index, error)) return false;
    char *path = spill_path(spills, index);
    FILE *file = fopen(path, "rbe");
    bool ok = file ? visit_records(file, path, spill->bytes, visit, context, error)
                   : error_set_errno(error, STATUS_DATA, "cannot open %s", path);
    if (file) fclose(file);
    if (ok) unlink(path);
    free(path);
    return ok;
}

// ---- Which shard a token belongs to

// That of the document whose first token is at `place` among all; it never falls as the place rises.
static int64_t shard_at(const PackSpills *spills, int64_t place) {
    double share = (double)place / (double)spills->tokens;
    int64_t shard = (int64_t)(share * (double)spills->n_shards);
    return shard < spills->n_shards ? shard : spills->n_shards - 1;
}

// The shards that begin at a token of this spill: from *first to the one before *end. Its worker makes them.
static void shards_begun(const PackSpills *spills, int64_t index, int64_t *first, int64_t *end) {
    const PackSpill *spill = &spills->spills[index];
    *first = spill->first > 0 ? shard_at(spills, spill->first - 1) + 1 : 0;
    *end = spill->tokens > 0 ? shard_at(spills, spill->first + spill->tokens - 1) + 1 : *first;
}

// A shard that begins at the first token of a spill began there and not before.
static void count_users(PackSpills *spills, int64_t index) {
    PackSpill *spill = &spills->spills[index];
    int64_t first, end;
    shards_begun(spills, index, &first, &end);
    spill->users = (first < end) + (spill->tokens > 0 && shard_at(spills, spill->first) < first);
}

bool pack_spills_number(PackSpills *spills, int64_t *largest, Error *error) {
    *largest = 0;
    spills->tokens = 0;
    for (int64_t i = 0; i < spills->count; i++) {
        PackSpill *spill = &spills->spills[i];
        spill->first = spills->tokens;
        spills->tokens += spill->tokens;
        if (spill->bytes > *largest) *largest = spill->bytes;
    }
    if (!pack_shards_plan(spills->config, (double)spills->tokens, &spills->n_shards, error)) return false;
    spills->made = (bool *)alloc_or_exit((size_t)spills->n_shards, sizeof *spills->made);
    for (int64_t i = 0; i < spills->count; i++) count_users(spills, i);
    return true;
}

// ---- Spills into shards

typedef struct {
    PackDocument document;
    uint64_t key;
    const char *text;
} SpilledDocument;

static int compare_documents(const void *a, const void *b) {
    const SpilledDocument *x = (const SpilledDocument *)a, *y = (const SpilledDocument *)b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    const PackDocument *p = &x->document, *q = &y->document;
    if (p->input != q->input) return p->input < q->input ? -1 : 1;
    return p->place < q->place ? -1 : p->place > q->place;
}

typedef struct {
    char *data; // the spill's file
    SpilledDocument *documents;
    size_t count;
} LoadedSpill;

static void unload(LoadedSpill *loaded) {
    free(loaded->data);
    free(loaded->documents);
}

static void list_documents(const PackSpills *spills, LoadedSpill *loaded, size_t size) {
    loaded->count = 0;
    for (size_t at = 0; at < size; loaded->count++) {
        at += RECORD_HEADER + header_document(loaded->data + at).size;
    }
    loaded->documents = (SpilledDocument *)alloc_or_exit(loaded->count, sizeof *loaded->documents);
    const char *at = loaded->data;
    for (size_t i = 0; i < loaded->count; i++) {
        SpilledDocument *document = &loaded->documents[i];
        document->document = header_document(at);
        document->key = key_of(spills, &document->document);
        document->text = at + RECORD_HEADER;
        at = document->text + document->document.size;
    }
    qsort(loaded->documents, loaded->count, sizeof *loaded->documents, compare_documents);
}

static bool load(PackSpills *spills, int64_t index, LoadedSpill *loaded, Error *error) {
    PackSpill *spill = &spills->spills[index];
    memset(loaded, 0, sizeof *loaded);
    pthread_mutex_lock(&spill->lock);
    bool ok = flush_held(spills, index, error);
    bytes_free(&spill->held);
    pthread_mutex_unlock(&spill->lock);
    if (!ok) return false;
    char *path = spill_path(spills, index);
    size_t size;
    loaded->data = file_read(path, SIZE_MAX, &size, error);
    free(path);
    if (loaded->data) list_documents(spills, loaded, size);
    return loaded->data != NULL;
}

// One of a spill's users is done with it.
static void release(PackSpills *spills, int64_t index) {
    PackSpill *spill = &spills->spills[index];
    pthread_mutex_lock(&spill->lock);
    bool last = --spill->users == 0;
    pthread_mutex_unlock(&spill->lock);
    if (!last) return;
    char *path = spill_path(spills, index);
    unlink(path);
    free(path);
}

// The shards [first, end) on their way.
typedef struct {
    PackSpills *spills;
    int64_t first, end;
    int64_t shard; // that the writer makes, where writer.path is set
    ShardWriter writer;
} ShardMaker;

static bool turn_to_shard(ShardMaker *maker, int64_t shard, Error *error) {
    PackSpills *spills = maker->spills;
    if (maker->writer.path && maker->shard == shard) return true;
    if (maker->writer.path && !shard_writer_close(&maker->writer, error)) return false;
    maker->shard = shard;
    spills->made[shard] = true;
    return pack_shard_open(&maker->writer, spills->config, spills->folder, spills->split, shard, error);
}

// Adds the documents of a spill that belong to the maker's shards.
static bool add_documents(ShardMaker *maker, const LoadedSpill *loaded, int64_t place, Error *error) {
    const PackSpills *spills = maker->spills;
    for (size_t i = 0; i < loaded->count; i++) {
        const SpilledDocument *document = &loaded->documents[i];
        size_t size = document->document.size;
        int64_t shard = shard_at(spills, place);
        place += pack_shard_tokens(spills->config, size);
        if (shard < maker->first) continue;
        if (shard >= maker->end) break;
        if (!turn_to_shard(maker, shard, error) ||
            !pack_shard_add(&maker->writer, spills->config, document->text, size, error)) {
            return false;
        }
    }
    return true;
}

static bool add_spill(ShardMaker *maker, int64_t index, Error *error) {
    LoadedSpill loaded;
    bool ok = load(maker->spills, index, &loaded, error) &&
              add_documents(maker, &loaded, maker->spills->spills[index].first, error);
    unload(&loaded);
    if (ok) release(maker->spills, index);
    return ok;
}

bool pack_spills_shuffle(PackSpills *spills, int64_t index, Error *error) {
    ShardMaker maker;
    memset(&maker, 0, sizeof maker);
    maker.spills = spills;
    shards_begun(spills, index, &maker.first, &maker.end);
    bool ok = true;
    for (int64_t i = index; ok && maker.first < maker.end && i < spills->count; i++) {
        if (spills->spills[i].tokens == 0) continue;
        if (i > index && shard_at(spills, spills->spills[i].first) >= maker.end) break;
        ok = add_spill(&maker, i, error);
    }
    if (ok && maker.writer.path) return shard_writer_close(&maker.writer, error);
    shard_writer_abort(&maker.writer);
    return ok;
}
