// What stands between the documents of a text file (`pack --separator`): its bytes, and where it is.
#ifndef CORE_PACK_SEPARATOR_H
#define CORE_PACK_SEPARATOR_H

#include "core/base/error.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SEPARATOR_MOST 256 // bytes

typedef struct {
    char bytes[SEPARATOR_MOST];
    size_t size; // 0: there is none
} Separator;

// Reads it as it is typed: \n, \r, \t, \\ and \xHH stand for the bytes that C has for them. Status 2 where it
// is empty, too long, has a zero byte or an escape of another kind.
bool separator_read(Separator *separator, const char *typed, Error *error);

// The first within `size` bytes; NULL where there is none.
const char *separator_find(const Separator *separator, const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
