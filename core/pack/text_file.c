// One input file of `pack` as its text; see text_file.h.
#include "core/pack/text_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd_errors.h>

// ---- Opening

static bool open_unpacker(TextFile *file) {
    switch (file->input->packing) {
    case FILE_GZIP: return inflateInit2(&file->inflater, 15 + 16) == Z_OK;
    case FILE_ZSTD:
        file->unpacker = ZSTD_createDStream();
        return file->unpacker &&
               !ZSTD_isError(ZSTD_DCtx_setParameter(file->unpacker, ZSTD_d_windowLogMax, TEXT_ZSTD_WINDOW));
    default: return true;
    }
}

// A copy of what was piped in has no name: it stays open, and is read by one at a time.
static int open_input(const PackInput *input) {
    if (input->copy == 0) return open(input->path, O_RDONLY | O_CLOEXEC);
    int file = fcntl(input->copy, F_DUPFD_CLOEXEC, 3);
    if (file >= 0 && lseek(file, 0, SEEK_SET) != 0) {
        close(file);
        return -1;
    }
    return file;
}

bool text_file_open(TextFile *file, const PackInput *input, Error *error) {
    memset(file, 0, sizeof *file);
    file->input = input;
    file->file = open_input(input);
    if (file->file < 0) return error_set_errno(error, STATUS_DATA, "cannot open input %s", input->path);
    file->raw = (unsigned char *)alloc_or_exit(TEXT_READ, 1);
    if (open_unpacker(file)) return true;
    text_file_close(file);
    return error_set(error, STATUS_MEMORY, "no memory to decompress %s", input->path);
}

void text_file_close(TextFile *file) {
    if (file->input->packing == FILE_GZIP) inflateEnd(&file->inflater);
    ZSTD_freeDStream(file->unpacker);
    close(file->file);
    free(file->raw);
    bytes_free(&file->undecoded);
    bytes_free(&file->decoded);
    memset(file, 0, sizeof *file);
}

int64_t text_file_position(const TextFile *file) {
    return file->raw_read - (int64_t)file->available;
}

// ---- Bytes

// A file that somebody still writes, or has cut meanwhile, is not what was looked at. (/proc tells no sizes.)
static bool is_as_it_was(const TextFile *file, Error *error) {
    long long was = (long long)file->input->size, is = (long long)file->raw_read;
    return was == 0 || was == is ||
           error_set(
               error, STATUS_DATA,
               "input %s had %lld bytes when it was first looked at, and has %lld now: pack it when it is "
               "written",
               file->input->path, was, is);
}

// Reads raw bytes when all earlier ones are used up.
static bool fill_raw(TextFile *file, Error *error) {
    if (file->available > 0 || file->raw_ended) return true;
    ssize_t got;
    do got = read(file->file, file->raw, TEXT_READ);
    while (got < 0 && errno == EINTR);
    if (got < 0) return error_set_errno(error, STATUS_DATA, "cannot read input %s", file->input->path);
    file->raw_ended = got == 0;
    file->raw_read += got;
    if (file->raw_ended && !is_as_it_was(file, error)) return false;
    file->next = file->raw;
    file->available = (size_t)got;
    return true;
}

static void use_up(TextFile *file, size_t size) {
    file->next += size;
    file->available -= size;
}

static bool read_plain(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    if (!fill_raw(file, error)) return false;
    *got = file->available < capacity ? file->available : capacity;
    if (*got > 0) memcpy(out, file->next, *got);
    use_up(file, *got);
    return true;
}

// ---- Compression

static const char *packing_name(const TextFile *file) {
    return file->input->packing == FILE_GZIP ? "gzip" : "zstd";
}

static bool damaged(const TextFile *file, const char *why, Error *error) {
    return error_set(error, STATUS_DATA, "input %s is damaged %s at byte %lld of %lld (%s): fetch it again",
                     file->input->path, packing_name(file), (long long)text_file_position(file),
                     (long long)file->input->size, why);
}

static bool no_memory(const TextFile *file, Error *error) {
    return error_set(error, STATUS_MEMORY, "no memory to decompress %s", file->input->path);
}

// Undoes gzip as far as there is room and raw bytes.
static bool inflate_some(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    z_stream *stream = &file->inflater;
    assert(capacity <= UINT32_MAX && file->available <= UINT32_MAX);
    stream->next_in = (Bytef *)file->next;
    stream->avail_in = (uInt)file->available;
    stream->next_out = (Bytef *)out;
    stream->avail_out = (uInt)capacity;
    int code = inflate(stream, Z_NO_FLUSH);
    use_up(file, file->available - stream->avail_in);
    *got = capacity - stream->avail_out;
    if (code == Z_STREAM_END) {
        file->in_member = false;
        file->any_member = true;
        inflateReset(stream);
        return true;
    }
    if (code == Z_OK || code == Z_BUF_ERROR) return true;
    if (code == Z_MEM_ERROR) return no_memory(file, error);
    return damaged(file, stream->msg ? stream->msg : "a dictionary is wanted", error);
}

