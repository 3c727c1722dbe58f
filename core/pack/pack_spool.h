// What is piped into `pack`: copied to a file, as the inputs are read more than once.
#ifndef CORE_PACK_PACK_SPOOL_H
#define CORE_PACK_PACK_SPOOL_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Copies an open file, to its end, to one without a name beside the output folder, or beside the first folder
// above it that is there. Gives the copy and its size; negative on an error (3).
int pack_spool(int from, const char *name, const char *out, int64_t *size, Error *error);

#ifdef __cplusplus
}
#endif
#endif
