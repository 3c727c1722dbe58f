// A fresh folder that a test runs in; see temporary_folder.h.
#include "temporary_folder.h"

#include "core/base/error.h"
#include "scratch.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    char before[PATH_MAX], *path;
} TemporaryFolder;

int temporary_folder_enter(void **state) {
    TemporaryFolder *folder = (TemporaryFolder *)alloc_or_exit(1, sizeof *folder);
    *state = folder;
    folder->path = scratch_create();
    return getcwd(folder->before, sizeof folder->before) && chdir(folder->path) == 0 ? 0 : -1;
}

int temporary_folder_leave(void **state) {
    TemporaryFolder *folder = (TemporaryFolder *)*state;
    if (chdir(folder->before) != 0) return -1;
    scratch_remove(folder->path);
    free(folder);
    return 0;
}
