// The shards that `pack` makes: which document goes where, the shuffle, the folder; see pack_output.h.
#include "pack_output.h"

#include "files.h"
#include "pack_ids.h"
#include "pack_passkey.h"
#include "tokenizer.h"

#include <errno.h>
#include <fnmatch.h>
#include <sys/file.h>

#define TEXT_TOKEN_BYTES 2
#define WORK_FOLDER      ".packing"
#define MAX_SHARDS       100000              // their names have five digits
#define SPILL_MEMORY     ((size_t)256 << 20) // held back by all spills together
#define RECORD_HEADER    16                  // of a spilled document: order and size, 8 bytes each

// ---- Names and the working folder

static char *shard_path(const char *folder, const char *split, int64_t index) {
    char name[64];
    snprintf(name, sizeof name, "%s_%05lld.bin", split, (long long)index);
    return path_join(folder, name);
}

static char *spill_path(const PackOutput *output, const PackSplit *split, int64_t index) {
    char name[64];
    snprintf(name, sizeof name, "%s_%05lld.spill", split->name, (long long)index);
    return path_join(output->work, name);
}

static bool refuse_old_shards(const char *out, Error *error) {
    PathList names;
    if (!folder_list(out, &names, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < names.count; i++) {
        const char *name = names.paths[i];
        if (fnmatch("train_*.bin", name, 0) != 0 && fnmatch("val_*.bin", name, 0) != 0) continue;
        ok = error_set(error, STATUS_USAGE,
                       "%s already holds shards (%s): choose another --out or delete them", out, name);
    }
    paths_free(&names);
    return ok;
}

static bool empty_folder(const char *folder, Error *error) {
    PathList names;
    bool ok = folder_list(folder, &names, error);
    for (int64_t i = 0; ok && i < names.count; i++) {
        char *path = path_join(folder, names.paths[i]);
        ok = tree_remove(path, error);
        free(path);
    }
    paths_free(&names);
    return ok;
}

// The working folder is locked, so that what a killed run left can be told from one that is running.
static bool open_work_folder(PackOutput *output, Error *error) {
    if (!folders_make(output->work, error)) return false;
    output->work_lock = open(output->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (output->work_lock < 0)
        return error_set_errno(error, STATUS_DATA, "cannot open the folder %s", output->work);
    if (flock(output->work_lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(output->work_lock);
        output->work_lock = -1; // it is not ours to remove
        return error_set(error, STATUS_USAGE,
                         "another `pack` is writing to %s: wait for it or choose another --out",
                         output->config->out);
    }
    return empty_folder(output->work, error);
}

// ---- Decisions by hash

typedef enum { HASH_VALIDATION, HASH_SHARD, HASH_ORDER } HashPurpose;

static uint64_t document_hash(const PackOutput *output, int64_t document, HashPurpose purpose) {
    unsigned char key[16];
    shard_put(key, 8, (uint64_t)document);
    shard_put(key + 8, 8, (uint64_t)purpose);
    return XXH3_64bits_withSeed(key, sizeof key, output->config->seed);
}

static bool is_validation(const PackOutput *output, int64_t document) {
    uint64_t hash = document_hash(output, document, HASH_VALIDATION);
    return (double)(hash >> 11) * 0x1p-53 < output->config->val_fraction;
}

// ---- Open

static bool plan_spills(PackOutput *output, PackSplit *split, double tokens, Error *error) {
    double wanted = tokens / (double)output->config->shard_tokens + 0.5;
    if (wanted > MAX_SHARDS) {
        return error_set(error, STATUS_USAGE,
                         "about %.0f tokens make %.0f shards, over %d: use --shard-tokens %.0f", tokens,
                         wanted, MAX_SHARDS, 2 * tokens / MAX_SHARDS);
    }
    split->n_spills = wanted < 1 ? 1 : (int64_t)wanted;
    split->spills = (ByteBuffer *)alloc_or_exit((size_t)split->n_spills, sizeof *split->spills);
    return true;
}

bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens, Error *error) {
    memset(output, 0, sizeof *output);
    output->config = config;
    output->train.name = "train";
    output->val.name = "val";
    output->work_lock = -1;
    output->work = path_join(config->out, WORK_FOLDER);
    double val_tokens = (double)estimated_tokens * config->val_fraction;
    if (config->passkey_fraction > 0) output->passkey = (char *)alloc_or_exit((size_t)config->passkey_max, 1);
    bool ok = folders_make(config->out, error) && refuse_old_shards(config->out, error);
    if (ok && config->shuffle) {
        double train_tokens = ((double)estimated_tokens - val_tokens) / (1 - config->passkey_fraction);
        ok = plan_spills(output, &output->train, train_tokens, error) &&
             plan_spills(output, &output->val, val_tokens, error);
    }
    ok = ok && open_work_folder(output, error);
    if (ok && config->shuffle) {
        output->spill_buffer = SPILL_MEMORY / (size_t)(output->train.n_spills + output->val.n_spills);
        if (output->spill_buffer > SHARD_BLOCK) output->spill_buffer = SHARD_BLOCK;
    }
    if (!ok) pack_output_close(output);
    return ok;
}

// ---- Documents into shards and spills

// BOS, the bytes of a text, EOS.
static bool append_text(ShardWriter *writer, const char *text, size_t size, Error *error) {
    const int32_t bos = TOKEN_BOS, eos = TOKEN_EOS;
    int32_t tokens[4096];
    if (!shard_writer_append(writer, &bos, 1, error)) return false;
    for (size_t start = 0; start < size; start += 4096) {
        size_t count = size - start < 4096 ? size - start : 4096;
        for (size_t i = 0; i < count; i++) tokens[i] = (unsigned char)text[start + i];
        if (!shard_writer_append(writer, tokens, (int64_t)count, error)) return false;
    }
    return shard_writer_append(writer, &eos, 1, error);
}

static bool append_ids(ShardWriter *writer, const char *ids, size_t size, int width, Error *error) {
    for (size_t at = 0; at < size; at += (size_t)width) {
        int32_t id = (int32_t)text_id(ids + at, width);
        if (!shard_writer_append(writer, &id, 1, error)) return false;
    }
    return true;
}

static bool append_document(const PackOutput *output, ShardWriter *writer, const char *text, size_t size,
                            Error *error) {
    int width = output->config->id_bytes;
    writer->header.n_documents++;
    return width > 0 ? append_ids(writer, text, size, width, error) : append_text(writer, text, size, error);
}

static bool open_shard(PackOutput *output, PackSplit *split, Error *error) {
    if (split->counts.shards == MAX_SHARDS) {
        return error_set(error, STATUS_USAGE, "more than %d shards: use a larger --shard-tokens", MAX_SHARDS);
    }
    char *path = shard_path(output->work, split->name, split->counts.shards);
    bool ids = output->config->id_bytes > 0;
    bool ok = shard_writer_open(&split->writer, path,
                                ids ? pack_ids_shard_bytes(output->config) : TEXT_TOKEN_BYTES, error);
    split->writer.header.content = ids ? SHARD_IDS : SHARD_BYTES;
    free(path);
    return ok;
}

static bool close_shard(PackSplit *split, Error *error) {
    split->counts.shards++;
    return shard_writer_close(&split->writer, error);
}

static bool add_in_order(PackOutput *output, PackSplit *split, const char *text, size_t size, Error *error) {
    if (!split->writer.path && !open_shard(output, split, error)) return false;
    if (!append_document(output, &split->writer, text, size, error)) return false;
    return split->writer.header.n_tokens < output->config->shard_tokens || close_shard(split, error);
}

// A spill's file is opened for every write: there may be more spills than files that may be open.
static bool flush_spill(PackOutput *output, PackSplit *split, int64_t index, Error *error) {
    ByteBuffer *buffer = &split->spills[index];
    char *path = spill_path(output, split, index);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool ok = file >= 0 || error_set_errno(error, STATUS_DATA, "cannot create %s", path);
    ok = ok && file_append(file, path, buffer->data, buffer->size, error);
    if (file >= 0 && close(file) != 0 && ok)
        ok = error_set_errno(error, STATUS_DATA, "cannot write %s", path);
    bytes_free(buffer);
    free(path);
    return ok;
}

static bool add_to_spill(PackOutput *output, PackSplit *split, int64_t document, const char *text,
                         size_t size, Error *error) {
    uint64_t hash = document_hash(output, document, HASH_SHARD);
    int64_t index = (int64_t)(hash % (uint64_t)split->n_spills);
    unsigned char header[RECORD_HEADER];
    shard_put(header, 8, document_hash(output, document, HASH_ORDER));
    shard_put(header + 8, 8, size);
    bytes_append(&split->spills[index], header, sizeof header);
    bytes_append(&split->spills[index], text, size);
    return split->spills[index].size < output->spill_buffer || flush_spill(output, split, index, error);
}

static void count_document(const PackConfig *config, PackCounts *counts, size_t size) {
    counts->documents++;
    if (config->id_bytes > 0) {
        counts->tokens += (int64_t)size / config->id_bytes;
    } else {
        counts->bytes += (int64_t)size;
        counts->tokens += (int64_t)size + 2;
    }
}

// `document` is its number.
static bool add_document(PackOutput *output, PackSplit *split, int64_t document, const char *text,
                         size_t size, Error *error) {
    count_document(output->config, &split->counts, size);
    return output->config->shuffle ? add_to_spill(output, split, document, text, size, error)
                                   : add_in_order(output, split, text, size, error);
}

// Their numbers are negative, so that they change no decision on other documents.
static bool add_passkeys(PackOutput *output, Error *error) {
    const PackConfig *config = output->config;
    double share = config->passkey_fraction;
    while ((double)output->passkeys.tokens < share * (double)output->train.counts.tokens) {
        int64_t number = output->passkeys.documents;
        size_t size = pack_passkey(config, number, output->passkey);
        count_document(config, &output->passkeys, size);
        if (!add_document(output, &output->train, -1 - number, output->passkey, size, error)) return false;
    }
    return true;
}

bool pack_output_add(PackOutput *output, const char *text, size_t size, Error *error) {
    int64_t document = output->n_documents++;
    PackSplit *split = is_validation(output, document) ? &output->val : &output->train;
    return add_document(output, split, document, text, size, error) && add_passkeys(output, error);
}

// ---- Shuffle

typedef struct {
    uint64_t order;
    const char *text;
    size_t size;
} SpilledDocument;

static int compare_documents(const void *a, const void *b) {
    const SpilledDocument *x = (const SpilledDocument *)a, *y = (const SpilledDocument *)b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->text < y->text ? -1 : x->text > y->text; // both in one spill: the earlier document first
}

// The documents of a loaded spill; *count receives their number.
static SpilledDocument *index_spill(const char *data, size_t size, size_t *count) {
    size_t n = 0;
    for (size_t at = 0; at < size; n++) {
        at += RECORD_HEADER + (size_t)shard_get((const unsigned char *)data + at + 8, 8);
    }
    SpilledDocument *documents = (SpilledDocument *)alloc_or_exit(n, sizeof *documents);
    const char *at = data;
    for (size_t i = 0; i < n; i++) {
        documents[i].order = shard_get((const unsigned char *)at, 8);
        documents[i].size = (size_t)shard_get((const unsigned char *)at + 8, 8);
        documents[i].text = at + RECORD_HEADER;
        at = documents[i].text + documents[i].size;
    }
    *count = n;
    return documents;
}

static bool write_shuffled(PackOutput *output, PackSplit *split, const char *data, size_t size,
                           Error *error) {
    size_t count;
    SpilledDocument *documents = index_spill(data, size, &count);
    qsort(documents, count, sizeof *documents, compare_documents);
    bool ok = open_shard(output, split, error);
    for (size_t i = 0; ok && i < count; i++) {
        ok = append_document(output, &split->writer, documents[i].text, documents[i].size, error);
    }
    free(documents);
    return ok && close_shard(split, error);
}

// Makes a shard of a spill; an empty spill makes none.
static bool finish_spill(PackOutput *output, PackSplit *split, int64_t index, Error *error) {
    if (!flush_spill(output, split, index, error)) return false;
    char *path = spill_path(output, split, index);
    size_t size;
    char *data = file_read(path, SIZE_MAX, &size, error);
    bool ok = data != NULL;
    if (ok) unlink(path);
    if (ok && size > 0) ok = write_shuffled(output, split, data, size, error);
    free(data);
    free(path);
    return ok;
}

// ---- Finish and close

int64_t pack_output_spills(const PackOutput *output) {
    return output->train.n_spills + output->val.n_spills;
}

bool pack_output_shuffle(PackOutput *output, int64_t spill, Error *error) {
    int64_t n_train = output->train.n_spills;
    return spill < n_train ? finish_spill(output, &output->train, spill, error)
                           : finish_spill(output, &output->val, spill - n_train, error);
}

// Moves a split's finished shards into the output folder.
static bool move_out(const PackOutput *output, const PackSplit *split, Error *error) {
    bool ok = true;
    for (int64_t i = 0; ok && i < split->counts.shards; i++) {
        char *from = shard_path(output->work, split->name, i),
             *to = shard_path(output->config->out, split->name, i);
        if (rename(from, to) != 0)
            ok = error_set_errno(error, STATUS_DATA, "cannot rename %s to %s", from, to);
        free(from);
        free(to);
    }
    return ok;
}

static void remove_moved(const PackOutput *output, const PackSplit *split) {
    for (int64_t i = 0; i < split->counts.shards; i++) {
        char *path = shard_path(output->config->out, split->name, i);
        unlink(path);
        free(path);
    }
}

bool pack_output_finish(PackOutput *output, Error *error) {
    if (output->train.writer.path && !close_shard(&output->train, error)) return false;
    if (output->val.writer.path && !close_shard(&output->val, error)) return false;
    bool ok = move_out(output, &output->train, error) && move_out(output, &output->val, error) &&
              folder_sync(output->config->out, error);
    if (!ok) {
        remove_moved(output, &output->train);
        remove_moved(output, &output->val);
    }
    return ok;
}

static void close_split(PackSplit *split) {
    shard_writer_abort(&split->writer);
    for (int64_t i = 0; i < split->n_spills; i++) bytes_free(&split->spills[i]);
    free(split->spills);
}

void pack_output_close(PackOutput *output) {
    close_split(&output->train);
    close_split(&output->val);
    if (output->work_lock >= 0) {
        Error error;
        if (!tree_remove(output->work, &error)) warn("%s", error.message);
        close(output->work_lock);
    }
    free(output->passkey);
    free(output->work);
    memset(output, 0, sizeof *output);
    output->work_lock = -1;
}
