// Shards: the format, the writer, the reader with its cursor and prefetch.
//
// A shard is a header of 64 bytes and then its tokens, all little-endian:
//
//     0  magic "LHSHARD\n"          16  token count                  40  content, and zero
//     8  version, 1                 24  document count               56  XXH3-64 of bytes 0 ... 55
//    12  bytes a token, 2 or 4      32  XXH3-64 of the tokens        64  tokens
//
// Content (4 bytes) says what the tokens are: 0 bytes, with 256 and 257 around each document; 1 ids of
// another tokenizer.
//
// The shards of a data set, sorted by name, are one stream of T tokens. There are n = floor((T-1)/N)
// sequences of N inputs; sequence g is tokens [gN, gN+N], N+1 of them, the last one only a target. The cursor
// is a token position: the next sequence is tokens [cursor, cursor+N], and the cursor moves on by N. When
// those tokens are not all there (cursor+N+1 > T), the sequence is the stream's first one: an epoch has
// ended. A cursor of another N, which may be no multiple of this N, goes on the same way up to the stream's
// end.
#ifndef DATALOADER_H
#define DATALOADER_H

#include "core/error.h"
#include "core/files.h"

#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SHARD_MAGIC       "LHSHARD\n"
#define SHARD_VERSION     1
#define SHARD_HEADER_SIZE 64
#define SHARD_BYTES       0 // what the tokens are
#define SHARD_IDS         1
#define SHARD_BLOCK       (1 << 20) // bytes written or checked at a time
// Where `pack` makes shards, in the folder that gets them: beside shards it says that some are still missing.
#define SHARD_WORK_FOLDER ".packing"

// ---- Format

typedef struct {
    int token_bytes; // 2 or 4
    int content;     // SHARD_BYTES or SHARD_IDS
    int64_t n_tokens;
    int64_t n_documents;
    uint64_t payload_hash;
} ShardHeader;

