// pack: text files and folders, or files of token ids, to training and validation shards.
//
// Each of several threads takes the next piece of an input: reads it, parses it and deals its documents out,
// by their place in the inputs (pack_document.h), so that the result does not depend on the number of
// threads. When shuffling, the threads read as many files at a time; then each makes shards.
#ifndef CORE_PACK_PACK_H
#define CORE_PACK_PACK_H

#include "core/base/error.h"
#include "core/pack/pack_config.h"

#ifdef __cplusplus
extern "C" {
#endif

// Packs everything or fails and leaves no shard: status 2 for impossible settings or a folder already in use,
// 3 for inputs that are missing, damaged or malformed beyond the share, and for files that cannot be written.
bool pack_run(const PackConfig *config, PackReport *report, Error *error);

#ifdef __cplusplus
}
#endif
#endif
