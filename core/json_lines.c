// JSON lines: the text of one line's document; see json_lines.h.
#include "json_lines.h"

#include <jansson.h>
#include <stdio.h>

void json_lines_prepare(void) {
    json_object_seed(0);
}

bool json_line_text(const char *line, size_t size, ByteBuffer *out, char *reason, size_t reason_size) {
    // Integers of up to 308 digits are allowed in the fields that nobody reads here.
    json_error_t problem;
    json_t *object = json_loadb(line, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &problem);
    if (!object) {
        snprintf(reason, reason_size, "%s at byte %d", problem.text, problem.position);
        return false;
    }
    const json_t *text = json_object_get(object, "text");
    bool found = json_is_string(text);
    if (found)
        bytes_append(out, json_string_value(text), json_string_length(text));
    else if (!json_is_object(object))
        snprintf(reason, reason_size, "no JSON object");
    else
        snprintf(reason, reason_size, text ? "field \"text\" is no string" : "no field \"text\"");
    json_decref(object);
    return found;
}