static inline void shard_put(unsigned char *at, int bytes, uint64_t value) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static inline uint64_t shard_get(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline void shard_header_encode(const ShardHeader *header, unsigned char *out) {
    memset(out, 0, SHARD_HEADER_SIZE);
    memcpy(out, SHARD_MAGIC, 8);
    shard_put(out + 8, 4, SHARD_VERSION);
    shard_put(out + 12, 4, (uint64_t)header->token_bytes);
    shard_put(out + 16, 8, (uint64_t)header->n_tokens);
    shard_put(out + 24, 8, (uint64_t)header->n_documents);
    shard_put(out + 32, 8, header->payload_hash);
    shard_put(out + 40, 4, (uint64_t)header->content);
    shard_put(out + 56, 8, XXH3_64bits(out, 56));
}

// What a file that is no shard seems to be, from its first bytes.
static inline const char *shard_guess_format(const unsigned char *data, size_t size) {
    if (size == 0) return "is empty";
    if (size >= 2 && data[0] == 0x1f && data[1] == 0x8b) return "is gzip; make shards of it with `pack`";
    if (size >= 6 && memcmp(data, "\x93NUMPY", 6) == 0) return "is a NumPy array";
    if (size >= 4 && shard_get(data, 4) == 20240520) return "is a shard of llm.c, another format";
    size_t seen = size < 256 ? size : 256;
    for (size_t i = 0; i < seen; i++) {
        if (data[i] < 0x20 && !isspace(data[i])) return "is no shard (another magic number)";
    }
    if (data[0] == '{' || data[0] == '[') return "is JSON; make shards of it with `pack`";
    return "is text; make shards of it with `pack`";
}

// Checks everything that the header says against the header's hash and the file's size, so that nothing after
// this has to doubt it.
static inline bool shard_header_decode(const char *path, const unsigned char *data, size_t file_size,
                                       ShardHeader *header, Error *error) {
    size_t magic_seen = file_size < 8 ? file_size : 8;
    if (file_size == 0 || memcmp(data, SHARD_MAGIC, magic_seen) != 0) {
        return error_set(error, STATUS_DATA, "%s %s", path, shard_guess_format(data, file_size));
    }
    if (file_size < SHARD_HEADER_SIZE) {
        return error_set(error, STATUS_DATA, "shard %s is cut short: %zu bytes, its header alone takes %d",
                         path, file_size, SHARD_HEADER_SIZE);
    }
    uint64_t version = shard_get(data + 8, 4);
    if (version != SHARD_VERSION) {
        return error_set(error, STATUS_DATA,
                         "shard %s has version %llu, this program reads version %d; pack it again", path,
                         (unsigned long long)version, SHARD_VERSION);
    }
    if (XXH3_64bits(data, 56) != shard_get(data + 56, 8)) {
        return error_set(error, STATUS_DATA,
                         "the header of shard %s is damaged (wrong hash); copy or pack it again", path);
    }
    header->token_bytes = (int)shard_get(data + 12, 4);
    header->n_tokens = (int64_t)shard_get(data + 16, 8);
    header->n_documents = (int64_t)shard_get(data + 24, 8);
    header->payload_hash = shard_get(data + 32, 8);
    header->content = (int)shard_get(data + 40, 4);
    if (header->content != SHARD_BYTES && header->content != SHARD_IDS) {
        return error_set(error, STATUS_DATA,
                         "shard %s holds tokens of kind %d, which this program does not know; pack it again",
                         path, header->content);
    }
    if (header->token_bytes != 2 && header->token_bytes != 4) {
        return error_set(error, STATUS_DATA, "shard %s has %d bytes a token, where 2 or 4 are known", path,
                         header->token_bytes);
    }
    uint64_t payload = (uint64_t)file_size - SHARD_HEADER_SIZE;
    uint64_t tokens = (uint64_t)header->n_tokens;
    uint64_t width = (uint64_t)header->token_bytes;
    if (tokens > payload / width) {
        return error_set(
            error, STATUS_DATA,
            "shard %s is cut short: its header promises %llu tokens, %llu are there; copy or pack it "
            "again",
            path, (unsigned long long)tokens, (unsigned long long)(payload / width));
    }
    if ((uint64_t)header->n_documents > tokens) {
        return error_set(error, STATUS_DATA,
                         "the header of shard %s promises %llu documents in %llu tokens; pack it again", path,
                         (unsigned long long)header->n_documents, (unsigned long long)tokens);
    }
    if (tokens * width != payload) {
        return error_set(error, STATUS_DATA,
                         "shard %s has %llu bytes behind its %llu tokens; copy or pack it again", path,
                         (unsigned long long)(payload - tokens * width), (unsigned long long)tokens);
    }
    return true;
}

// ---- Writer

// Writes beside the target (".tmp"), so that the target appears whole or not at all.
typedef struct {
    char *path, *temporary;
    int file;
    ShardHeader header;
    XXH3_state_t *hash;
    unsigned char *buffer; // SHARD_BLOCK bytes
    size_t used;
} ShardWriter;

static inline void shard_writer_release(ShardWriter *writer) {
    free(writer->path);
    free(writer->temporary);
    free(writer->buffer);
    XXH3_freeState(writer->hash);
    memset(writer, 0, sizeof *writer);
    writer->file = -1;
}

// Drops an unfinished shard and its temporary file. Does nothing to a writer that is closed.
static inline void shard_writer_abort(ShardWriter *writer) {
    if (!writer->path) return;
    if (writer->file >= 0) close(writer->file);
    unlink(writer->temporary);
    shard_writer_release(writer);
}

static inline bool shard_writer_open(ShardWriter *writer, const char *path, int token_bytes, Error *error) {
    memset(writer, 0, sizeof *writer);
    size_t length = strlen(path);
    writer->path = (char *)alloc_or_exit(length + 1, 1);
    memcpy(writer->path, path, length);
    writer->temporary = (char *)alloc_or_exit(length + sizeof ".tmp", 1);
    snprintf(writer->temporary, length + sizeof ".tmp", "%s.tmp", path);
    writer->buffer = (unsigned char *)alloc_or_exit(SHARD_BLOCK, 1);
    writer->header.token_bytes = token_bytes;
    writer->hash = XXH3_createState();
    XXH3_64bits_reset(writer->hash);
    writer->file = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    unsigned char header[SHARD_HEADER_SIZE] = {0}; // no magic until the shard is whole
    if (writer->file < 0) {
        error_set_errno(error, STATUS_DATA, "cannot create %s", writer->temporary);
        shard_writer_release(writer);
        return false;
    }
    if (!file_append(writer->file, writer->temporary, header, sizeof header, error)) {
        shard_writer_abort(writer);
        return false;
    }
    return true;
}

static inline bool shard_writer_flush(ShardWriter *writer, Error *error) {
    XXH3_64bits_update(writer->hash, writer->buffer, writer->used);
    bool ok = file_append(writer->file, writer->temporary, writer->buffer, writer->used, error);
    writer->used = 0;
    return ok;
}

// After an error the writer can only be aborted. Documents are counted by the caller, in header.n_documents.
static inline bool shard_writer_append(ShardWriter *writer, const int32_t *tokens, int64_t count,
                                       Error *error) {
    int width = writer->header.token_bytes;
    writer->header.n_tokens += count;
    while (count > 0) {
        if (writer->used == SHARD_BLOCK && !shard_writer_flush(writer, error)) return false;
        unsigned char *out = writer->buffer + writer->used;
        int64_t room = (int64_t)(SHARD_BLOCK - writer->used) / width, here = count < room ? count : room;
        if (width == 2) {
            for (int64_t i = 0; i < here; i++) shard_put(out + 2 * i, 2, (uint32_t)tokens[i]);
        } else {
            for (int64_t i = 0; i < here; i++) shard_put(out + 4 * i, 4, (uint32_t)tokens[i]);
        }
        writer->used += (size_t)(here * width);
        tokens += here;
        count -= here;
    }
    return true;
}

// Writes the header, syncs, and renames the shard into place. Releases the writer, on error too.
static inline bool shard_writer_close(ShardWriter *writer, Error *error) {
    bool ok = shard_writer_flush(writer, error);
    unsigned char header[SHARD_HEADER_SIZE];
    writer->header.payload_hash = XXH3_64bits_digest(writer->hash);
    shard_header_encode(&writer->header, header);
    if (ok && lseek(writer->file, 0, SEEK_SET) != 0) {
        ok = error_set_errno(error, STATUS_DATA, "cannot write %s", writer->temporary);
    }
    ok = ok && file_append(writer->file, writer->temporary, header, sizeof header, error);
    if (!ok) {
        shard_writer_abort(writer);
        return false;
    }
    ok = file_publish(writer->file, writer->temporary, writer->path, error);
    shard_writer_release(writer);
    return ok;
}

// ---- One shard, read

typedef struct {
    char *path;
    unsigned char *map; // the whole file
    size_t size;
    ShardHeader header;
    int64_t first; // position of its first token in the stream
    bool checked;  // hash and token ids were found right
} Shard;

static inline void shard_close(Shard *shard) {
    if (shard->map) munmap(shard->map, shard->size);
    free(shard->path);
    memset(shard, 0, sizeof *shard);
}

// Maps a shard and checks its header. All errors of the reader have status 3.
static inline bool shard_open(Shard *shard, const char *path, Error *error) {
    memset(shard, 0, sizeof *shard);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) {
        error_set_errno(error, STATUS_DATA, "cannot open shard %s", path);
        if (file >= 0) close(file);
        return false;
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(file);
        return error_set(error, STATUS_DATA, "%s is %s", path,
                         S_ISDIR(info.st_mode) ? "a folder, no shard; name its shards, as 'data/train_*.bin'"
                                               : "empty or no regular file, no shard");
    }
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) error_set_errno(error, STATUS_DATA, "cannot map shard %s", path);
    close(file);
    if (map == MAP_FAILED) return false;
    shard->map = (unsigned char *)map;
    shard->size = (size_t)info.st_size;
    shard->path = (char *)alloc_or_exit(strlen(path) + 1, 1);
    memcpy(shard->path, path, strlen(path));
    if (shard_header_decode(path, shard->map, shard->size, &shard->header, error)) return true;
    shard_close(shard);
    return false;
}

