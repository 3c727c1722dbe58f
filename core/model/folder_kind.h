// Folders that hold a model, but not as this program reads one: told by the files that are there, with what
// to do about it.
#ifndef CORE_MODEL_FOLDER_KIND_H
#define CORE_MODEL_FOLDER_KIND_H

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

// Sets the error (status 3) where it can tell what a path is that has no config.json: a name on the Hugging
// Face Hub, a cache of it, an adapter, weights of another library, a file. `option` names the path in the
// message.
bool folder_explain(const char *path, const char *option, Error *error);
// The same, and an error of fewer words for any other path; returns false.
bool folder_refuse(const char *path, const char *option, Error *error);

// Says what weights a folder has that has no safetensors.
bool folder_refuse_weights(const char *folder, Error *error);

// Refuses an adapter, which other libraries would put over the model beside it.
bool folder_check_adapter(const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
