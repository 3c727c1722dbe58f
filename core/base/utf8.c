// UTF-8: sequences of bytes checked and made; see utf8.h.
#include "core/base/utf8.h"

#include <string.h>

static bool continues(const char *at, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80) return false;
    }
    return true;
}

// Overlong forms, surrogates and what is beyond 0x10ffff are told by the second byte.
static bool second_fits(unsigned char first, unsigned char second) {
    switch (first) {
    case 0xe0: return second >= 0xa0;
    case 0xed: return second < 0xa0;
    case 0xf0: return second >= 0x90;
    case 0xf4: return second < 0x90;
    default: return true;
    }
}

size_t utf8_length(const char *at, const char *end) {
    if (at == end) return 0;
    unsigned char first = (unsigned char)*at;
    if (first < 0x80) return 1;
    size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || (size_t)(end - at) < length || !continues(at + 1, length - 1)) return 0;
    return second_fits(first, (unsigned char)at[1]) ? length : 0;
}

bool utf8_is_valid(const char *text, size_t size) {
    const char *at = text, *end = text + size;
    while (at < end) {
        uint64_t eight;
        while (end - at >= 8) { // of ASCII, as most are
            memcpy(&eight, at, 8);
            if (eight & 0x8080808080808080) break;
            at += 8;
        }
        if (at == end) break;
        size_t length = utf8_length(at, end);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

size_t utf8_put(char *out, uint32_t code) {
    if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff) code = UTF8_REPLACEMENT;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(marks[length] | code);
    return length;
}
