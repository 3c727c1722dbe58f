// Text sources: the bytes of an input file, gzip undone, and its blocks; see text_source.h.
#include "text_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- One file

bool text_file_open(TextFile *file, const PackInput *input, Error *error) {
    memset(file, 0, sizeof *file);
    file->input = input;
    file->file = open(input->path, O_RDONLY | O_CLOEXEC);
    if (file->file < 0) return error_set_errno(error, STATUS_DATA, "cannot open input %s", input->path);
    if (input->gzip && inflateInit2(&file->inflater, 15 + 16) != Z_OK) {
        close(file->file);
        return error_set(error, STATUS_MEMORY, "no memory to decompress %s", input->path);
    }
    file->raw = (unsigned char *)alloc_or_exit(TEXT_READ, 1);
    return true;
}

void text_file_close(TextFile *file) {
    if (file->input->gzip) inflateEnd(&file->inflater);
    close(file->file);
    free(file->raw);
    memset(file, 0, sizeof *file);
}

int64_t text_file_position(const TextFile *file) {
    return file->raw_read - (int64_t)file->inflater.avail_in;
}

// Reads raw bytes when all earlier ones are used up.
static bool fill_raw(TextFile *file, Error *error) {
    if (file->inflater.avail_in > 0 || file->raw_ended) return true;
    ssize_t got;
    do got = read(file->file, file->raw, TEXT_READ);
    while (got < 0 && errno == EINTR);
    if (got < 0) return error_set_errno(error, STATUS_DATA, "cannot read input %s", file->input->path);
    file->raw_ended = got == 0;
    file->raw_read += got;
    file->inflater.next_in = file->raw;
    file->inflater.avail_in = (uInt)got;
    return true;
}

static bool read_plain(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    if (!fill_raw(file, error)) return false;
    size_t size = file->inflater.avail_in < capacity ? file->inflater.avail_in : capacity;
    if (size > 0) memcpy(out, file->inflater.next_in, size);
    file->inflater.next_in += size;
    file->inflater.avail_in -= (uInt)size;
    *got = size;
    return true;
}

static bool gzip_error(const TextFile *file, int code, Error *error) {
    if (code == Z_MEM_ERROR) {
        return error_set(error, STATUS_MEMORY, "no memory to decompress %s", file->input->path);
    }
    return error_set(error, STATUS_DATA, "input %s is damaged gzip at byte %lld of %lld (%s): fetch it again",
                     file->input->path, (long long)text_file_position(file), (long long)file->input->size,
                     file->inflater.msg ? file->inflater.msg : "a dictionary is wanted");
}

static bool read_gzip(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    z_stream *stream = &file->inflater;
    assert(capacity <= UINT32_MAX);
    stream->next_out = (Bytef *)out;
    stream->avail_out = (uInt)capacity;
    while (stream->avail_out == capacity) {
        if (!fill_raw(file, error)) return false;
        if (file->raw_ended && file->in_member) {
            return error_set(error, STATUS_DATA,
                             "input %s is gzip cut short after %lld bytes: fetch it again", file->input->path,
                             (long long)file->raw_read);
        }
        if (file->raw_ended) break;
        if (!file->in_member && file->raw_read > (int64_t)stream->avail_in && *stream->next_in == 0) {
            stream->next_in++; // zero padding between or behind members, as tapes and some tools leave it
            stream->avail_in--;
            continue;
        }
        file->in_member = true;
        int code = inflate(stream, Z_NO_FLUSH);
        if (code == Z_STREAM_END) {
            file->in_member = false;
            inflateReset(stream);
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            return gzip_error(file, code, error);
        }
    }
    *got = capacity - stream->avail_out;
    return true;
}

bool text_file_read(TextFile *file, char *out, size_t capacity, size_t *got, Error *error) {
    return file->input->gzip ? read_gzip(file, out, capacity, got, error)
                             : read_plain(file, out, capacity, got, error);
}

// ---- Blocks of one file

