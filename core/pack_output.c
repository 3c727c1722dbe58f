// The shards that `pack` makes: which document goes where, the shuffle, the folder; see pack_output.h.
#include "pack_output.h"

#include "files.h"
#include "pack_passkey.h"
#include "pack_shard.h"
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define MAX_SHARDS     100000              // their names have five digits
#define SPILL_MEMORY   ((size_t)256 << 20) // held back by all spills together
#define SHUFFLE_MEMORY (INT64_C(2) << 30) // of the spills that are shuffled at a time, where one is no larger

// ---- The folders

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

// ---- Open

// How many shards a split gets; negative, with the error set, where that are too many.
static int64_t plan_shards(const PackConfig *config, double tokens, Error *error) {
    double wanted = tokens / (double)config->shard_tokens + 0.5;
    if (wanted > MAX_SHARDS) {
        error_set(error, STATUS_USAGE, "about %.0f tokens make %.0f shards, over %d: use --shard-tokens %.0f",
                  tokens, wanted, MAX_SHARDS, 2 * tokens / MAX_SHARDS);
        return -1;
    }
    return wanted < 1 ? 1 : (int64_t)wanted;
}

static bool open_spills(PackOutput *output, double tokens, Error *error) {
    const PackConfig *config = output->config;
    double val_tokens = tokens * config->val_fraction;
    int64_t n_train = plan_shards(config, (tokens - val_tokens) / (1 - config->passkey_fraction), error);
    int64_t n_val = n_train < 0 ? -1 : plan_shards(config, val_tokens, error);
    if (n_val < 0) return false;
    size_t room = SPILL_MEMORY / (size_t)(n_train + n_val);
    if (room > SHARD_BLOCK) room = SHARD_BLOCK;
    pack_spills_open(&output->train.spills, config, output->work, output->train.name, n_train, room);
    pack_spills_open(&output->val.spills, config, output->work, output->val.name, n_val, room);
    return true;
}

bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens, Error *error) {
    memset(output, 0, sizeof *output);
    output->config = config;
    output->train.name = "train";
    output->val.name = "val";
    output->work_lock = -1;
    output->work = path_join(config->out, SHARD_WORK_FOLDER);
    pthread_mutex_init(&output->lock, NULL);
    if (config->passkey_fraction > 0) output->passkey = (char *)alloc_or_exit((size_t)config->passkey_max, 1);
    bool ok = folders_make(config->out, error) && refuse_old_shards(config->out, error) &&
              (!config->shuffle || open_spills(output, (double)estimated_tokens, error)) &&
              open_work_folder(output, error);
    if (!ok) pack_output_close(output);
    return ok;
}

// ---- Documents in order

static bool open_shard(PackOutput *output, PackSplit *split, Error *error) {
    if (split->counts.shards == MAX_SHARDS) {
        return error_set(error, STATUS_USAGE, "more than %d shards: use a larger --shard-tokens", MAX_SHARDS);
    }
    return pack_shard_open(&split->writer, output->config, output->work, split->name, split->counts.shards,
                           error);
}

static bool close_shard(PackSplit *split, Error *error) {
    split->counts.shards++;
    return shard_writer_close(&split->writer, error);
}

static bool add_in_order(PackOutput *output, PackSplit *split, const char *text, size_t size, Error *error) {
    if (!split->writer.path && !open_shard(output, split, error)) return false;
    if (!pack_shard_add(&split->writer, output->config, text, size, error)) return false;
    return split->writer.header.n_tokens < output->config->shard_tokens || close_shard(split, error);
}

// ---- Documents

static bool is_validation(const PackConfig *config, const PackDocument *document) {
    uint64_t hash = pack_document_hash(document, PACK_IS_VALIDATION, config->seed);
    return (double)(hash >> 11) * 0x1p-53 < config->val_fraction;
}

