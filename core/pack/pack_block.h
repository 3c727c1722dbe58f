// A block of `pack`'s inputs: a piece of a file, parsed into documents.
#ifndef CORE_PACK_PACK_BLOCK_H
#define CORE_PACK_PACK_BLOCK_H

#include "core/pack/pack_document.h"
#include "core/pack/pack_ids.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PACK_NAMED_LINES   5               // of the malformed ones
#define PACK_DOCUMENT_MARK "<|endoftext|>" // that many texts have between their documents

typedef struct {
    int64_t line;
    char reason[200];
} MalformedLine;

// All zero before its first use; the memory serves from block to block.
typedef struct {
    TextBlock source;
    ByteBuffer text;      // of the documents, one behind the other
    ByteBuffer documents; // PackDocument, none of them empty
    int64_t n_documents;
    int64_t n_empty;
    bool not_utf8;   // a text: it is kept byte for byte
    bool has_marks;  // a text: of documents' ends, and it is taken as one
    int64_t n_lines; // of JSON, blank ones not counted
    int64_t n_malformed;
    MalformedLine malformed[PACK_NAMED_LINES]; // the first of them
    PackIdsFault ids_fault;                    // of token ids, the first
    IdsSeen ids_seen;
    int64_t n_separators, n_zeros; // documents parted, and those left out as they hold a zero byte
} PackBlock;

// Empties the block for its next source.
void pack_block_clear(PackBlock *block);
// Fills in all but the source, whose text it may take.
void pack_block_parse(PackBlock *block, const PackConfig *config);
void pack_block_free(PackBlock *block);

#ifdef __cplusplus
}
#endif
#endif
