// What stands between the documents of a text file; see separator.h.
#include "core/pack/separator.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// The byte that an escape stands for, and its length without the backslash; 0 for none.
static size_t read_escape(const char *typed, char *byte) {
    static const char letters[] = "nrt\\", bytes[] = "\n\r\t\\";
    const char *letter = *typed ? strchr(letters, *typed) : NULL;
    if (letter) {
        *byte = bytes[letter - letters];
        return 1;
    }
    if (*typed != 'x' || !isxdigit((unsigned char)typed[1]) || !isxdigit((unsigned char)typed[2])) return 0;
    const char digits[3] = {typed[1], typed[2], 0};
    *byte = (char)strtol(digits, NULL, 16);
    return *byte ? 3 : 0;
}

bool separator_read(Separator *separator, const char *typed, Error *error) {
    const char *at = typed;
    separator->size = 0;
    while (*at) {
        if (separator->size == SEPARATOR_MOST) {
            return error_set(error, STATUS_USAGE, "--separator has more than %d bytes", SEPARATOR_MOST);
        }
        char byte = *at;
        size_t used = *at == '\\' ? read_escape(at + 1, &byte) : 1;
        if (used == 0) {
            return error_set(
                error, STATUS_USAGE,
                "--separator %s: \\n, \\r, \\t, \\\\ and \\x01 to \\xff are known behind a backslash", typed);
        }
        separator->bytes[separator->size++] = byte;
        at += used + (*at == '\\');
    }
    return separator->size > 0 ||
           error_set(error, STATUS_USAGE,
                     "--separator is empty: give the text between documents, or leave it out");
}

const char *separator_find(const Separator *separator, const char *text, size_t size) {
    return (const char *)memmem(text, size, separator->bytes, separator->size);
}
