// A block of `pack`'s inputs: a piece of a file, parsed into documents; see pack_block.h.
#include "pack_block.h"

#include "json_lines.h"

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
    block->n_documents = block->n_empty = block->n_lines = block->n_malformed = 0;
    memset(&block->ids_fault, 0, sizeof block->ids_fault);
}

static bool is_blank(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    }
    return true;
}

// `size` bytes of text have come in from this place of the source.
static void add_document(PackBlock *block, int64_t place, size_t size) {
    PackDocument document = {block->source.input->index, place, size};
    if (size > 0)
        bytes_append(&block->documents, &document, sizeof document);
    else
        block->n_empty++;
}

static void parse_line(PackBlock *block, int64_t number, const char *line, size_t size) {
    if (is_blank(line, size)) return;
    block->n_lines++;
    size_t before = block->text.size;
    char reason[sizeof block->malformed[0].reason];
    if (json_line_text(line, size, &block->text, reason, sizeof reason)) {
        add_document(block, number, block->text.size - before);
        return;
    }
    if (block->n_malformed < PACK_NAMED_LINES) {
        block->malformed[block->n_malformed].line = number;
        memcpy(block->malformed[block->n_malformed].reason, reason, sizeof reason);
    }
    block->n_malformed++;
}

static void parse_lines(PackBlock *block) {
    const ByteBuffer *source = &block->source.text;
    const char *at = source->data, *end = at + source->size;
    bool byte_order_mark =
        block->source.first_line == 1 && source->size >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0;
    if (byte_order_mark) at += 3;
    for (int64_t number = block->source.first_line; at < end; number++) {
        const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        parse_line(block, number, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
}

// The source's text is that of the documents, as it is.
static void take_text(PackBlock *block) {
    ByteBuffer text = block->source.text;
    block->source.text = block->text;
    block->text = text;
}

void pack_block_parse(PackBlock *block, const PackConfig *config) {
    if (config->id_bytes > 0) {
        pack_ids_split(config, &block->source, &block->documents, &block->ids_fault);
        take_text(block);
    } else if (block->source.input->json_lines) {
        parse_lines(block);
    } else if (!block->source.binary) {
        add_document(block, 0, block->source.text.size);
        take_text(block);
    }
    block->n_documents = (int64_t)(block->documents.size / sizeof(PackDocument));
}
