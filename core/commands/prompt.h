// The prompt of `generate`: bytes of --prompt, or of a file; or token ids.
#ifndef CORE_COMMANDS_PROMPT_H
#define CORE_COMMANDS_PROMPT_H

#include "core/base/bytes.h"
#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

// Reads the prompt that the options name; warns of what is there by mistake more often than not: no text at
// all, NUL bytes, bytes that are no UTF-8. Release data with free(). Error: status 2 or 3.
bool prompt_read(const Options *options, ByteBuffer *prompt, Error *error);

// Reads the ids of --prompt-ids into `ids`, int32_t each: below V, parted by commas or blanks, one at least.
bool prompt_read_ids(const Options *options, int64_t V, ByteBuffer *ids, Error *error);

#ifdef __cplusplus
}
#endif
#endif
