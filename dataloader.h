// The shards of a data set as one stream of tokens, with a cursor, ranks' shares of it, and prefetch. One
// shard is core/data/shard.h.
//
// The shards, sorted by name, are one stream of T tokens. There are n = floor((T-1)/N) sequences of N inputs;
// sequence g is tokens [gN, gN+N], N+1 of them, the last one only a target. The cursor is a token position:
// the next sequence is tokens [cursor, cursor+N], and the cursor moves on by N. When those tokens are not all
// there (cursor+N+1 > T), the sequence is the stream's first one: an epoch has ended. A cursor of another N,
// which may be no multiple of this N, goes on the same way up to the stream's end.
//
// The first epoch takes the sequences as they stand in the stream: `pack` has shuffled the documents, shards
// are read from end to end, and a run of one epoch is the same in either order. After dataloader_shuffle,
// every later epoch has an order of its own, which depends on nothing but seed, epoch and n: at the cursor
// stands sequence permutation(floor(cursor / N)). The (T-1) mod N tokens that are left over are not always
// the last ones: an epoch cuts the stream into sequences from an offset of its own. So an epoch gives every
// sequence once. When N changes amid one, as many tokens are still to come as before, but of the sequences
// of the new N: some tokens then come twice in this epoch, and some not before the next.
//
// Several sources are such a stream each, with a cursor and epochs of its own. The sequences of a step, and
// of all its ranks, are in one order, in which mixture_next says whose turn it is.
#ifndef DATALOADER_H
#define DATALOADER_H

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/permutation.h"
#include "core/base/random.h"
#include "core/data/mixture.h"
#include "core/data/shard.h"
#include "core/data/shard_gaps.h"
#include "core/data/shard_twice.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

// ---- The stream

// Rows of one step asked for, or prepared.
typedef struct {
    DataPlaces places; // of the first row
    int64_t rows;
} DataRequest;

// The shards of one source.
typedef struct {
    int64_t first_shard, n_shards;
    int64_t first;       // position of its first token among those of all sources
    int64_t n_tokens;    // T
    int64_t n_sequences; // n = floor((T-1)/N)
} DataStream;

typedef struct {
    Shard *shards; // of all sources, one behind the other
    int64_t n_shards;
    int64_t seq_len;                            // N
    int64_t vocab_size;                         // V
    int64_t n_tokens, n_documents, n_sequences; // of all sources
    bool bytes;                                 // the tokens are bytes, not ids of another tokenizer
    Mixture mixture;                            // one source or several
    DataStream streams[MIXTURE_MAX];
    bool shuffles;             // epochs after the first have an order of their own
    uint64_t seed;             // of these orders
    DataPlaces places;         // of the next sequence; see dataloader_seek
    int64_t rank, ranks;       // this reader's share of every step
    pthread_mutex_t read_lock; // over the shards

    // The prefetch thread. It is started by the first dataloader_next. `lock` is over all that follows.
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    bool working;        // a request is given to the thread and not answered
    DataRequest request; // what it works on, or what `buffer` holds when it does not
    bool result;         // whether the request succeeded; if not, why
    Error result_error;
    int32_t *buffer;     // (request.rows, N+1)
    int64_t buffer_rows; // room in it
} DataLoader;

// The place that the sequence at `place` is really read at: itself, or the next epoch's beginning when the
// stream ends before.
static inline DataPlace dataloader_wrap(const DataLoader *loader, int source, DataPlace place) {
    DataPlace next = {0, place.epoch + 1};
    return place.cursor > loader->streams[source].n_tokens - 1 - loader->seq_len ? next : place;
}

// Takes the next sequence: its source and its place there. The places move on by it.
static inline int dataloader_take(const DataLoader *loader, DataPlaces *places, DataPlace *taken) {
    int source = mixture_next(&loader->mixture, places, loader->seq_len);
    *taken = dataloader_wrap(loader, source, places->of[source]);
    places->of[source] = *taken;
    places->of[source].cursor += loader->seq_len;
    places->tokens[source] += loader->seq_len;
    return source;
}

// The places `rows` sequences on.
static inline void dataloader_advance(const DataLoader *loader, DataPlaces *places, int64_t rows) {
    DataPlace taken;
    for (int64_t row = 0; row < rows; row++) dataloader_take(loader, places, &taken);
}

#define DATA_OFFSET_STREAM (UINT64_C(1) << 63) // of random numbers, beside those of the epochs' orders

