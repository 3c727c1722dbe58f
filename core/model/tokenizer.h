// The byte tokenizer: a token is a byte value, or one of two marks around a document.
//
// Text is never searched for special tokens, so what looks like one in a document stays plain bytes.
#ifndef CORE_MODEL_TOKENIZER_H
#define CORE_MODEL_TOKENIZER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TOKEN_BOS = 256,   // begin of document
    TOKEN_EOS = 257,   // end of document
    TOKEN_COUNT = 258, // what follows in a model's vocabulary no text contains
    TOKEN_PAD = 258,   // fills up batches in other programs; none where the vocabulary ends before it
};

// BOS and the bytes of a text. tokens: room for n_bytes + 1; returns the number of tokens.
int64_t tokenizer_encode(const void *text, int64_t n_bytes, int32_t *tokens);

// The same tokenizer in the form that Hugging Face libraries read: contents of tokenizer.json and of
// tokenizer_config.json, with a pad token or without. New references.
json_t *tokenizer_json(bool pad);
json_t *tokenizer_config_json(bool pad, int64_t context);

// Whether a vocabulary of this size has room for the pad token.
static inline bool tokenizer_has_pad(int64_t vocab_size) {
    return vocab_size > TOKEN_PAD;
}

#ifdef __cplusplus
}
#endif
#endif