// Tokens [start, start + count) of the shard.
static inline void shard_copy(const Shard *shard, int64_t start, int64_t count, int32_t *out) {
    int width = shard->header.token_bytes;
    const unsigned char *at = shard->map + SHARD_HEADER_SIZE + start * width;
    if (width == 2) {
        for (int64_t i = 0; i < count; i++) out[i] = (int32_t)shard_get(at + 2 * i, 2);
    } else {
        for (int64_t i = 0; i < count; i++) out[i] = (int32_t)shard_get(at + 4 * i, 4);
    }
}

static inline uint32_t shard_max_token(const unsigned char *data, int64_t count, int width) {
    uint32_t max = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t token = (uint32_t)shard_get(data + i * width, width);
        max = token > max ? token : max;
    }
    return max;
}

// Reads the whole payload: its hash must be right and every token below the vocabulary's size.
static inline bool shard_verify(const Shard *shard, int64_t vocab_size, Error *error) {
    int width = shard->header.token_bytes;
    const unsigned char *payload = shard->map + SHARD_HEADER_SIZE;
    size_t size = shard->size - SHARD_HEADER_SIZE;
    uint32_t max = 0;
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    for (size_t at = 0; at < size; at += SHARD_BLOCK) {
        size_t bytes = size - at < SHARD_BLOCK ? size - at : SHARD_BLOCK;
        XXH3_64bits_update(state, payload + at, bytes);
        uint32_t block_max = width == 2 ? shard_max_token(payload + at, (int64_t)bytes / 2, 2)
                                        : shard_max_token(payload + at, (int64_t)bytes / 4, 4);
        max = block_max > max ? block_max : max;
    }
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    if (hash != shard->header.payload_hash) {
        return error_set(
            error, STATUS_DATA,
            "shard %s is damaged: the hash of its tokens is %016llx, its header says %016llx; copy or "
            "pack it again",
            shard->path, (unsigned long long)hash, (unsigned long long)shard->header.payload_hash);
    }
    if (size > 0 && (int64_t)max >= vocab_size) {
        return error_set(
            error, STATUS_DATA,
            "shard %s holds token %u, but the vocabulary has %lld tokens; it was made for another model",
            shard->path, max, (long long)vocab_size);
    }
    return true;
}

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

// Whether `pack` has moved all shards into the folder of this one. If it is killed while it does, each that
// is there is whole, but they are not all.
static inline bool shard_check_folder(const char *path, Error *error) {
    char *folder = path_parent(path), *work = path_join(folder, SHARD_WORK_FOLDER);
    bool ok =
        !folder_exists(work) ||
        error_set(error, STATUS_DATA,
                  "shards beside %s are not complete: `pack` is at work or was ended before it had moved "
                  "all of them; delete them and pack again",
                  work);
    free(work);
    free(folder);
    return ok;
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
