// A block of `pack`'s inputs: a piece of a file, parsed into documents; see pack_block.h.
#include "core/pack/pack_block.h"

#include "core/pack/json_lines.h"
#include "core/base/utf8.h"

#include <string.h>

// Memory that a block keeps; a huge document's is given back.
#define KEPT_BYTES (8 * TEXT_BLOCK)

void pack_block_free(PackBlock *block) {
    bytes_free(&block->source.text);
    bytes_free(&block->text);
    bytes_free(&block->documents);
}

static void clear(ByteBuffer *buffer) {
    buffer->size = 0;
    if (buffer->capacity > KEPT_BYTES) bytes_free(buffer);
}

void pack_block_clear(PackBlock *block) {
    clear(&block->source.text);
    clear(&block->text);
    clear(&block->documents);
    block->not_utf8 = block->has_marks = false;
    block->n_documents = block->n_empty = block->n_lines = block->n_malformed = 0;
    block->n_separators = block->n_zeros = 0;
    memset(&block->ids_fault, 0, sizeof block->ids_fault);
    memset(&block->ids_seen, 0, sizeof block->ids_seen);
}

static bool is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!memchr(" \t\r\n\v\f", text[i], 6)) return false;
    return true;
}

// `size` bytes of text have come in from this place of the source; blanks alone are no document.
static void add_document(PackBlock *block, int64_t place, size_t size) {
    PackDocument document = {block->source.input->index, place, size};
    bool blank = size == 0 || is_blank(block->text.data + block->text.size - size, size);
    if (blank) block->text.size -= size;
    if (!blank)
        bytes_append(&block->documents, &document, sizeof document);
    else
        block->n_empty++;
}

static void parse_line(PackBlock *block, const char *field, int64_t number, const char *line, size_t size) {
    if (json_line_is_blank(line, size)) return;
    block->n_lines++;
    size_t before = block->text.size;
    char reason[sizeof block->malformed[0].reason];
    if (json_line_text(line, size, field, &block->text, reason, sizeof reason) == JSON_LINE_TEXT) {
        add_document(block, number, block->text.size - before);
        return;
    }
    if (block->n_malformed < PACK_NAMED_LINES) {
        block->malformed[block->n_malformed].line = number;
        memcpy(block->malformed[block->n_malformed].reason, reason, sizeof reason);
    }
    block->n_malformed++;
}

static void parse_lines(PackBlock *block, const char *field) {
    const ByteBuffer *source = &block->source.text;
    const char *at = source->data, *end = at + source->size;
    for (int64_t number = block->source.first_line; at < end; number++) {
        const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        parse_line(block, field, number, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
}

// A document between separators; the blanks behind the last one are none.
static void take_part(PackBlock *block, int64_t place, const char *text, size_t size, bool last) {
    if (last && is_blank(text, size)) return;
    if (memchr(text, 0, size)) {
        block->n_zeros++;
        return;
    }
    if (!utf8_is_valid(text, size)) block->not_utf8 = true;
    bytes_append(&block->text, text, size);
    add_document(block, place, size);
}

static void parse_parts(PackBlock *block, const Separator *separator) {
    const ByteBuffer *source = &block->source.text;
    const char *at = source->data, *end = at + source->size;
    while (at < end) {
        const char *found = separator_find(separator, at, (size_t)(end - at)), *stop = found ? found : end;
        take_part(block, block->source.first_line + (at - source->data), at, (size_t)(stop - at), !found);
        block->n_separators += found != NULL;
        at = found ? found + separator->size : end;
    }
}

// Whether it looks like many documents with a mark between them. Once may be a text about such marks.
static bool has_marks(const ByteBuffer *text) {
    static const char mark[] = PACK_DOCUMENT_MARK;
    const char *end = text->data + text->size, *found = text->data;
    for (int count = 0; count < 2; count++) {
        found = text->size ? (const char *)memmem(found, (size_t)(end - found), mark, sizeof mark - 1) : NULL;
        if (!found) return false;
        found += sizeof mark - 1;
    }
    return true;
}

// The source's text is that of the documents, as it is.
static void take_text(PackBlock *block) {
    ByteBuffer text = block->source.text;
    block->source.text = block->text;
    block->text = text;
}

void pack_block_parse(PackBlock *block, const PackConfig *config) {
    if (config->id_bytes > 0) {
        pack_ids_split(config, &block->source, &block->documents, &block->ids_seen, &block->ids_fault);
        take_text(block);
    } else if (block->source.input->json_lines) {
        parse_lines(block, config->field);
    } else if (config->separator.size > 0) {
        parse_parts(block, &config->separator);
    } else if (!block->source.binary) {
        block->not_utf8 = !utf8_is_valid(block->source.text.data, block->source.text.size);
        block->has_marks = has_marks(&block->source.text);
        take_text(block);
        add_document(block, 0, block->text.size);
    }
    block->n_documents = (int64_t)(block->documents.size / sizeof(PackDocument));
}
