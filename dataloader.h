// The shards of a data set as one stream of tokens, with a cursor, ranks' shares of it, and prefetch. One
// shard is core/shard.h.
//
// The shards, sorted by name, are one stream of T tokens. There are n = floor((T-1)/N) sequences of N inputs;
// sequence g is tokens [gN, gN+N], N+1 of them, the last one only a target. The cursor is a token position:
// the next sequence is tokens [cursor, cursor+N], and the cursor moves on by N. When those tokens are not all
// there (cursor+N+1 > T), the sequence is the stream's first one: an epoch has ended. A cursor of another N,
// which may be no multiple of this N, goes on the same way up to the stream's end.
#ifndef DATALOADER_H
#define DATALOADER_H

#include "core/error.h"
#include "core/files.h"
#include "core/shard.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

// ---- The stream

// Rows of one step asked for, or prepared.
typedef struct {
    int64_t cursor; // position of the first row's first token
    int64_t rows;
} DataRequest;

typedef struct {
    Shard *shards;
    int64_t n_shards;
    int64_t seq_len;    // N
    int64_t vocab_size; // V
    int64_t n_tokens;   // T
    int64_t n_documents;
    bool bytes;                 // the tokens are bytes, not ids of another tokenizer
    int64_t n_sequences;        // n = floor((T-1)/N)
    int64_t cursor;             // token position of the next sequence; see dataloader_seek
    int64_t epoch;              // wraps since opening; may be set, to go on with a saved count
    int64_t rank, ranks;        // this reader's share of every step
    pthread_mutex_t check_lock; // over Shard.checked

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

// Position that the sequence at `cursor` is really read at: itself, or 0 when the stream ends before.
static inline int64_t dataloader_place(const DataLoader *loader, int64_t cursor) {
    return cursor > loader->n_tokens - 1 - loader->seq_len ? 0 : cursor;
}

// The cursor `rows` sequences on; counts the wraps on the way where `wraps` is given.
static inline int64_t dataloader_advance(const DataLoader *loader, int64_t cursor, int64_t rows,
                                         int64_t *wraps) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t place = dataloader_place(loader, cursor);
        if (wraps && place != cursor) ++*wraps;
        cursor = place + loader->seq_len;
    }
    return cursor;
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

// Verifies a shard the first time that it is reached, by whichever thread reaches it.
static inline bool dataloader_check_shard(DataLoader *loader, Shard *shard, Error *error) {
    pthread_mutex_lock(&loader->check_lock);
    if (!shard->checked) shard->checked = shard_verify(shard, loader->vocab_size, error);
    bool ok = shard->checked;
    pthread_mutex_unlock(&loader->check_lock);
    return ok;
}

static inline bool dataloader_copy(DataLoader *loader, int64_t position, int64_t count, int32_t *out,
                                   Error *error) {
    for (int64_t i = dataloader_find_shard(loader, position); count > 0; i++) {
        Shard *shard = &loader->shards[i];
        int64_t start = position - shard->first, here = shard->header.n_tokens - start;
        if (here > count) here = count;
        if (here == 0) continue; // an empty shard
        if (!dataloader_check_shard(loader, shard, error)) return false;
        shard_copy(shard, start, here, out);
        position += here;
        count -= here;
        out += here;
    }
    return true;
}

// Reads `rows` sequences from `cursor` on, wrapping as dataloader_next does, in the calling thread, and moves
// nothing. tokens: (rows, N+1)
static inline bool dataloader_read(DataLoader *loader, int64_t cursor, int64_t rows, int32_t *tokens,
                                   Error *error) {
    int64_t row_size = loader->seq_len + 1;
    for (int64_t row = 0; row < rows; row++) {
        int64_t place = dataloader_place(loader, cursor);
        if (!dataloader_copy(loader, place, row_size, tokens + row * row_size, error)) return false;
        cursor = place + loader->seq_len;
    }
    return true;
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
        pthread_mutex_destroy(&loader->check_lock);
        for (int64_t i = 0; i < loader->n_shards; i++) shard_close(&loader->shards[i]);
    }
    free(loader->shards);
    free(loader->buffer);
    memset(loader, 0, sizeof *loader);
}

