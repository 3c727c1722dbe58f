// Text sources: the bytes of an input file, gzip undone, and its blocks: whole lines, or the whole file.
#ifndef CORE_TEXT_SOURCE_H
#define CORE_TEXT_SOURCE_H

#include "bytes.h"
#include "error.h"
#include "pack_input.h"

#include <zlib.h>

#ifdef __cplusplus
extern "C" {
#endif

// Fuzzers, whose files are small, want smaller pieces.
#ifndef TEXT_BLOCK
#define TEXT_BLOCK ((size_t)1 << 20) // bytes of whole lines that travel together
#define TEXT_READ  ((size_t)1 << 18) // bytes read at a time
#endif
#define TEXT_MAX_DOCUMENT ((size_t)1 << 32) // bytes of one document or line: all of it is held in memory

// ---- One file

typedef struct {
    const PackInput *input;
    int file;
    unsigned char *raw; // bytes as they lie on disk
    int64_t raw_read;   // of them, so far
    bool raw_ended;
    z_stream inflater; // next_in and avail_in serve uncompressed files too
    bool in_member;    // a gzip member has begun and not ended
} TextFile;

bool text_file_open(TextFile *file, const PackInput *input, Error *error);
void text_file_close(TextFile *file);

// Up to `capacity` bytes of text; *got is 0 only at the end. A gzip file may hold several members, one behind
// the other; one that is cut short or damaged is an error (3).
bool text_file_read(TextFile *file, char *out, size_t capacity, size_t *got, Error *error);

// Bytes on disk used up so far.
int64_t text_file_position(const TextFile *file);

// ---- Blocks of one file

// Ids in place of text: a file is an array of them, cut behind each that ends a document.
typedef struct {
    int bytes;            // an id's width, little-endian: 2 or 4; 0 for text
    int64_t document_end; // the id; -1: a file is one document
} TextIds;

// The id at an address.
static inline int64_t text_id(const char *at, int bytes) {
    const unsigned char *byte = (const unsigned char *)at;
    int64_t id = byte[0] | byte[1] << 8;
    return bytes == 2 ? id : id | (int64_t)byte[2] << 16 | (int64_t)byte[3] << 24;
}

typedef struct {
    const PackInput *input;
    ByteBuffer text;    // whole lines of JSON, whole documents of ids, or one document
    int64_t first_line; // line number of the first line, from 1; of ids the place of the first, from 0
    bool binary;        // a file in a folder that turned out binary: no text
    bool last;          // of its file
    int64_t disk_bytes; // of the file, used up with this block and not with earlier ones
} TextBlock;

typedef struct {
    TextIds ids;
    TextFile file;
    bool open;       // there is a next block
    ByteBuffer rest; // start of a line, or of a document of ids, that belongs to the next block
    int64_t line;    // its number, or place
    int64_t counted; // bytes on disk of earlier blocks
} TextReader;

// Begins a file; `reader` is all zero, or has given the last block of another one. Every file has a block.
bool text_reader_open(TextReader *reader, const PackInput *input, TextIds ids, Error *error);
void text_reader_close(TextReader *reader);

// The next block of a reader that is open; behind the file's last one it is no longer so. block->text is
// empty before, and may have memory.
bool text_reader_next(TextReader *reader, TextBlock *block, Error *error);

#ifdef __cplusplus
}
#endif
#endif