// Position among all tokens of a source's sequence at a place that needs no wrap.
static inline int64_t dataloader_position(const DataLoader *loader, int source, DataPlace place) {
    const DataStream *stream = &loader->streams[source];
    assert(stream->n_tokens > 0);
    if (!loader->shuffles || place.epoch == 0) return stream->first + place.cursor;
    uint64_t epoch = (uint64_t)place.epoch;
    int64_t left_over = (stream->n_tokens - 1) % loader->seq_len, n = stream->n_sequences;
    uint64_t bits = random_bits(loader->seed, DATA_OFFSET_STREAM, epoch);
    return stream->first + (int64_t)(bits % (uint64_t)(left_over + 1)) +
           loader->seq_len * permutation_at(loader->seed, epoch, n, place.cursor / loader->seq_len);
}

// Index of the shard that holds a position. The stream is not empty, position < T.
static inline int64_t dataloader_find_shard(const DataLoader *loader, int64_t position) {
    int64_t low = 0, high = loader->n_shards; // first of low <= position < first of high
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (loader->shards[middle].first <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static inline bool dataloader_copy(DataLoader *loader, int64_t position, int64_t count, int32_t *out,
                                   Error *error) {
    for (int64_t i = dataloader_find_shard(loader, position); count > 0; i++) {
        Shard *shard = &loader->shards[i];
        int64_t start = position - shard->first, here = shard->header.n_tokens - start;
        if (here > count) here = count;
        if (here == 0) continue; // an empty shard
        pthread_mutex_lock(&loader->read_lock);
        bool ok = shard_read(shard, start, here, loader->vocab_size, out, error);
        pthread_mutex_unlock(&loader->read_lock);
        if (!ok) return false;
        position += here;
        count -= here;
        out += here;
    }
    return true;
}

// Reads `rows` sequences from places on, wrapping as dataloader_next does, in the calling thread, and moves
// nothing of the loader. tokens: (rows, N+1)
static inline bool dataloader_read_mixed(DataLoader *loader, DataPlaces places, int64_t rows, int32_t *tokens,
                                         Error *error) {
    int64_t row_size = loader->seq_len + 1;
    for (int64_t row = 0; row < rows; row++) {
        DataPlace place;
        int source = dataloader_take(loader, &places, &place);
        int64_t position = dataloader_position(loader, source, place);
        if (!dataloader_copy(loader, position, row_size, tokens + row * row_size, error)) return false;
    }
    return true;
}

// The same of a loader of one source.
static inline bool dataloader_read(DataLoader *loader, DataPlace place, int64_t rows, int32_t *tokens,
                                   Error *error) {
    DataPlaces places;
    memset(&places, 0, sizeof places);
    places.of[0] = place;
    return dataloader_read_mixed(loader, places, rows, tokens, error);
}

// ---- Open and close

static inline void dataloader_close(DataLoader *loader) {
    if (loader->started) {
        pthread_mutex_lock(&loader->lock);
        loader->stop = true;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->lock);
        pthread_join(loader->thread, NULL);
    }
    if (loader->shards) {
        pthread_cond_destroy(&loader->changed);
        pthread_mutex_destroy(&loader->lock);
        pthread_mutex_destroy(&loader->read_lock);
        for (int64_t i = 0; i < loader->n_shards; i++) shard_close(&loader->shards[i]);
    }
    free(loader->shards);
    free(loader->buffer);
    mixture_free(&loader->mixture);
    memset(loader, 0, sizeof *loader);
}

// Makes room for that many shards more.
static inline void dataloader_grow(DataLoader *loader, int64_t count) {
    if (!loader->shards) {
        pthread_mutex_init(&loader->read_lock, NULL);
        pthread_mutex_init(&loader->lock, NULL);
        pthread_cond_init(&loader->changed, NULL);
    }
    Shard *shards = (Shard *)alloc_or_exit((size_t)(loader->n_shards + count), sizeof *shards);
    if (loader->n_shards > 0) memcpy(shards, loader->shards, (size_t)loader->n_shards * sizeof *shards);
    free(loader->shards);
    loader->shards = shards;
}

// Opens every shard of a source and adds up what they hold.
static inline bool dataloader_open_shards(DataLoader *loader, const PathList *paths, Error *error) {
    dataloader_grow(loader, paths->count);
    for (int64_t i = 0; i < paths->count; i++) {
        Shard *shard = &loader->shards[loader->n_shards];
        if (!shard_check_folder(paths->paths[i], error) || !shard_open(shard, paths->paths[i], error)) {
            return false;
        }
        loader->n_shards++;
        shard->first = loader->n_tokens;
        loader->n_tokens += shard->header.n_tokens;
        loader->n_documents += shard->header.n_documents;
        if (shard->header.content != loader->shards[0].header.content) {
            return error_set(error, STATUS_DATA,
                             "shard %s holds %s, shard %s does not: name those of one kind alone",
                             paths->paths[i], shard->header.content == SHARD_BYTES ? "bytes" : "token ids",
                             loader->shards[0].path);
        }
    }
    loader->bytes = loader->shards[0].header.content == SHARD_BYTES;
    return true;
}

// Opens the shards of a source, which match its pattern.
static inline bool dataloader_open_source(DataLoader *loader, int source, Error *error) {
    const char *glob_pattern = loader->mixture.patterns[source];
    DataStream *stream = &loader->streams[source];
    int64_t seq_len = loader->seq_len;
    stream->first_shard = loader->n_shards;
    stream->first = loader->n_tokens;
    PathList paths;
    if (!paths_glob(glob_pattern, &paths, error)) return false;
    bool list = strpbrk(glob_pattern, ", {") != NULL, weight = mixture_word_weighted(glob_pattern);
    bool ok = paths.count > 0 ||
              error_set(error, STATUS_DATA, "no file matches %s; %s", glob_pattern,
                        weight ? "weights are for --data of train: leave out the number behind the colon"
                        : list ? "lists and braces are not taken: give one pattern, as 'data/train_*.bin'"
                               : "make shards with `pack`");
    ok = ok && dataloader_open_shards(loader, &paths, error);
    if (ok) shard_gaps_warn(glob_pattern, &paths);
    paths_free(&paths);
    stream->n_shards = loader->n_shards - stream->first_shard;
    stream->n_tokens = loader->n_tokens - stream->first;
    stream->n_sequences = stream->n_tokens > 0 ? (stream->n_tokens - 1) / seq_len : 0;
    loader->n_sequences += stream->n_sequences;
    if (ok && stream->n_sequences == 0) {
        ok = error_set(error, STATUS_DATA,
                       "%s holds %lld tokens, too few for one sequence of %lld + 1; pack more text (for "
                       "validation with a larger --val-fraction), or use --seq-len %lld or less",
                       glob_pattern, (long long)stream->n_tokens, (long long)seq_len,
                       (long long)(stream->n_tokens > 1 ? stream->n_tokens - 1 : 0));
    }
    return ok;
}

// Opens the shards of a mixture, whose reference is taken, checks their headers, and stands at every source's
// beginning with one rank. The structure must stay where it is until dataloader_close, which also suits a
// loader whose opening failed.
static inline bool dataloader_open_mixture(DataLoader *loader, const Mixture *mixture, int64_t seq_len,
                                           int64_t vocab_size, Error *error) {
    assert(mixture->count > 0 && seq_len > 0);
    memset(loader, 0, sizeof *loader);
    loader->seq_len = seq_len;
    loader->vocab_size = vocab_size;
    loader->ranks = 1;
    loader->mixture = *mixture;
    bool ok = true;
    for (int i = 0; ok && i < mixture->count; i++) ok = dataloader_open_source(loader, i, error);
    const char *name = mixture->count == 1 ? mixture->patterns[0] : "--data";
    if (ok) shard_twice_warn(name, loader->shards, loader->n_shards);
    if (!ok) dataloader_close(loader);
    return ok;
}

// The same of the shards that match one pattern.
static inline bool dataloader_open(DataLoader *loader, const char *glob_pattern, int64_t seq_len,
                                   int64_t vocab_size, Error *error) {
    Mixture mixture;
    mixture_single(&mixture, glob_pattern);
    return dataloader_open_mixture(loader, &mixture, seq_len, vocab_size, error);
}

// From here on a step of dataloader_next is ranks x rows sequences, of which this reader gets the rank-th
// `rows`. Every rank's cursor moves alike, over the rows of all.
static inline void dataloader_set_ranks(DataLoader *loader, int64_t rank, int64_t ranks) {
    loader->rank = rank;
    loader->ranks = ranks;
}

// From here on epochs after the first have orders of their own.
static inline void dataloader_shuffle(DataLoader *loader, uint64_t seed) {
    loader->shuffles = true;
    loader->seed = seed;
}

// Moves the cursor of the first source to any position >= 0 of an epoch, for instance that of a resumed run,
// whatever its N was. One that lies too near the end, or beyond it, wraps at the next read.
static inline void dataloader_seek(DataLoader *loader, int64_t cursor, int64_t epoch) {
    loader->places.of[0].cursor = cursor;
    loader->places.of[0].epoch = epoch;
}

// The same of all sources.
static inline void dataloader_seek_places(DataLoader *loader, const DataPlaces *places) {
    loader->places = *places;
}

// A hash of what a source holds, by the shards' headers.
static inline uint64_t dataloader_source_fingerprint(const DataLoader *loader, int source) {
    const DataStream *stream = &loader->streams[source];
    uint64_t hash = 0;
    for (int64_t i = stream->first_shard; i < stream->first_shard + stream->n_shards; i++) {
        const ShardHeader *header = &loader->shards[i].header;
        uint64_t row[4] = {hash, header->payload_hash, (uint64_t)header->n_tokens,
                           (uint64_t)header->token_bytes};
        hash = XXH3_64bits(row, sizeof row);
    }
    return hash;
}

// Of all sources, with their weights where they are several: ranks compare it.
static inline uint64_t dataloader_fingerprint(const DataLoader *loader) {
    uint64_t hash = dataloader_source_fingerprint(loader, 0);
    for (int i = 0; loader->mixture.count > 1 && i < loader->mixture.count; i++) {
        uint64_t row[3] = {i ? hash : 0, dataloader_source_fingerprint(loader, i),
                           (uint64_t)loader->mixture.weights[i]};
        hash = XXH3_64bits(row, sizeof row);
    }
    return hash;
}

// ---- Prefetch

static inline void *dataloader_prefetch(void *argument) {
    DataLoader *loader = (DataLoader *)argument;
    pthread_mutex_lock(&loader->lock);
    for (;;) {
        while (!loader->working && !loader->stop) pthread_cond_wait(&loader->changed, &loader->lock);
        if (loader->stop) break;
        // While `working` holds, nobody else touches the request, the buffer or the result.
        pthread_mutex_unlock(&loader->lock);
        loader->result = dataloader_read_mixed(loader, loader->request.places, loader->request.rows,
                                               loader->buffer, &loader->result_error);
        pthread_mutex_lock(&loader->lock);
        loader->working = false;
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

// Gives the idle thread a request. The lock is held.
static inline void dataloader_submit(DataLoader *loader, DataRequest request) {
    if (request.rows > loader->buffer_rows) {
        free(loader->buffer);
        loader->buffer =
            (int32_t *)alloc_or_exit((size_t)(request.rows * (loader->seq_len + 1)), sizeof(int32_t));
        loader->buffer_rows = request.rows;
    }
    loader->request = request;
    loader->working = true;
    pthread_cond_broadcast(&loader->changed);
}

static inline void dataloader_wait_idle(DataLoader *loader) {
    while (loader->working) pthread_cond_wait(&loader->changed, &loader->lock);
}

// What this rank reads of the step of ranks x rows sequences that is next.
static inline DataRequest dataloader_share(const DataLoader *loader, int64_t rows) {
    DataRequest request = {loader->places, rows};
    dataloader_advance(loader, &request.places, loader->rank * rows);
    return request;
}

static inline bool dataloader_same(const DataRequest *a, const DataRequest *b) {
    return a->rows == b->rows && memcmp(&a->places, &b->places, sizeof a->places) == 0;
}

static inline bool dataloader_start_thread(DataLoader *loader, Error *error) {
    if (loader->started) return true;
    int code = pthread_create(&loader->thread, NULL, dataloader_prefetch, loader);
    if (code != 0) {
        return error_set(error, STATUS_MEMORY, "cannot start the thread that reads data: %s", strerror(code));
    }
    loader->started = true;
    return true;
}

// Whether dataloader_next(rows) has nothing left to wait for. Begins to read what it will give.
static inline bool dataloader_ready(DataLoader *loader, int64_t rows) {
    Error ignored;
    if (!dataloader_start_thread(loader, &ignored)) return true; // dataloader_next says why
    DataRequest wanted = dataloader_share(loader, rows);
    pthread_mutex_lock(&loader->lock);
    bool idle = !loader->working, same = dataloader_same(&loader->request, &wanted);
    if (idle && !same) dataloader_submit(loader, wanted);
    pthread_mutex_unlock(&loader->lock);
    return idle && same;
}

// Hands over this rank's `rows` sequences of the next step and moves the cursor over those of all ranks;
// `epoch` counts the wraps among them. The following step is then prepared while the caller computes. On
// error (a damaged shard, named) the cursor stays. tokens: (rows, N+1)
static inline bool dataloader_next(DataLoader *loader, int64_t rows, int32_t *tokens, Error *error) {
    if (!dataloader_start_thread(loader, error)) return false;
    DataRequest wanted = dataloader_share(loader, rows);
    pthread_mutex_lock(&loader->lock);
    dataloader_wait_idle(loader);
    bool prepared = loader->result && dataloader_same(&loader->request, &wanted);
    if (!prepared) {
        dataloader_submit(loader, wanted);
        dataloader_wait_idle(loader);
    }
    bool ok = loader->result;
    if (ok) {
        memcpy(tokens, loader->buffer, (size_t)(rows * (loader->seq_len + 1)) * sizeof *tokens);
        dataloader_advance(loader, &loader->places, loader->ranks * rows);
        dataloader_submit(loader, dataloader_share(loader, rows));
    } else {
        *error = loader->result_error;
    }
    pthread_mutex_unlock(&loader->lock);
    return ok;
}

#endif
