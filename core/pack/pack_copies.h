// Inputs of `pack` that another one is a copy of: what was unpacked beside its archive, or fetched twice.
// Their documents would come twice, and those of validation in training as well.
#ifndef CORE_PACK_PACK_COPIES_H
#define CORE_PACK_PACK_COPIES_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// Leaves out each file that has the content of one before it, and names the first of them. Compared are files
// that have one name but for the compression, and files of one size that hold many documents or a long one:
// short texts that are alike are documents like any others. Two of one name that begin alike and are not the
// same are warned of. An error (3) where a file cannot be read.
bool pack_copies_leave_out(PackInputs *inputs, const PackConfig *config, Error *error);

#ifdef __cplusplus
}
#endif
#endif
