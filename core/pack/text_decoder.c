// Encodings of text, and their bytes as UTF-8; see text_decoder.h.
#include "core/pack/text_decoder.h"

#include "core/base/utf8.h"

#include <string.h>

typedef struct {
    const char *mark;
    size_t size;
    TextEncoding encoding;
} Mark;

TextEncoding text_encoding_of(const char *first, size_t size, size_t *mark) {
    static const Mark marks[] = {
        {"\xef\xbb\xbf", 3, TEXT_UTF8},      {"\xff\xfe\0\0", 4, TEXT_UTF32_LITTLE},
        {"\0\0\xfe\xff", 4, TEXT_UTF32_BIG}, {"\xff\xfe", 2, TEXT_UTF16_LITTLE},
        {"\xfe\xff", 2, TEXT_UTF16_BIG},
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (size < marks[i].size || memcmp(first, marks[i].mark, marks[i].size) != 0) continue;
        *mark = marks[i].size;
        return marks[i].encoding;
    }
    *mark = 0;
    return TEXT_BYTES;
}

static bool is_big(TextEncoding encoding) {
    return encoding == TEXT_UTF16_BIG || encoding == TEXT_UTF32_BIG;
}

static size_t unit_bytes(TextEncoding encoding) {
    return encoding == TEXT_UTF16_LITTLE || encoding == TEXT_UTF16_BIG ? 2 : 4;
}

static uint32_t unit_of(const TextDecoder *decoder, const unsigned char *bytes) {
    size_t width = unit_bytes(decoder->encoding);
    uint32_t unit = 0;
    for (size_t i = 0; i < width; i++) {
        unit = unit << 8 | bytes[is_big(decoder->encoding) ? i : width - 1 - i];
    }
    return unit;
}

static void put(ByteBuffer *out, uint32_t code) {
    out->size += utf8_put(bytes_reserve(out, 4), code);
}

static bool is_character(uint32_t code) {
    return code < 0xd800 || (code >= 0xe000 && code <= 0x10ffff);
}

static void end_pair(TextDecoder *decoder, ByteBuffer *out) {
    if (decoder->high) put(out, UTF8_REPLACEMENT);
    decoder->replaced += decoder->high != 0;
    decoder->high = 0;
}

// Units of 4 bytes are characters, and surrogates among them are alone.
static void decode_unit(TextDecoder *decoder, uint32_t unit, ByteBuffer *out) {
    bool pairs = unit_bytes(decoder->encoding) == 2;
    if (decoder->high && unit >= 0xdc00 && unit < 0xe000) {
        put(out, 0x10000 + ((decoder->high - 0xd800) << 10) + (unit - 0xdc00));
        decoder->high = 0;
        return;
    }
    end_pair(decoder, out);
    if (pairs && unit >= 0xd800 && unit < 0xdc00) {
        decoder->high = unit;
        return;
    }
    decoder->replaced += !is_character(unit);
    put(out, unit);
}

void text_decode(TextDecoder *decoder, const char *bytes, size_t size, ByteBuffer *out) {
    if (decoder->encoding == TEXT_BYTES || decoder->encoding == TEXT_UTF8) {
        bytes_append(out, bytes, size);
        return;
    }
    size_t width = unit_bytes(decoder->encoding);
    for (size_t i = 0; i < size; i++) {
        decoder->rest[decoder->n_rest++] = (unsigned char)bytes[i];
        if (decoder->n_rest < width) continue;
        decode_unit(decoder, unit_of(decoder, decoder->rest), out);
        decoder->n_rest = 0;
    }
}

bool text_decode_end(TextDecoder *decoder, ByteBuffer *out) {
    end_pair(decoder, out);
    return decoder->n_rest == 0;
}
