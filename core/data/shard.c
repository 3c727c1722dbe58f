// A shard, written and read; see shard.h.
#include "core/data/shard.h"

#include "core/base/files.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- Format

void shard_put(unsigned char *at, int bytes, uint64_t value) {
    for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

uint64_t shard_get(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void shard_header_encode(const ShardHeader *header, unsigned char *out) {
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
static const char *shard_guess_format(const unsigned char *data, size_t size) {
    if (size == 0) return "is empty";
    if (size >= 2 && data[0] == 0x1f && data[1] == 0x8b)
        return "is gzip: a shard is decompressed first (gunzip), and of a text `pack` makes shards";
    if (size >= 6 && memcmp(data, "\x93NUMPY", 6) == 0)
        return "is a NumPy array; `pack --tokens` makes shards of it";
    if (size >= 4 && (shard_get(data, 4) == 20240520 || shard_get(data, 4) == 20240801))
        return "is a shard of llm.c, another format: `pack --tokens` makes shards of it";
    if (size >= 4 && shard_get(data, 4) == 0xfd2fb528)
        return "is zstd: a shard is decompressed first (unzstd), and of a text `pack` makes shards";
    if (size >= 12 && memcmp(data, "version http", 12) == 0) return "is a Git LFS pointer: `git lfs pull`";
    if (size >= 7 && memcmp(data, "MMIDIDX", 7) == 0) return "is Megatron's index, no shard";
    size_t seen = size < 256 ? size : 256;
    for (size_t i = 0; i < seen; i++) {
        if (data[i] < 0x20 && !isspace(data[i])) return "is no shard (another magic number)";
    }
    if (data[0] == '{' || data[0] == '[') return "is JSON; make shards of it with `pack`";
    return "is text; make shards of it with `pack`";
}

// Whether it is the whole header of a shard that this program reads.
static bool header_is_whole(const char *path, const unsigned char *data, size_t file_size, Error *error) {
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
    return true;
}

static bool header_fields(const char *path, const unsigned char *data, ShardHeader *header, Error *error) {
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
    return true;
}

// What it promises, against the file's size.
static bool header_fits(const char *path, size_t file_size, const ShardHeader *header, Error *error) {
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

// Checks everything that the header says against the header's hash and the file's size, so that nothing after
// this has to doubt it.
static bool shard_header_decode(const char *path, const unsigned char *data, size_t file_size,
                                ShardHeader *header, Error *error) {
    return header_is_whole(path, data, file_size, error) && header_fields(path, data, header, error) &&
           header_fits(path, file_size, header, error);
}

bool shard_has_magic(const char *path) {
    char first[8];
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool has = file >= 0 && pread(file, first, sizeof first, 0) == (ssize_t)sizeof first &&
               memcmp(first, SHARD_MAGIC, sizeof first) == 0;
    if (file >= 0) close(file);
    return has;
}

// ---- Writer

static void shard_writer_release(ShardWriter *writer) {
    free(writer->path);
    free(writer->temporary);
    free(writer->buffer);
    XXH3_freeState(writer->hash);
    memset(writer, 0, sizeof *writer);
    writer->file = -1;
}

void shard_writer_abort(ShardWriter *writer) {
    if (!writer->path) return;
    if (writer->file >= 0) close(writer->file);
    unlink(writer->temporary);
    shard_writer_release(writer);
}

bool shard_writer_open(ShardWriter *writer, const char *path, int token_bytes, Error *error) {
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

static bool shard_writer_flush(ShardWriter *writer, Error *error) {
    XXH3_64bits_update(writer->hash, writer->buffer, writer->used);
    bool ok = file_append(writer->file, writer->temporary, writer->buffer, writer->used, error);
    writer->used = 0;
    return ok;
}

bool shard_writer_append(ShardWriter *writer, const int32_t *tokens, int64_t count, Error *error) {
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

bool shard_writer_close(ShardWriter *writer, Error *error) {
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

// ---- Reader

// Bytes at a file's beginning that are looked at: the header, and what tells another format.
#define SHARD_FIRST_BYTES 512

void shard_close(Shard *shard) {
    free(shard->path);
    memset(shard, 0, sizeof *shard);
}

static bool shard_identify(int file, const char *path, ShardIdentity *identity, Error *error) {
    struct stat info;
    memset(identity, 0, sizeof *identity);
    if (fstat(file, &info) != 0) return error_set_errno(error, STATUS_DATA, "cannot read shard %s", path);
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        return error_set(error, STATUS_DATA, "%s is %s", path,
                         S_ISDIR(info.st_mode) ? "a folder, no shard; name its shards, as 'data/train_*.bin'"
                                               : "empty or no regular file, no shard");
    }
    identity->size = (int64_t)info.st_size;
    identity->seconds = (int64_t)info.st_mtim.tv_sec;
    identity->nanoseconds = (int64_t)info.st_mtim.tv_nsec;
    return true;
}

// Not by the inode, which some file systems over a network number anew.
static bool shard_unchanged(const ShardIdentity *a, const ShardIdentity *b) {
    return a->size == b->size && a->seconds == b->seconds && a->nanoseconds == b->nanoseconds;
}

bool shard_same_tokens(const Shard *a, const Shard *b) {
    const ShardHeader *x = &a->header, *y = &b->header;
    return x->n_tokens > 0 && x->n_tokens == y->n_tokens && x->token_bytes == y->token_bytes &&
           x->payload_hash == y->payload_hash;
}

// A descriptor of the shard's file, -1 on error. None is held between two reads: there may be more shards
// than a process may have files open. A named pipe must not make us wait.
static int shard_file(const char *path, Error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) error_set_errno(error, STATUS_DATA, "cannot open shard %s", path);
    return file;
}

static bool shard_read_header(int file, const char *path, const ShardIdentity *identity, ShardHeader *header,
                              Error *error) {
    unsigned char first[SHARD_FIRST_BYTES];
    size_t size = identity->size < SHARD_FIRST_BYTES ? (size_t)identity->size : SHARD_FIRST_BYTES;
    return file_read_at(file, path, 0, first, size, error) &&
           shard_header_decode(path, first, (size_t)identity->size, header, error);
}

bool shard_open(Shard *shard, const char *path, Error *error) {
    memset(shard, 0, sizeof *shard);
    int file = shard_file(path, error);
    if (file < 0) return false;
    bool ok = shard_identify(file, path, &shard->identity, error) &&
              shard_read_header(file, path, &shard->identity, &shard->header, error);
    close(file);
    if (ok) shard->path = copy_or_exit(path);
    return ok;
}

static uint32_t shard_max_token(const unsigned char *data, int64_t count, int width) {
    uint32_t max = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t token = (uint32_t)shard_get(data + i * width, width);
        max = token > max ? token : max;
    }
    return max;
}

// Hash and highest token of the payload.
static bool shard_scan(const Shard *shard, int file, uint64_t *hash, uint32_t *max, Error *error) {
    int width = shard->header.token_bytes;
    int64_t left = shard->header.n_tokens * width, at = SHARD_HEADER_SIZE;
    unsigned char *block = (unsigned char *)alloc_or_exit(SHARD_BLOCK, 1);
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    bool ok = true;
    *max = 0;
    while (ok && left > 0) {
        size_t bytes = left < SHARD_BLOCK ? (size_t)left : SHARD_BLOCK;
        ok = file_read_at(file, shard->path, at, block, bytes, error);
        if (!ok) break;
        XXH3_64bits_update(state, block, bytes);
        uint32_t block_max = width == 2 ? shard_max_token(block, (int64_t)bytes / 2, 2)
                                        : shard_max_token(block, (int64_t)bytes / 4, 4);
        *max = block_max > *max ? block_max : *max;
        at += (int64_t)bytes;
        left -= (int64_t)bytes;
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    free(block);
    return ok;
}

static bool shard_verify_file(const Shard *shard, int file, int64_t vocab_size, Error *error) {
    uint64_t hash;
    uint32_t max;
    if (!shard_scan(shard, file, &hash, &max, error)) return false;
    if (hash != shard->header.payload_hash) {
        return error_set(
            error, STATUS_DATA,
            "shard %s is damaged: the hash of its tokens is %016llx, its header says %016llx; copy or "
            "pack it again",
            shard->path, (unsigned long long)hash, (unsigned long long)shard->header.payload_hash);
    }
    if (shard->header.n_tokens > 0 && (int64_t)max >= vocab_size) {
        return error_set(
            error, STATUS_DATA,
            "shard %s holds token %u, but the vocabulary has %lld tokens; it was made for another model",
            shard->path, max, (long long)vocab_size);
    }
    return true;
}

bool shard_verify(const Shard *shard, int64_t vocab_size, Error *error) {
    int file = shard_file(shard->path, error);
    if (file < 0) return false;
    bool ok = shard_verify_file(shard, file, vocab_size, error);
    close(file);
    return ok;
}

static bool shard_same_header(const ShardHeader *a, const ShardHeader *b) {
    return a->token_bytes == b->token_bytes && a->content == b->content && a->n_tokens == b->n_tokens &&
           a->n_documents == b->n_documents && a->payload_hash == b->payload_hash;
}

// Whether the file is what was found right before, or is found right now: at the first read, and when the
// file has become another since.
static bool shard_trust(Shard *shard, int file, int64_t vocab_size, Error *error) {
    ShardIdentity identity;
    ShardHeader header;
    if (!shard_identify(file, shard->path, &identity, error)) return false;
    if (shard->checked && shard_unchanged(&identity, &shard->identity)) return true;
    shard->checked = false;
    if (!shard_read_header(file, shard->path, &identity, &header, error)) return false;
    if (!shard_same_header(&header, &shard->header)) {
        return error_set(error, STATUS_DATA,
                         "shard %s was replaced by another one since this program began to read it; put the "
                         "first one back and go on, or begin a run of its own with the new data",
                         shard->path);
    }
    if (!shard_verify_file(shard, file, vocab_size, error)) return false;
    shard->identity = identity;
    shard->checked = true;
    return true;
}

static bool shard_copy(const Shard *shard, int file, int64_t start, int64_t count, int32_t *out,
                       Error *error) {
    unsigned char block[1 << 15];
    int width = shard->header.token_bytes;
    int64_t room = (int64_t)sizeof block / width, at = SHARD_HEADER_SIZE + start * width;
    for (int64_t done = 0; done < count;) {
        int64_t here = count - done < room ? count - done : room;
        if (!file_read_at(file, shard->path, at + done * width, block, (size_t)(here * width), error))
            return false;
        if (width == 2) {
            for (int64_t i = 0; i < here; i++) out[done + i] = (int32_t)shard_get(block + 2 * i, 2);
        } else {
            for (int64_t i = 0; i < here; i++) out[done + i] = (int32_t)shard_get(block + 4 * i, 4);
        }
        done += here;
    }
    return true;
}

// What is read is of the file that was found right: it is looked at again after the read.
static bool shard_read_file(Shard *shard, int file, int64_t start, int64_t count, int64_t vocab_size,
                            int32_t *out, Error *error) {
    for (int tries = 0; tries < 2; tries++) {
        ShardIdentity after;
        if (!shard_trust(shard, file, vocab_size, error) ||
            !shard_copy(shard, file, start, count, out, error) ||
            !shard_identify(file, shard->path, &after, error))
            return false;
        if (shard_unchanged(&after, &shard->identity)) return true;
    }
    return error_set(error, STATUS_DATA, "shard %s is being written while this program reads it",
                     shard->path);
}

bool shard_read(Shard *shard, int64_t start, int64_t count, int64_t vocab_size, int32_t *out, Error *error) {
    int file = shard_file(shard->path, error);
    if (file < 0) return false;
    bool ok = shard_read_file(shard, file, start, count, vocab_size, out, error);
    close(file);
    return ok;
}

bool shard_check_folder(const char *path, Error *error) {
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
