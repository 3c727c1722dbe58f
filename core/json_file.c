// JSON files: reading with care; see json_file.h.
#include "json_file.h"
#include "files.h"

#include <math.h>
#include <stdlib.h>

#define MAX_BYTES (64 << 20)

json_t *json_file_read(const char *path, Error *error) {
    size_t size;
    char *text = file_read(path, MAX_BYTES, &size, error);
    if (!text) return NULL;

    json_error_t fault;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
    free(text);
    if (json_is_object(value)) return value;
    if (value) {
        error_set(error, STATUS_DATA, "%s: holds no JSON object", path);
    } else {
        error_set(error, STATUS_DATA, "%s:%d: not valid JSON: %s", path, fault.line, fault.text);
    }
    json_decref(value);
    return NULL;
}

bool json_member_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *value) {
    const json_t *member = json_object_get(object, key);
    if (!json_is_integer(member)) return false;
    *value = json_integer_value(member);
    return *value >= least && *value <= most;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}
