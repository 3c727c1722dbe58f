// Encodings of text, told by the mark that it begins with, and their bytes as UTF-8.
#ifndef CORE_PACK_TEXT_DECODER_H
#define CORE_PACK_TEXT_DECODER_H

#include "core/base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TEXT_BYTES, // as they are: no mark
    TEXT_UTF8,  // with a byte order mark
    TEXT_UTF16_LITTLE,
    TEXT_UTF16_BIG,
    TEXT_UTF32_LITTLE,
    TEXT_UTF32_BIG,
} TextEncoding;

// By the first bytes; *mark receives how many of them are the mark, which is no part of the text.
TextEncoding text_encoding_of(const char *first, size_t size, size_t *mark);

// All zero but the encoding before the first bytes.
typedef struct {
    TextEncoding encoding;
    unsigned char rest[4]; // of a unit that is not whole yet
    size_t n_rest;
    uint32_t high;    // a first surrogate whose second is to come
    int64_t replaced; // units that were no character, and became U+FFFD
} TextDecoder;

// Appends bytes behind the mark as UTF-8. A surrogate alone, and what is no character, becomes U+FFFD.
void text_decode(TextDecoder *decoder, const char *bytes, size_t size, ByteBuffer *out);
// Behind the last bytes; false where they end within a character.
bool text_decode_end(TextDecoder *decoder, ByteBuffer *out);

#ifdef __cplusplus
}
#endif
#endif
