// Passkey texts; see passkey.h.
#include "core/data/passkey.h"

#include "core/base/random.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const char filler[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static char *put(char *at, const char *text) {
    size_t size = strlen(text);
    memcpy(at, text, size);
    return at + size;
}

int passkey_text(uint64_t seed, uint64_t number, double depth, int64_t size, char *text) {
    assert(size >= PASSKEY_MIN_BYTES && depth >= 0 && depth <= 1);
    int64_t n_filler = size - PASSKEY_MIN_BYTES, before = llround(depth * (double)n_filler);
    int digit = (int)(random_bits(seed, number, 0) % 10);
    char *at = text;
    for (int64_t i = 0; i <= n_filler; i++) {
        if (i == before) {
            at = put(at, PASSKEY_PHRASE);
            *at++ = (char)('0' + digit);
            at = put(at, PASSKEY_END);
        }
        if (i < n_filler) *at++ = filler[random_bits(seed, number, 1 + (uint64_t)i) % (sizeof filler - 1)];
    }
    at = put(at, PASSKEY_PHRASE);
    assert(at == text + size);
    return digit;
}
