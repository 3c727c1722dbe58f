// JSON files: reading with care, and members that must be of a certain kind.
#ifndef CORE_BASE_JSON_FILE_H
#define CORE_BASE_JSON_FILE_H

#include "core/base/error.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The JSON object that makes up a file. NULL on error (status 3), which names file and line. New reference.
json_t *json_file_read(const char *path, Error *error);

// Writes folder/name durably, readable and with a newline at its end.
bool json_file_write(const char *folder, const char *name, const json_t *value, Error *error);

// The member of an object as an integer in [least, most]; false when it is anything else.
bool json_member_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *value);

// A real number, null where it is not finite: JSON has no other word for that.
json_t *json_number(double value);

#ifdef __cplusplus
}
#endif
#endif
