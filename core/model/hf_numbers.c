// Numbers and words of a config.json; see hf_numbers.h.
#include "core/model/hf_numbers.h"

#include "core/base/json_file.h"
#include "core/model/hf_members.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool hf_size_read(const json_t *config, const char *path, const char *key, int64_t otherwise, int64_t most,
                  int64_t *value, Error *error) {
    *value = otherwise;
    if (otherwise > 0 && !hf_member(config, key)) return true;
    if (json_member_int(config, key, 1, most, value)) return true;
    char *found = json_dumps(json_object_get(config, key), JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(error, STATUS_DATA, "%s: %s must be a whole number from 1 to %lld, and is %.60s", path, key,
              (long long)most, found ? found : "missing");
    free(found);
    return false;
}

bool hf_real_read(const json_t *config, const char *path, const char *key, double otherwise, double *value,
                  Error *error) {
    *value = otherwise;
    const json_t *found = hf_member(config, key);
    if (!found) return true;
    *value = json_number_value(found);
    if (json_is_number(found) && isfinite(*value) && *value > 0) return true;
    return error_set(error, STATUS_DATA, "%s: %s must be a number above 0", path, key);
}

bool hf_text_is(const json_t *value, const char *wanted) {
    return json_is_string(value) && strcmp(json_string_value(value), wanted) == 0;
}
