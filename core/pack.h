// pack: text files and folders, or files of ready token ids, to training and validation shards.
//
// Each of several threads takes the next piece of an input: reads it, parses it and deals its documents out,
// by their place in the inputs (pack_document.h), so that the result does not depend on the number of
// threads. When shuffling, the threads read as many files at a time; then each makes shards.
#ifndef CORE_PACK_H
#define CORE_PACK_H

#include "error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char **inputs; // files and folders
    int n_inputs;
    const char *out;      // folder for the shards; made when missing, refused when it holds shards
    int64_t shard_tokens; // about, when shuffled; else a shard ends with the document that reaches it
    double val_fraction;  // of the documents, in [0, 1)
    uint64_t seed;
    bool shuffle;
    int threads;             // at least 1
    double max_bad_fraction; // malformed lines allowed, as a share of all lines of JSON
    bool progress;           // report on standard error while running
    double passkey_fraction; // of the training tokens, in passkey documents that are mixed in; in [0, 1)
    int64_t passkey_min, passkey_max; // tokens of one, marks included; see pack_passkey.h
    // Ready token ids instead of text. They go into the shards as they are, no mark added.
    int id_bytes;         // an id's width in the inputs, little-endian: 2 or 4; 0 for text
    int64_t vocab;        // every id is below
    int64_t document_end; // the id that ends a document and stays in it; -1: a file is one document
} PackConfig;

// What PackConfig holds where the user says nothing.
#define PACK_SHARD_TOKENS     INT64_C(100000000)
#define PACK_MAX_BAD_FRACTION 0.001

typedef struct {
    int64_t documents, tokens, bytes, shards; // bytes are those of the text, none of ids
} PackCounts;

typedef struct {
    PackCounts train, val;
    PackCounts passkeys; // those of train that are passkey documents
    int64_t files;
    int64_t lines;           // of JSON, blank ones not counted
    int64_t malformed_lines; // left out
    int64_t empty_documents; // left out
    int64_t binary_files;    // in folders, left out
    double seconds;
} PackReport;

// Packs everything or fails and leaves no shard: status 2 for impossible settings or a folder already in use,
// 3 for inputs that are missing, damaged or malformed beyond the share, and for files that cannot be written.
bool pack_run(const PackConfig *config, PackReport *report, Error *error);

#ifdef __cplusplus
}
#endif
#endif
