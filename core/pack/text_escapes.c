// Encodings in ASCII; see text_escapes.h.
#include "core/pack/text_escapes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LEAST_RUNS 3 // of UTF-7: fewer may be chance

static bool is_ascii(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80) return false;
    return true;
}

static int digit_of(char byte) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = byte ? strchr(digits, byte) : NULL;
    return found ? (int)(found - digits) : -1;
}

// Whether base64 digits are whole UTF-16 units, one of them beyond ASCII, with zeros behind them.
static bool is_run(const char *at, size_t size) {
    uint32_t bits = 0;
    int held = 0;
    bool beyond = false;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 6 | (uint32_t)digit_of(at[i]);
        held += 6;
        if (held < 16) continue;
        held -= 16;
        beyond = beyond || bits >> held >= 0x80;
        bits &= (1u << held) - 1;
    }
    return beyond && held < 6 && bits == 0;
}

// In UTF-7 every plus begins such digits, or stands for itself before a minus.
static bool is_utf7(const char *text, size_t size) {
    const char *end = text + size, *at = text;
    int runs = 0;
    while ((at = (const char *)memchr(at, '+', (size_t)(end - at))) != NULL) {
        const char *first = ++at;
        while (at < end && digit_of(*at) >= 0) at++;
        if (at == end) break; // more may be to come
        if (at == first && *at == '-') continue;
        if (!is_run(first, (size_t)(at - first))) return false;
        runs++;
    }
    return runs >= LEAST_RUNS;
}

const char *text_escapes_encoding(const char *text, size_t size) {
    static const char *const escapes[][2] = {
        {"\x1b$B", "ISO-2022-JP"}, {"\x1b$@", "ISO-2022-JP"}, {"\x1b$)C", "ISO-2022-KR"}};
    if (size == 0 || !is_ascii(text, size)) return NULL;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (memmem(text, size, escapes[i][0], strlen(escapes[i][0]))) return escapes[i][1];
    return is_utf7(text, size) ? "UTF-7" : NULL;
}
