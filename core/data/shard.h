// A shard: its format, the writer, and the reader of one. A data set is many of them (dataloader.h).
//
// A shard is a header of 64 bytes and then its tokens, all little-endian:
//
//     0  magic "LHSHARD\n"          16  token count                  40  content, and zero
//     8  version, 1                 24  document count               56  XXH3-64 of bytes 0 ... 55
//    12  bytes a token, 2 or 4      32  XXH3-64 of the tokens        64  tokens
//
// Content (4 bytes) says what the tokens are: 0 bytes, with 256 and 257 around each document; 1 ids of
// another tokenizer.
#ifndef CORE_DATA_SHARD_H
#define CORE_DATA_SHARD_H

#include "core/base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHARD_MAGIC       "LHSHARD\n"
#define SHARD_VERSION     1
#define SHARD_HEADER_SIZE 64
#define SHARD_BYTES       0 // what the tokens are
#define SHARD_IDS         1
#define SHARD_BLOCK       (1 << 20) // bytes written or checked at a time
// Where `pack` makes shards, in the folder that gets them: beside shards it says that some are still missing.
#define SHARD_WORK_FOLDER ".packing"

// A number of 1 to 8 bytes, little-endian.
void shard_put(unsigned char *at, int bytes, uint64_t value);
uint64_t shard_get(const unsigned char *at, int bytes);

typedef struct {
    int token_bytes; // 2 or 4
    int content;     // SHARD_BYTES or SHARD_IDS
    int64_t n_tokens;
    int64_t n_documents;
    uint64_t payload_hash;
} ShardHeader;

// Writes the SHARD_HEADER_SIZE bytes of a header.
void shard_header_encode(const ShardHeader *header, unsigned char *out);

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

bool shard_writer_open(ShardWriter *writer, const char *path, int token_bytes, Error *error);

// After an error the writer can only be aborted. Documents are counted by the caller, in header.n_documents.
bool shard_writer_append(ShardWriter *writer, const int32_t *tokens, int64_t count, Error *error);

// Writes the header, syncs, and renames the shard into place. Releases the writer, on error too.
bool shard_writer_close(ShardWriter *writer, Error *error);

// Drops an unfinished shard and its temporary file. Does nothing to a writer that is closed.
void shard_writer_abort(ShardWriter *writer);

// ---- Reader

// Which file stands under a shard's path, and when it was last written.
typedef struct {
    int64_t size, seconds, nanoseconds;
} ShardIdentity;

typedef struct {
    char *path;
    ShardHeader header;
    ShardIdentity identity; // of the file when it was opened, or last found right
    int64_t first;          // position of its first token in the stream
    bool checked;           // hash and token ids were found right
} Shard;

// Whether a file begins as shards do, right or damaged.
bool shard_has_magic(const char *path);

// Checks a shard's header. No file stays open, and none is mapped: a file that shrinks or cannot be read is
// an error like any other. All errors of the reader have status 3 and name the shard.
bool shard_open(Shard *shard, const char *path, Error *error);

// Tokens [start, start + count) of the shard. At the first read the whole payload is: its hash must be right
// and every token below the vocabulary's size. The same again when the file has changed since, which must
// then hold the same tokens.
bool shard_read(Shard *shard, int64_t start, int64_t count, int64_t vocab_size, int32_t *out, Error *error);

// Reads the whole payload: its hash must be right and every token below the vocabulary's size.
bool shard_verify(const Shard *shard, int64_t vocab_size, Error *error);

// Whether both hold the same tokens, as one file under two names does; two empty ones do not.
bool shard_same_tokens(const Shard *a, const Shard *b);

void shard_close(Shard *shard);

// Whether `pack` has moved all shards into the folder of this one. If it is killed while it does, each that
// is there is whole, but they are not all.
bool shard_check_folder(const char *path, Error *error);

#ifdef __cplusplus
}
#endif
#endif