bool text_reader_open(TextReader *reader, const PackInput *input, TextIds ids, Error *error) {
    if (!text_file_open(&reader->file, input, error)) return false;
    reader->open = true;
    reader->ids = ids;
    reader->line = ids.bytes > 0 ? 0 : 1;
    reader->counted = 0;
    return true;
}

static void close_file(TextReader *reader) {
    text_file_close(&reader->file);
    reader->open = false;
}

void text_reader_close(TextReader *reader) {
    if (reader->open) close_file(reader);
    bytes_free(&reader->rest);
}

// Reads on into `text`; *ended is set at the file's end.
static bool read_more(TextReader *reader, ByteBuffer *text, bool *ended, Error *error) {
    size_t got = 0;
    if (!text_file_read(&reader->file, bytes_reserve(text, TEXT_READ), TEXT_READ, &got, error)) return false;
    text->size += got;
    *ended = got == 0;
    if (text->size <= TEXT_MAX_DOCUMENT) return true;
    return error_set(error, STATUS_DATA, "a document in %s has more than %zu bytes: split it",
                     reader->file.input->path, TEXT_MAX_DOCUMENT);
}

static int64_t count_newlines(const char *text, size_t size) {
    int64_t count = 0;
    for (size_t i = 0; i < size; i++) count += text[i] == '\n';
    return count;
}

// How many bytes the last whole line, or document of ids, ends behind; 0 where none ends from `from` on.
static size_t last_end(const TextIds *ids, const ByteBuffer *text, size_t from) {
    if (ids->bytes == 0) {
        const char *newline = (const char *)memrchr(text->data + from, '\n', text->size - from);
        return newline ? (size_t)(newline + 1 - text->data) : 0;
    }
    size_t width = (size_t)ids->bytes;
    for (size_t i = text->size / width; i > from / width; i--) {
        if (text_id(text->data + (i - 1) * width, ids->bytes) == ids->document_end) return i * width;
    }
    return 0;
}

// Whole lines or documents of ids, at least TEXT_BLOCK bytes unless the file ends before.
static bool read_whole(TextReader *reader, TextBlock *block, bool *ended, Error *error) {
    ByteBuffer *text = &block->text;
    bytes_append(text, reader->rest.data, reader->rest.size);
    reader->rest.size = 0;
    block->first_line = reader->line;
    size_t whole = 0;
    while (!*ended && whole == 0) {
        size_t before = text->size;
        if (!read_more(reader, text, ended, error)) return false;
        if (text->size < TEXT_BLOCK) continue;
        // What was searched already holds no end only when it made a full block by itself.
        whole = last_end(&reader->ids, text, before >= TEXT_BLOCK ? before : 0);
    }
    if (!*ended) {
        bytes_append(&reader->rest, text->data + whole, text->size - whole);
        text->size = whole;
    }
    reader->line += reader->ids.bytes > 0 ? (int64_t)text->size / reader->ids.bytes
                                          : count_newlines(text->data, text->size);
    return true;
}

// A whole file; one of a folder is given up at its first zero byte.
static bool read_document(TextReader *reader, TextBlock *block, bool *ended, Error *error) {
    while (!*ended && !block->binary) {
        size_t before = block->text.size;
        if (!read_more(reader, &block->text, ended, error)) return false;
        block->binary =
            block->input->from_folder && memchr(block->text.data + before, 0, block->text.size - before);
    }
    if (block->binary) block->text.size = 0;
    *ended = true;
    return true;
}

bool text_reader_next(TextReader *reader, TextBlock *block, Error *error) {
    block->input = reader->file.input;
    block->first_line = 0;
    block->binary = false;
    bool many = block->input->json_lines || (reader->ids.bytes > 0 && reader->ids.document_end >= 0);
    bool ended = false;
    if (!(many ? read_whole(reader, block, &ended, error) : read_document(reader, block, &ended, error))) {
        return false;
    }
    int64_t position = ended ? block->input->size : text_file_position(&reader->file);
    block->disk_bytes = position - reader->counted;
    block->last = ended;
    reader->counted = position;
    if (ended) close_file(reader);
    return true;
}
