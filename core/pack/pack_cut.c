// Where a document is cut in two; see pack_cut.h.
#include "core/pack/pack_cut.h"

#include <stdbool.h>
#include <string.h>

#define BLANK_WITHIN 1000 // bytes before the cut in which a blank is looked for

// The first of a line behind `at`, or else of the last line; 0 where that would leave too little before it.
static size_t line_start(const char *text, size_t size, size_t at) {
    const char *newline = (const char *)memchr(text + at - 1, '\n', size - at); // not the text's last byte
    if (newline) return (size_t)(newline + 1 - text);
    newline = (const char *)memrchr(text, '\n', at - 1);
    size_t start = newline ? (size_t)(newline + 1 - text) : 0;
    return start >= size / 2 ? start : 0;
}

static bool is_within_character(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80; // of UTF-8
}

static size_t place_in_line(const char *text, size_t at) {
    size_t least = at > BLANK_WITHIN ? at - BLANK_WITHIN : 1;
    for (size_t i = at; i > least; i--)
        if (text[i - 1] == ' ') return i;
    while (at > 1 && is_within_character(text[at])) at--;
    return at;
}

static size_t first_behind(size_t size, size_t wanted) {
    if (wanted < 1) wanted = 1;
    if (wanted > size / 2) wanted = size / 2;
    return size - wanted;
}

size_t pack_cut_text(const char *text, size_t size, size_t wanted) {
    if (size < 2) return 0;
    size_t at = first_behind(size, wanted), start = line_start(text, size, at);
    return start > 0 ? start : place_in_line(text, at);
}

size_t pack_cut_ids(size_t size, size_t width, size_t wanted) {
    return size < 2 * width ? 0 : first_behind(size / width, wanted / width) * width;
}
