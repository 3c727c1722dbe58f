// Text sources: an input file as blocks; see text_source.h.
#include "core/pack/text_source.h"

#include "core/base/host_memory.h"

#include <string.h>

#define LARGE_DOCUMENT ((size_t)64 << 20) // bytes from which on the machine's memory is looked at

// Passes over the header before ids.
static bool skip(TextFile *file, int64_t bytes, Error *error) {
    char passed[4096];
    size_t got = 1;
    while (bytes > 0 && got > 0) {
        size_t most = bytes < (int64_t)sizeof passed ? (size_t)bytes : sizeof passed;
        if (!text_file_read_bytes(file, passed, most, &got, error)) return false;
        bytes -= (int64_t)got;
    }
    return true;
}

static bool has_separator(const TextReader *reader) {
    return reader->cuts.separator && reader->cuts.separator->size > 0 && !reader->file.input->json_lines;
}

bool text_reader_open(TextReader *reader, const PackInput *input, TextCuts cuts, Error *error) {
    if (!text_file_open(&reader->file, input, error)) return false;
    reader->open = true;
    reader->cuts = cuts;
    reader->line = input->json_lines ? 1 : 0;
    reader->counted = 0;
    return skip(&reader->file, input->start, error);
}

static void close_file(TextReader *reader) {
    text_file_close(&reader->file);
    reader->open = false;
}

void text_reader_close(TextReader *reader) {
    if (reader->open) close_file(reader);
    bytes_free(&reader->rest);
}

// Whether a text that is about to outgrow its room, to as much again, may: a document is held in memory.
static bool may_grow(const TextReader *reader, const ByteBuffer *text, Error *error) {
    if (text->size < LARGE_DOCUMENT || text->capacity - text->size >= TEXT_READ) return true;
    size_t available = host_memory_available(); // 0: nobody knows
    if (available == 0 || available > text->size) return true;
    return error_set(error, STATUS_MEMORY,
                     "no memory for a document in %s of more than %zu bytes on the host: split it",
                     reader->file.input->path, text->size);
}

// Reads on into `text`; *ended is set at the file's end.
static bool read_more(TextReader *reader, ByteBuffer *text, bool *ended, Error *error) {
    size_t got = 0;
    if (!may_grow(reader, text, error)) return false;
    char *room = bytes_reserve(text, TEXT_READ);
    bool ok = reader->cuts.id_bytes > 0 ? text_file_read_bytes(&reader->file, room, TEXT_READ, &got, error)
                                        : text_file_read(&reader->file, room, TEXT_READ, &got, error);
    if (!ok) return false;
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

// How many bytes the last whole line, document, or document of ids, ends behind; 0 where none ends from
// `from` on. Separators are looked for from the start, as the first that fits counts.
static size_t last_end(const TextReader *reader, const ByteBuffer *text, size_t from) {
    const TextCuts *cuts = &reader->cuts;
    if (has_separator(reader)) {
        const char *start = text->data + from, *end = text->data + text->size, *found;
        size_t last = 0;
        while ((found = separator_find(cuts->separator, start, (size_t)(end - start))) != NULL) {
            start = found + cuts->separator->size;
            last = (size_t)(start - text->data);
        }
        return last;
    }
    if (cuts->id_bytes == 0) {
        const char *newline = (const char *)memrchr(text->data + from, '\n', text->size - from);
        return newline ? (size_t)(newline + 1 - text->data) : 0;
    }
    size_t width = (size_t)cuts->id_bytes;
    for (size_t i = text->size / width; i > from / width; i--) {
        if (text_id(text->data + (i - 1) * width, cuts->id_bytes) == cuts->document_end) return i * width;
    }
    return 0;
}

// A separator may have begun in what was searched already.
static size_t search_from(const TextReader *reader, size_t searched) {
    if (searched < TEXT_BLOCK) return 0;
    size_t back = has_separator(reader) ? reader->cuts.separator->size - 1 : 0;
    return searched - back;
}

static int64_t count_places(const TextReader *reader, const ByteBuffer *text) {
    if (reader->cuts.id_bytes > 0) return (int64_t)text->size / reader->cuts.id_bytes;
    return has_separator(reader) ? (int64_t)text->size : count_newlines(text->data, text->size);
}

// Whole lines or documents, at least TEXT_BLOCK bytes unless the file ends before.
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
        whole = last_end(reader, text, search_from(reader, before));
    }
    if (!*ended) {
        bytes_append(&reader->rest, text->data + whole, text->size - whole);
        text->size = whole;
    }
    reader->line += count_places(reader, text);
    return true;
}

// A whole file; it is given up at its first zero byte, as ids are not.
static bool read_document(TextReader *reader, TextBlock *block, bool *ended, Error *error) {
    while (!*ended && !block->binary) {
        size_t before = block->text.size;
        if (!read_more(reader, &block->text, ended, error)) return false;
        block->binary =
            reader->cuts.id_bytes == 0 && memchr(block->text.data + before, 0, block->text.size - before);
    }
    if (block->binary) block->text.size = 0;
    *ended = true;
    return true;
}

bool text_reader_next(TextReader *reader, TextBlock *block, Error *error) {
    block->input = reader->file.input;
    block->first_line = 0;
    block->binary = false;
    bool many = block->input->json_lines || has_separator(reader) ||
                (reader->cuts.id_bytes > 0 && reader->cuts.document_end >= 0);
    bool ended = false;
    if (!(many ? read_whole(reader, block, &ended, error) : read_document(reader, block, &ended, error))) {
        return false;
    }
    int64_t position = ended ? block->input->size : text_file_position(&reader->file);
    block->disk_bytes = position - reader->counted;
    block->last = ended;
    block->replaced = ended && reader->file.decoder.replaced > 0;
    reader->counted = position;
    if (ended) close_file(reader);
    return true;
}
