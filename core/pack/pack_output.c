// The shards that `pack` makes: which document goes where, the shuffle, the folder; see pack_output.h.
#include "core/pack/pack_output.h"

#include "core/base/files.h"
#include "core/pack/pack_cut.h"
#include "core/pack/pack_passkey.h"
#include "core/pack/pack_shard.h"
#include "core/base/workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPILL_MEMORY   ((size_t)256 << 20) // held back by all spills together
#define SHUFFLE_MEMORY (INT64_C(2) << 30)  // of the spills that are shuffled at a time
#define MAX_SPILLS     16384
#define SPILLS_A_SHARD 4
#define LEAST_TAIL     ((size_t)8192) // bytes that validation gets of a document, if that is a tenth of it
#define LEAST_SPILL    ((double)(1 << 20)) // bytes of one, about
#define MOST_SPILL     ((double)(64 << 20))

// ---- Open

// About so many bytes lie in the spills of a split.
static int64_t plan_spills(const PackConfig *config, double bytes) {
    int width = config->id_bytes > 0 ? config->id_bytes : 1;
    double one = (double)config->shard_tokens * width / SPILLS_A_SHARD;
    one = one < LEAST_SPILL ? LEAST_SPILL : one > MOST_SPILL ? MOST_SPILL : one;
    double count = bytes / one + 1;
    return count < MAX_SPILLS ? (int64_t)count : MAX_SPILLS;
}

static bool open_spills(PackOutput *output, double tokens, double bytes, Error *error) {
    const PackConfig *config = output->config;
    const char *work = output->folder.work;
    int64_t n_shards;
    double all = 1 / (1 - config->passkey_fraction), val = config->val_fraction;
    if (!pack_shards_plan(config, tokens * (1 - val) * all, &n_shards, error)) return false;
    int64_t n_train = plan_spills(config, bytes * (1 - val) * all), n_val = plan_spills(config, bytes * val);
    size_t room = SPILL_MEMORY / (size_t)(n_train + n_val);
    if (room > SHARD_BLOCK) room = SHARD_BLOCK;
    pack_spills_open(&output->train.spills, config, work, output->train.name, n_train, room);
    pack_spills_open(&output->val.spills, config, work, output->val.name, n_val, room);
    return true;
}

// The bytes that all shards will have, about. An estimate from the first bytes of compressed files may be far
// off: no text is more than some ten times what it is compressed.
static double shard_bytes(const PackConfig *config, double tokens, double input_bytes) {
    double most = 10 * input_bytes;
    return (tokens < most ? tokens : most) / (1 - config->passkey_fraction) * pack_shard_width(config);
}

bool pack_output_open(PackOutput *output, const PackConfig *config, int64_t estimated_tokens,
                      int64_t input_bytes, Error *error) {
    memset(output, 0, sizeof *output);
    output->config = config;
    output->train.name = "train";
    output->val.name = "val";
    output->decided = config->val_fraction == 0;
    pthread_mutex_init(&output->lock, NULL);
    if (config->passkey_fraction > 0) output->passkey = (char *)alloc_or_exit((size_t)config->passkey_max, 1);
    double tokens = (double)estimated_tokens, bytes = tokens * (config->id_bytes > 0 ? config->id_bytes : 1);
    if (bytes < (double)input_bytes) bytes = (double)input_bytes;
    bool ok =
        pack_folder_open(&output->folder, config->out, error) &&
        pack_folder_check_room(&output->folder, shard_bytes(config, tokens, (double)input_bytes), error) &&
        (!config->shuffle || open_spills(output, tokens, bytes, error));
    pack_spills_open(&output->waiting, config, output->folder.work, "waiting", 1, SHARD_BLOCK);
    if (!ok) pack_output_close(output);
    return ok;
}

// ---- Documents in order

