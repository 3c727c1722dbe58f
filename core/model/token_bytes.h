// How many bytes of text each id of a model's tokenizer stands for, as its tokenizer.json says.
//
// What counts is the text that the tokenizer decodes a document to: what it normalizes away is not there,
// marks (special tokens) have no bytes, and neither has a space that it puts before a text and takes away
// again.
#ifndef CORE_MODEL_TOKEN_BYTES_H
#define CORE_MODEL_TOKEN_BYTES_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int64_t count;  // ids: the model's vocabulary; 0 where nothing is known
    int32_t *bytes; // of each; TOKEN_MARK or TOKEN_UNKNOWN, for which there is no text
    bool *spaced; // its text begins with the space that stands before a document, which is not the document's
    char *why;    // that nothing is known; NULL where the folder has no such file
} TokenBytes;

#define TOKEN_MARK    (-1)
#define TOKEN_UNKNOWN (-2) // the tokenizer has no such id

// Nothing is known (count 0) where there is no tokenizer.json, or one of another kind than byte-level BPE or
// pieces with "▁" for a space. Release with token_bytes_free.
void token_bytes_read(TokenBytes *t, const char *folder, int64_t vocabulary);
void token_bytes_free(TokenBytes *t);

// Bytes of the text of `token` behind `before`, or TOKEN_UNKNOWN.
int64_t token_bytes_of(const TokenBytes *t, int64_t before, int64_t token);

#ifdef __cplusplus
}
#endif
#endif