// The same for zstd.
static bool unpack_some(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    ZSTD_inBuffer in = {file->next, file->available, 0};
    ZSTD_outBuffer to = {out, capacity, 0};
    size_t left = ZSTD_decompressStream(file->unpacker, &to, &in);
    use_up(file, in.pos);
    *got = to.pos;
    if (ZSTD_isError(left)) {
        if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation) return no_memory(file, error);
        return damaged(file, ZSTD_getErrorName(left), error);
    }
    if (left == 0) {
        file->in_member = false;
        file->any_member = true;
    }
    return true;
}

// Between and behind members: zeros, as tapes and some tools leave them, and a line's end.
static bool is_padding(const TextFile *file) {
    return file->any_member && !file->in_member && memchr("\0\r\n", *file->next, 3);
}

// Whether another member begins here. (Bytes of its mark may lie behind the end of `next`.)
static bool begins_member(const TextFile *file) {
    return !file->any_member ||
           (file->input->packing == FILE_GZIP ? *file->next == 0x1f
                                              : *file->next == 0x28 || *file->next >> 4 == 5);
}

static bool read_packed(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    *got = 0;
    while (*got == 0) {
        if (!fill_raw(file, error)) return false;
        // zstd may hold back text of bytes that are used up.
        if (file->raw_ended && !(file->in_member && file->unpacker)) break;
        if (!file->raw_ended && is_padding(file)) {
            use_up(file, 1);
            continue;
        }
        if (!file->in_member && !begins_member(file))
            return damaged(file, "something else follows its end", error);
        file->in_member = true;
        bool ok = file->unpacker ? unpack_some(file, out, capacity, got, error)
                                 : inflate_some(file, out, capacity, got, error);
        if (!ok) return false;
        if (file->raw_ended && *got == 0) break;
    }
    if (*got > 0 || !file->in_member) return true;
    return error_set(error, STATUS_DATA, "input %s is %s cut short after %lld bytes: fetch it again",
                     file->input->path, packing_name(file), (long long)file->raw_read);
}

bool text_file_read_bytes(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    return file->input->packing == FILE_OTHER ? read_plain(file, out, capacity, got, error)
                                              : read_packed(file, out, capacity, got, error);
}

// ---- Text

// Takes off the mark that tells the encoding, which may arrive byte by byte.
static bool begin_text(TextFile *file, Error *error) {
    enum { MARK = 4 };
    ByteBuffer *first = &file->undecoded;
    size_t got = 1;
    while (first->size < MARK && got > 0) {
        if (!text_file_read_bytes(file, bytes_reserve(first, MARK), MARK, &got, error)) return false;
        first->size += got;
    }
    size_t mark = 0;
    file->decoder.encoding = text_encoding_of(first->data, first->size, &mark);
    text_decode(&file->decoder, first->data + mark, first->size - mark, &file->decoded);
    file->decoding = true;
    return true;
}

// Decodes until there is some text, or the end.
static bool decode_more(TextFile *file, Error *error) {
    size_t got = 1;
    while (file->decoded.size == file->decoded_used && got > 0) {
        file->decoded.size = file->decoded_used = 0;
        char *bytes = bytes_reserve(&file->undecoded, TEXT_READ);
        if (!text_file_read_bytes(file, bytes, TEXT_READ, &got, error)) return false;
        text_decode(&file->decoder, bytes, got, &file->decoded);
        if (got == 0 && !text_decode_end(&file->decoder, &file->decoded)) {
            return error_set(error, STATUS_DATA,
                             "input %s ends within a character of UTF-16 or UTF-32: fetch it again",
                             file->input->path);
        }
    }
    return true;
}

bool text_file_read(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    if (!file->decoding && !begin_text(file, error)) return false;
    bool held = file->decoded.size > file->decoded_used;
    if (!held && file->decoder.encoding <= TEXT_UTF8) {
        return text_file_read_bytes(file, out, capacity, got, error);
    }
    if (!held && !decode_more(file, error)) return false;
    *got = file->decoded.size - file->decoded_used;
    if (*got > capacity) *got = capacity;
    if (*got > 0) memcpy(out, file->decoded.data + file->decoded_used, *got);
    file->decoded_used += *got;
    return true;
}
