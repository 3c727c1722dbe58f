// The command `pack`: its options checked, its work done, what came of it printed.
#ifndef CORE_PACK_PACK_COMMAND_H
#define CORE_PACK_PACK_COMMAND_H

#include "core/options/options.h"

#ifdef __cplusplus
extern "C" {
#endif

bool pack_command(const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
