// Files of token ids as other programs write them: plain arrays, NumPy's .npy, the shards of llm.c and
// modded-nanogpt; and what lies beside such files and holds none.
#ifndef CORE_PACK_IDS_FORMAT_H
#define CORE_PACK_IDS_FORMAT_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IDS_FORMAT_BYTES 4096 // first bytes, decompressed, that tell a file's format

// Tells what a file is by its name, its first bytes and the files beside it, and notes where its ids begin
// and how many its header states. A refusal for what holds no ids of the wanted width.
void ids_format_judge(const PackConfig *config, PackInput *file, const char *first, size_t n_first,
                      PackRefusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