static bool open_shard(PackOutput *output, PackSplit *split, Error *error) {
    if (split->counts.shards == PACK_MAX_SHARDS) {
        return error_set(error, STATUS_USAGE, "more than %d shards: use a larger --shard-tokens",
                         PACK_MAX_SHARDS);
    }
    return pack_shard_open(&split->writer, output->config, output->folder.work, split->name,
                           split->counts.shards, error);
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
    int64_t tokens = pack_shard_tokens(config, size);
    counts->documents++;
    counts->tokens += tokens;
    counts->long_documents += tokens > config->shard_tokens;
    if (tokens > counts->longest) counts->longest = tokens;
    if (config->id_bytes == 0) counts->bytes += (int64_t)size;
}

// Moves counts to a total.
static void settle(PackCounts *total, PackCounts *counts) {
    total->documents += counts->documents;
    total->tokens += counts->tokens;
    total->bytes += counts->bytes;
    total->long_documents += counts->long_documents;
    if (counts->longest > total->longest) total->longest = counts->longest;
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

// Documents go to their splits, which a hash says of each, or to the one that is given.
static bool add_documents(PackOutput *output, PackSplit *given, const PackDocument *documents, int64_t count,
                          const char *text, Error *error) {
    const PackConfig *config = output->config;
    PackCounts train, val;
    memset(&train, 0, sizeof train);
    memset(&val, 0, sizeof val);
    for (int64_t i = 0; i < count; i++) {
        const PackDocument *document = &documents[i];
        bool validation = given ? given == &output->val : is_validation(config, document);
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

// ---- Documents that wait

static bool is_longer(const PackDocument *a, const PackDocument *b) {
    if (a->size != b->size) return a->size > b->size;
    return a->input != b->input ? a->input < b->input : a->place < b->place;
}

// Keeps documents up to the one that decides, and moves on behind them. The lock is held.
static bool keep_waiting(PackOutput *output, const PackDocument **documents, int64_t *count,
                         const char **text, Error *error) {
    for (; *count > 0 && !output->decided; ++*documents, --*count) {
        const PackDocument *document = *documents;
        if (!pack_spills_add(&output->waiting, document, *text, error)) return false;
        *text += document->size;
        count_document(output->config, &output->waits, document->size);
        if (is_longer(document, &output->tail.document)) output->tail.document = *document;
        output->drawn[is_validation(output->config, document)] = true;
        output->decided = output->drawn[0] && output->drawn[1];
    }
    return true;
}

static bool let_go(void *context, const PackDocument *document, const char *text, Error *error) {
    return add_documents((PackOutput *)context, NULL, document, 1, text, error);
}

bool pack_output_add(PackOutput *output, const PackDocument *documents, int64_t count, const char *text,
                     Error *error) {
    pthread_mutex_lock(&output->lock);
    bool waited = !output->decided && count > 0;
    bool ok = !waited || keep_waiting(output, &documents, &count, &text, error);
    if (waited && output->decided) memset(&output->waits, 0, sizeof output->waits);
    bool decided = output->decided;
    pthread_mutex_unlock(&output->lock);
    if (ok && waited && decided) ok = pack_spills_visit(&output->waiting, 0, let_go, output, error);
    return ok && add_documents(output, NULL, documents, count, text, error);
}

int64_t pack_output_documents(PackOutput *output) {
    pthread_mutex_lock(&output->lock);
    int64_t count = output->train.counts.documents - output->passkeys.documents +
                    output->val.counts.documents + output->waits.documents;
    pthread_mutex_unlock(&output->lock);
    return count;
}

// ---- Validation from the end of a document

static int64_t count_newlines(const char *text, size_t size) {
    int64_t count = 0;
    for (size_t i = 0; i < size; i++) count += text[i] == '\n';
    return count;
}

static size_t place_cut(const PackOutput *output, const char *text, size_t size) {
    const PackConfig *config = output->config;
    double all = config->id_bytes > 0 ? (double)(output->waits.tokens * config->id_bytes)
                                      : (double)output->waits.bytes;
    size_t wanted = (size_t)(all * config->val_fraction), least = size / 10;
    if (least > LEAST_TAIL) least = LEAST_TAIL;
    if (wanted < least) wanted = least;
    return config->id_bytes > 0 ? pack_cut_ids(size, (size_t)config->id_bytes, wanted)
                                : pack_cut_text(text, size, wanted);
}

// Everything is for training but the end of the longest document.
static bool let_go_but_tail(void *context, const PackDocument *document, const char *text, Error *error) {
    PackOutput *output = (PackOutput *)context;
    PackTail *tail = &output->tail;
    PackDocument head = *document, end = *document;
    if (document->input == tail->document.input && document->place == tail->document.place) {
        tail->cut = place_cut(output, text, document->size);
        tail->newlines = count_newlines(text, tail->cut);
    }
    bool cut =
        tail->cut > 0 && document->input == tail->document.input && document->place == tail->document.place;
    if (cut) {
        head.size = tail->cut;
        end.size = document->size - tail->cut;
    }
    return add_documents(output, &output->train, &head, 1, text, error) &&
           (!cut || add_documents(output, &output->val, &end, 1, text + head.size, error));
}

bool pack_output_decide(PackOutput *output, Error *error) {
    if (output->decided) return true;
    output->decided = true;
    bool ok = pack_spills_visit(&output->waiting, 0, let_go_but_tail, output, error);
    memset(&output->waits, 0, sizeof output->waits);
    return ok;
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
    if (!pack_spills_number(&output->train.spills, &train_largest, error) ||
        !pack_spills_number(&output->val.spills, &val_largest, error)) {
        return false;
    }
    int64_t largest = train_largest > val_largest ? train_largest : val_largest;
    int64_t workers = SHUFFLE_MEMORY / largest; // there is a document
    int64_t spills = output->train.spills.count + output->val.spills.count;
    if (workers > spills) workers = spills;
    if (workers > output->config->threads) workers = output->config->threads;
    if (workers < 1) workers = 1;
    Shuffle shuffle = {output, progress, 0, 0};
    return workers_run((int)workers, shuffle_spills, &shuffle, error);
}

// ---- Finish and close

static bool move_shard(const PackOutput *output, PackSplit *split, int64_t number, Error *error) {
    char *from = pack_shard_path(output->folder.work, split->name, number),
         *to = pack_shard_path(output->config->out, split->name, split->published);
    bool ok =
        rename(from, to) == 0 || error_set_errno(error, STATUS_DATA, "cannot rename %s to %s", from, to);
    split->published += ok;
    free(from);
    free(to);
    return ok;
}

// Shards that nothing was left for leave no gap in the names.
static bool move_split(const PackOutput *output, PackSplit *split, Error *error) {
    bool shuffled = output->config->shuffle, ok = true;
    int64_t count = shuffled ? split->spills.n_shards : split->counts.shards;
    for (int64_t i = 0; ok && i < count; i++) {
        if (!shuffled || split->spills.made[i]) ok = move_shard(output, split, i, error);
    }
    split->counts.shards = split->published;
    return ok;
}

static bool move_out(void *shards, Error *error) {
    PackOutput *output = (PackOutput *)shards;
    return move_split(output, &output->train, error) && move_split(output, &output->val, error);
}

static void remove_split(const PackOutput *output, PackSplit *split) {
    while (split->published > 0) {
        char *path = pack_shard_path(output->config->out, split->name, --split->published);
        unlink(path);
        free(path);
    }
}

static void remove_moved(void *shards) {
    PackOutput *output = (PackOutput *)shards;
    remove_split(output, &output->train);
    remove_split(output, &output->val);
}

bool pack_output_finish(PackOutput *output, Error *error) {
    if (output->train.writer.path && !close_shard(&output->train, error)) return false;
    if (output->val.writer.path && !close_shard(&output->val, error)) return false;
    return pack_folder_publish(&output->folder, move_out, remove_moved, output, error);
}

static void close_split(PackSplit *split) {
    shard_writer_abort(&split->writer);
    pack_spills_close(&split->spills);
}

void pack_output_close(PackOutput *output) {
    close_split(&output->train);
    close_split(&output->val);
    pack_spills_close(&output->waiting);
    pack_folder_close(&output->folder);
    pthread_mutex_destroy(&output->lock);
    free(output->passkey);
    memset(output, 0, sizeof *output);
}
