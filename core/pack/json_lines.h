// JSON lines: the text of one line's document, and what a file's beginning shows of its JSON.
//
// Fields that nobody reads may hold whatever writers of JSON produce: NaN, Infinity, numbers of any size,
// lone surrogates, bytes that are no UTF-8. (Libraries refuse such a line as a whole.)
#ifndef CORE_PACK_JSON_LINES_H
#define CORE_PACK_JSON_LINES_H

#include "core/base/bytes.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_LINES_FIELD "text" // of the text, where the user names no other

// What stands before every value of a JSON text sequence (RFC 7464), and is passed over.
#define JSON_SEQUENCE_MARK '\x1e'

typedef enum {
    JSON_LINE_TEXT,      // found, maybe empty: null is taken for an empty text
    JSON_LINE_NO_FIELD,  // an object without the field, or with something else in it
    JSON_LINE_MALFORMED, // no JSON object
} JsonLine;

// Appends a field of a JSON object as UTF-8: zero characters included, lone surrogates as U+FFFD. Of a field
// that is there twice the last counts. `field` is a name, or names parted by dots that lead into objects; a
// line where both are there has no field. On anything but a text `reason` (of `reason_size` bytes) says why,
// and names the fields that hold texts.
JsonLine json_line_text(const char *line, size_t size, const char *field, ByteBuffer *out, char *reason,
                        size_t reason_size);

// Whether it can name a field: no name in it is empty.
bool json_field_is_path(const char *field);

// Whether there is nothing on a line.
bool json_line_is_blank(const char *line, size_t size);

typedef enum { JSON_BROKEN, JSON_CUT, JSON_WHOLE } JsonState;

typedef struct {
    JsonState state; // of the first value: no JSON, more of it is to come, or all of it is here
    char first;      // its first character: '{', '[' or another
    bool in_lines;   // it goes over several lines
    size_t size;     // of it, with the blanks before
} JsonShape;

// What the first bytes of a text show of its first JSON value.
JsonShape json_shape(const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