// Opens every shard and adds up what they hold.
static inline bool dataloader_open_shards(DataLoader *loader, const PathList *paths, Error *error) {
    loader->shards = (Shard *)alloc_or_exit((size_t)paths->count, sizeof *loader->shards);
    pthread_mutex_init(&loader->check_lock, NULL);
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->changed, NULL);
    for (int64_t i = 0; i < paths->count; i++) {
        Shard *shard = &loader->shards[i];
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
                             paths->paths[i], shard->header.content == SHARD_BYTES ? "bytes" : "ready ids",
                             paths->paths[0]);
        }
    }
    loader->bytes = loader->shards[0].header.content == SHARD_BYTES;
    return true;
}

// Opens the shards that match the pattern, checks their headers, and stands at cursor 0 with one rank. The
// structure must stay where it is until dataloader_close, which also suits a loader whose opening failed.
static inline bool dataloader_open(DataLoader *loader, const char *glob_pattern, int64_t seq_len,
                                   int64_t vocab_size, Error *error) {
    memset(loader, 0, sizeof *loader);
    loader->seq_len = seq_len;
    loader->vocab_size = vocab_size;
    loader->ranks = 1;
    PathList paths;
    if (!paths_glob(glob_pattern, &paths, error)) return false;
    bool ok = paths.count > 0 ||
              error_set(error, STATUS_DATA, "no file matches %s; make shards with `pack`", glob_pattern);
    ok = ok && dataloader_open_shards(loader, &paths, error);
    paths_free(&paths);
    if (ok) loader->n_sequences = loader->n_tokens > 0 ? (loader->n_tokens - 1) / seq_len : 0;
    if (ok && loader->n_sequences == 0) {
        ok = error_set(error, STATUS_DATA,
                       "%s holds %lld tokens, too few for one sequence of %lld + 1; pack more text, or use "
                       "--seq-len %lld or less",
                       glob_pattern, (long long)loader->n_tokens, (long long)seq_len,
                       (long long)(loader->n_tokens > 1 ? loader->n_tokens - 1 : 0));
    }
    if (!ok) dataloader_close(loader);
    return ok;
}

// From here on a step of dataloader_next is ranks x rows sequences, of which this reader gets the rank-th
// `rows`. Every rank's cursor moves alike, over the rows of all.
static inline void dataloader_set_ranks(DataLoader *loader, int64_t rank, int64_t ranks) {
    loader->rank = rank;
    loader->ranks = ranks;
}

// Moves the cursor to any position >= 0, for instance that of a resumed run, whatever its N was. One that
// lies too near the end, or beyond it, wraps at the next read.
static inline void dataloader_seek(DataLoader *loader, int64_t cursor) {
    loader->cursor = cursor;
}

// A hash of what the stream holds, by the shards' headers: ranks compare it.
static inline uint64_t dataloader_fingerprint(const DataLoader *loader) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < loader->n_shards; i++) {
        const ShardHeader *header = &loader->shards[i].header;
        uint64_t row[4] = {hash, header->payload_hash, (uint64_t)header->n_tokens,
                           (uint64_t)header->token_bytes};
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
        loader->result = dataloader_read(loader, loader->request.cursor, loader->request.rows, loader->buffer,
                                         &loader->result_error);
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

// What this rank reads of a step of ranks x rows sequences that starts at `cursor`.
static inline DataRequest dataloader_share(const DataLoader *loader, int64_t cursor, int64_t rows) {
    DataRequest request = {dataloader_advance(loader, cursor, loader->rank * rows, NULL), rows};
    return request;
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

// Hands over this rank's `rows` sequences of the next step and moves the cursor over those of all ranks;
// `epoch` counts the wraps among them. The following step is then prepared while the caller computes. On
// error (a damaged shard, named) the cursor stays. tokens: (rows, N+1)
static inline bool dataloader_next(DataLoader *loader, int64_t rows, int32_t *tokens, Error *error) {
    if (!dataloader_start_thread(loader, error)) return false;
    DataRequest wanted = dataloader_share(loader, loader->cursor, rows);
    pthread_mutex_lock(&loader->lock);
    dataloader_wait_idle(loader);
    bool prepared = loader->request.cursor == wanted.cursor && loader->request.rows == rows;
    if (!prepared) {
        dataloader_submit(loader, wanted);
        dataloader_wait_idle(loader);
    }
    bool ok = loader->result;
    if (ok) {
        memcpy(tokens, loader->buffer, (size_t)(rows * (loader->seq_len + 1)) * sizeof *tokens);
        loader->cursor = dataloader_advance(loader, loader->cursor, loader->ranks * rows, &loader->epoch);
        dataloader_submit(loader, dataloader_share(loader, loader->cursor, rows));
    } else {
        *error = loader->result_error;
    }
    pthread_mutex_unlock(&loader->lock);
    return ok;
}

#endif
