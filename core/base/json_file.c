// JSON files: reading with care; see json_file.h.
#include "core/base/json_file.h"
#include "core/base/files.h"
#include "core/base/foreign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES (64 << 20)

json_t *json_file_read(const char *path, Error *error) {
    size_t size;
    char *text = file_read(path, MAX_BYTES, &size, error);
    if (!text) return NULL;

    json_error_t fault;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
    bool foreign = !value && !foreign_refuse(path, text, size, error);
    free(text);
    if (json_is_object(value)) return value;
    if (foreign) {
        return NULL;
    } else if (value) {
        error_set(error, STATUS_DATA, "%s: holds no JSON object", path);
    } else {
        error_set(error, STATUS_DATA, "%s:%d: not valid JSON: %s", path, fault.line, fault.text);
    }
    json_decref(value);
    return NULL;
}

bool json_member_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *value) {
    const json_t *member = json_object_get(object, key);
    double real = json_real_value(member); // some programs write 2048.0, or 1e9
    if (json_is_real(member) && fabs(real) < 0x1p53 && real == floor(real))
        *value = (int64_t)real;
    else if (json_is_integer(member))
        *value = json_integer_value(member);
    else
        return false;
    return *value >= least && *value <= most;
}

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

bool json_file_write(const char *folder, const char *name, const json_t *value, Error *error) {
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17)), *path = path_join(folder, name);
    size_t size = strlen(text);
    text[size] = '\n'; // in place of the final zero byte
    bool ok = file_write(path, text, size + 1, error);
    free(path);
    free(text);
    return ok;
}
