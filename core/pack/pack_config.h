// What a pack is told to do, and what it tells of what it did.
#ifndef CORE_PACK_PACK_CONFIG_H
#define CORE_PACK_PACK_CONFIG_H

#include "core/pack/separator.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char **inputs; // files and folders
    int n_inputs;
    const char *out;      // folder for the shards; made when missing, refused when it holds shards
    int64_t shard_tokens; // about, when shuffled; else a shard ends with the document that reaches it
    double val_fraction;  // of the documents, in [0, 1)
    uint64_t seed;
    bool shuffle;
    int threads;             // at least 1
    bool max_bad_given;      // by the user: it must have an effect
    double max_bad_fraction; // malformed lines allowed, as a share of all lines of JSON
    const char *field;       // of JSON lines, that holds the text: a name, or names parted by dots
    bool strict;             // whatever is left out is an error
    bool progress;           // report on standard error while running
    double passkey_fraction; // of the training tokens, in passkey documents that are mixed in; in [0, 1)
    int64_t passkey_min, passkey_max; // tokens of one, marks included; see pack_passkey.h
    // Token ids instead of text. They go into the shards as they are, no mark added.
    int id_bytes;         // an id's width in the inputs, little-endian: 2 or 4; 0 for text
    int64_t vocab;        // every id is below
    int64_t document_end; // the id that ends a document and stays in it; -1: a file is one document
    Separator separator;  // between the documents of a text file, and in none of them
} PackConfig;

typedef struct {
    int64_t documents, tokens, bytes, shards; // bytes are those of the text, none of ids
    int64_t long_documents, longest; // of more tokens than a shard is to have; tokens of the longest of all
} PackCounts;

typedef struct {
    PackCounts train, val;
    PackCounts passkeys; // those of train that are passkey documents
    int64_t files;
    int64_t lines;           // of JSON, blank ones not counted
    int64_t malformed_lines; // left out
    int64_t empty_documents; // left out
    char beside[500];        // files of plain text among those of JSON lines, in words
    char other_sets[500];    // files for validation or tests by their names, packed with the rest, in words
    char unparted[500];      // texts without --separator among others with it, each taken as one, in words
    char marked[500];        // texts with marks between documents, each taken as one, in words
    char pages[500];         // web pages by other names, packed as texts, in words
    char tables[500];        // texts whose lines have columns, each taken as one, in words
    char lists[500];         // texts whose lines are names of files or addresses, in words
    char kept[500];          // texts that are not UTF-8, taken byte for byte, in words
    char replaced[500];      // texts of UTF-16 or UTF-32 with what is no character, in words
    int64_t left;            // of everything that is left out
    char left_out[2000];     // the same in words (left_out.h)
    char tail[1200];         // where validation was cut from the end of a document: which; else ""
    char share[300]; // where documents for validation are far more or less text than asked for; else ""
    double seconds;
} PackReport;

#endif
