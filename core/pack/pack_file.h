// A file that `pack` reads, the list of all, and why one cannot be taken.
#ifndef CORE_PACK_PACK_FILE_H
#define CORE_PACK_PACK_FILE_H

#include "core/base/file_kind.h"
#include "core/pack/left_out.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *path;         // as messages have it
    int64_t index;      // among the inputs, from 0
    bool json_lines;    // one document a line; any other file is one document
    bool page;          // a web page, by another name
    bool table;         // a text whose lines have columns
    bool list;          // a text whose lines are names of files or addresses
    bool encoded;       // its text is not on disk as UTF-8 or bytes
    FileReader packing; // FILE_GZIP, FILE_ZSTD, or FILE_OTHER: none
    int copy;           // what was piped in, as an open file without a name; 0: none, it has a path
    bool from_folder;   // found by walking a folder: left out where a file that is named would be refused
    int64_t size;       // bytes as they lie on disk
    int64_t start;      // of ids: bytes of a header before the first, when decompressed
    int64_t stated_ids; // that the header counts; 0: none does
} PackInput;

typedef struct {
    PackInput *files;
    int64_t count;
    int64_t bytes; // sum of the sizes
    LeftOut left;  // what is not taken
    void *seen;    // the files so far, whatever their names
} PackInputs;

// Why a file cannot be taken: one that is named by itself is refused, one of a folder is left out.
typedef struct {
    const char *what; // for the count of what is left out (left_out.h); NULL: it can be taken
    char why[900];    // for a message, as "is a Parquet file: ..."
    bool fatal;       // one of a folder is refused too
} PackRefusal;

void pack_refuse(PackRefusal *refusal, const char *what, const char *why, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
