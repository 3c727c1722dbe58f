// Text sources: an input file as blocks: whole lines, or the whole file.
#ifndef CORE_PACK_TEXT_SOURCE_H
#define CORE_PACK_TEXT_SOURCE_H

#include "core/pack/separator.h"
#include "core/pack/text_file.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TEXT_MAX_DOCUMENT ((size_t)1 << 32) // bytes of one document or line: all of it is held in memory

// Where files are cut into documents, other than at lines of JSON.
typedef struct {
    // Ids in place of text: a file is an array of them, cut behind each that ends a document.
    int id_bytes;               // an id's width, little-endian: 2 or 4; 0 for text
    int64_t document_end;       // the id; -1: a file is one document
    const Separator *separator; // of text; of size 0: a file is one document
} TextCuts;

// The id at an address.
static inline int64_t text_id(const char *at, int bytes) {
    const unsigned char *byte = (const unsigned char *)at;
    int64_t id = byte[0] | byte[1] << 8;
    return bytes == 2 ? id : id | (int64_t)byte[2] << 16 | (int64_t)byte[3] << 24;
}

typedef struct {
    const PackInput *input;
    ByteBuffer text;    // whole lines of JSON, documents with what parts them, whole documents of ids, or one
    int64_t first_line; // line number of the first line, from 1; the place of the first id or byte, from 0
    bool binary;        // a file that turned out binary, as it holds a zero: no text
    bool replaced;      // of a file's last: some of its UTF-16 or UTF-32 is no character
    bool last;          // of its file
    int64_t disk_bytes; // of the file, used up with this block and not with earlier ones
} TextBlock;

typedef struct {
    TextCuts cuts;
    TextFile file;
    bool open;       // there is a next block
    ByteBuffer rest; // start of a line, or of a document of ids, that belongs to the next block
    int64_t line;    // its number, or place
    int64_t counted; // bytes on disk of earlier blocks
} TextReader;

// Begins a file; `reader` is all zero, or has given the last block of another one. Every file has a block.
bool text_reader_open(TextReader *reader, const PackInput *input, TextCuts cuts, Error *error);
void text_reader_close(TextReader *reader);

// The next block of a reader that is open; behind the file's last one it is no longer so. block->text is
// empty before, and may have memory.
bool text_reader_next(TextReader *reader, TextBlock *block, Error *error);

#ifdef __cplusplus
}
#endif
#endif
