// What a file holds, told by its content and never by its name alone: what `pack` reads, and how, or why not.
//
// Compression is undone once. Text begins with a byte order mark or is taken byte by byte. JSON lines are
// JSON lines whatever their name; JSON of another shape, and what is named .json but is none, is no text.
#ifndef CORE_PACK_PACK_LOOK_H
#define CORE_PACK_PACK_LOOK_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// `first`: bytes as they lie on disk, FILE_KIND_BYTES or more where there are as many. Fills in the file's
// format, or the refusal. An error (3) where it cannot be read or its compression is damaged.
bool pack_look(PackInput *file, const PackConfig *config, const char *first, size_t n_first,
               PackRefusal *refusal, Error *error);

// What is binary: it holds a zero byte, or too many control characters.
void pack_refuse_binary(const PackInput *file, bool zero, PackRefusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
