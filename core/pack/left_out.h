// What a command leaves out of what it was given, counted by kind and named: nothing is dropped in silence.
#ifndef CORE_PACK_LEFT_OUT_H
#define CORE_PACK_LEFT_OUT_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LeftFile LeftFile;

typedef struct {
    const char *what; // what one is called, as "binary file"; several have an "s" behind it, or for its "*"
    int64_t count;
    LeftFile *files; // what was counted, and where
    int64_t n_files;
} LeftKind;

// All zero is an empty one.
typedef struct {
    LeftKind *kinds;
    int64_t n_kinds;
} LeftOut;

// Counts so many things of a kind, which lie in `path` or are it. `what` stays the caller's: a literal.
void left_out_add(LeftOut *left, const char *what, const char *path, int64_t count);
// How many things in all.
int64_t left_out_count(const LeftOut *left);
// One line, as "29 lines (24 of them in b.jsonl), 2 binary files (a, b)": the same in whatever order things
// were counted. A text that is too long for `size` bytes ends with "...".
void left_out_text(const LeftOut *left, char *text, size_t size);
void left_out_free(LeftOut *left);

#ifdef __cplusplus
}
#endif
#endif
