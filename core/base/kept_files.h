// The files of a model folder that a model keeps: its tokenizer in whatever form, chat templates, generation
// settings, licences. They travel unread, byte for byte, from --init to every checkpoint and export.
#ifndef CORE_BASE_KEPT_FILES_H
#define CORE_BASE_KEPT_FILES_H

#include "core/base/files.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KEPT_MAX       48 // files of a folder
#define KEPT_NAME_SIZE 128

// Whether a file of this path within a model folder is kept: at its top, or a template of
// additional_chat_templates/.
bool kept_name(const char *name);

// Paths of a folder's kept files within it, sorted. Error (status 3) where there are more than KEPT_MAX.
// Release with paths_free.
bool kept_names_list(const char *folder, PathList *names, Error *error);

typedef struct {
    char *name, *text;
    size_t size;
} KeptFile;

typedef struct {
    KeptFile files[KEPT_MAX];
    int count;
} KeptFiles;

// Reads all of them; refuses (status 3) one that is a Git LFS pointer or a web page.
bool kept_files_read(const char *folder, KeptFiles *kept, Error *error);
void kept_files_free(KeptFiles *kept);

// The file of this name; NULL where there is none.
const KeptFile *kept_files_find(const KeptFiles *kept, const char *name);
// Takes it out of the list.
void kept_files_drop(KeptFiles *kept, const char *name);

#ifdef __cplusplus
}
#endif
#endif
