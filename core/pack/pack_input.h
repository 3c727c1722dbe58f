// The files that `pack` reads: names resolved, folders walked, what is no text told apart and named.
#ifndef CORE_PACK_PACK_INPUT_H
#define CORE_PACK_PACK_INPUT_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// Lists the named files, "-" for standard input, what matches a pattern that is no name, and for a named
// folder every file below it, sorted by path: hidden entries, backups and partial downloads left out, links
// followed unless they lead round in a loop. A file that is there twice, by whatever names, is taken once.
// What is piped in is copied to where `out` is to be. The formats are those of pack_look.h; with ids wanted
// nothing tells a file's format but the ending .gz (pack_ids_judge). A name that does not exist or cannot be
// read is an error (3).
bool pack_inputs_list(const PackConfig *config, PackInputs *inputs, Error *error);
void pack_inputs_free(PackInputs *inputs);

#ifdef __cplusplus
}
#endif
#endif