static bool add_document(PackOutput *output, PackSplit *split, const PackDocument *document, const char *text,
                         Error *error) {
    return output->config->shuffle ? pack_spills_add(&split->spills, document, text, error)
                                   : add_in_order(output, split, text, document->size, error);
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

// Moves counts to a total.
static void settle(PackCounts *total, PackCounts *counts) {
    total->documents += counts->documents;
    total->tokens += counts->tokens;
    total->bytes += counts->bytes;
    memset(counts, 0, sizeof *counts);
}

// How many there are in the end depends on nothing but the sum of the other training tokens: the condition
// only ever turns true with more of these. The lock is held.
static bool add_passkeys(PackOutput *output, Error *error) {
    const PackConfig *config = output->config;
    PackCounts *passkeys = &output->passkeys;
    while ((double)passkeys->tokens < config->passkey_fraction * (double)output->train.counts.tokens) {
        int64_t number = passkeys->documents;
        PackDocument document = {PACK_PASSKEYS, number, pack_passkey(config, number, output->passkey)};
        count_document(config, passkeys, document.size);
        count_document(config, &output->train.counts, document.size);
        if (!add_document(output, &output->train, &document, output->passkey, error)) return false;
    }
    return true;
}

bool pack_output_add(PackOutput *output, const PackDocument *documents, int64_t count, const char *text,
                     Error *error) {
    const PackConfig *config = output->config;
    PackCounts train, val;
    memset(&train, 0, sizeof train);
    memset(&val, 0, sizeof val);
    for (int64_t i = 0; i < count; i++) {
        const PackDocument *document = &documents[i];
        bool validation = is_validation(config, document);
        count_document(config, validation ? &val : &train, document->size);
        if (!add_document(output, validation ? &output->val : &output->train, document, text, error)) {
            return false;
        }
        text += document->size;
        if (config->shuffle && i < count - 1) continue; // threads meet at the lock once in a while only
        pthread_mutex_lock(&output->lock);
        settle(&output->train.counts, &train);
        settle(&output->val.counts, &val);
        bool ok = add_passkeys(output, error);
        pthread_mutex_unlock(&output->lock);
        if (!ok) return false;
    }
    return true;
}

int64_t pack_output_documents(PackOutput *output) {
    pthread_mutex_lock(&output->lock);
    int64_t count =
        output->train.counts.documents - output->passkeys.documents + output->val.counts.documents;
    pthread_mutex_unlock(&output->lock);
    return count;
}

// ---- Shuffle

typedef struct {
    PackOutput *output;
    PackProgress *progress;
    int64_t begun, done; // spills, of train and then of val
} Shuffle;

static bool shuffle_spills(Workers *workers, void *job, Error *error) {
    Shuffle *shuffle = (Shuffle *)job;
    PackSpills *train = &shuffle->output->train.spills, *val = &shuffle->output->val.spills;
    int64_t count = train->count + val->count;
    bool ok = true;
    pthread_mutex_lock(&workers->lock);
    while (ok && !workers->stopped && shuffle->begun < count) {
        int64_t spill = shuffle->begun++;
        pthread_mutex_unlock(&workers->lock);
        ok = spill < train->count ? pack_spills_shuffle(train, spill, error)
                                  : pack_spills_shuffle(val, spill - train->count, error);
        pthread_mutex_lock(&workers->lock);
        pack_progress_shuffle(shuffle->progress, ++shuffle->done, count);
    }
    pthread_mutex_unlock(&workers->lock);
    return ok;
}

bool pack_output_shuffle(PackOutput *output, PackProgress *progress, Error *error) {
    if (!output->config->shuffle) return true;
    int64_t train_largest, val_largest;
    output->train.counts.shards = pack_spills_number(&output->train.spills, &train_largest);
    output->val.counts.shards = pack_spills_number(&output->val.spills, &val_largest);
    int64_t largest = train_largest > val_largest ? train_largest : val_largest;
    int64_t workers = SHUFFLE_MEMORY / largest; // there is a document
    int64_t shards = output->train.counts.shards + output->val.counts.shards;
    if (workers > shards) workers = shards;
    if (workers > output->config->threads) workers = output->config->threads;
    if (workers < 1) workers = 1;
    Shuffle shuffle = {output, progress, 0, 0};
    return workers_run((int)workers, shuffle_spills, &shuffle, error);
}

// ---- Finish and close

// Moves a split's finished shards into the output folder.
static bool move_out(const PackOutput *output, const PackSplit *split, Error *error) {
    bool ok = true;
    for (int64_t i = 0; ok && i < split->counts.shards; i++) {
        char *from = pack_shard_path(output->work, split->name, i),
             *to = pack_shard_path(output->config->out, split->name, i);
        if (rename(from, to) != 0)
            ok = error_set_errno(error, STATUS_DATA, "cannot rename %s to %s", from, to);
        free(from);
        free(to);
    }
    return ok;
}

static void remove_moved(const PackOutput *output, const PackSplit *split) {
    for (int64_t i = 0; i < split->counts.shards; i++) {
        char *path = pack_shard_path(output->config->out, split->name, i);
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
    pack_spills_close(&split->spills);
}

void pack_output_close(PackOutput *output) {
    close_split(&output->train);
    close_split(&output->val);
    if (output->work_lock >= 0) {
        Error error;
        if (!tree_remove(output->work, &error)) warn("%s", error.message);
        close(output->work_lock);
    }
    pthread_mutex_destroy(&output->lock);
    free(output->passkey);
    free(output->work);
    memset(output, 0, sizeof *output);
    output->work_lock = -1;
}
