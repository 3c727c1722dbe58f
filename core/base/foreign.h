// Files of a model folder that are not what their names say: what a clone without Git LFS, a failed download
// or another format leaves there.
#ifndef CORE_BASE_FOREIGN_H
#define CORE_BASE_FOREIGN_H

#include "core/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FOREIGN_BYTES 512 // first bytes of a file that show it

// Whether a text begins as a web page does.
bool foreign_is_page(const char *text, size_t size);
// Refuses (status 3) a pointer or a web page in a file's place.
bool foreign_refuse(const char *path, const void *first, size_t size, Error *error);
// The same, and what else weights come in, where they shall be safetensors.
bool foreign_refuse_weights(const char *path, const void *first, size_t size, Error *error);

#ifdef __cplusplus
}
#endif
#endif
