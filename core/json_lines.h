// JSON lines: the text of one line's document.
#ifndef CORE_JSON_LINES_H
#define CORE_JSON_LINES_H

#include "bytes.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Must run once before lines are parsed on several threads.
void json_lines_prepare(void);

// Appends the value of the field `text` of a JSON object, as UTF-8, zero characters included. False when the
// line is no such object; `reason` (of `reason_size` bytes) then says why.
bool json_line_text(const char *line, size_t size, ByteBuffer *out, char *reason, size_t reason_size);

#ifdef __cplusplus
}
#endif
#endif
