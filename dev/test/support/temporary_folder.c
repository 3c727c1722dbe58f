// A fresh folder that a test runs in; see temporary_folder.h.
#include "temporary_folder.h"

#include "core/files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    char before[PATH_MAX], path[PATH_MAX];
} TemporaryFolder;

int temporary_folder_enter(void **state) {
    TemporaryFolder *folder = (TemporaryFolder *)alloc_or_exit(1, sizeof *folder);
    *state = folder;
    const char *parent = getenv("TMPDIR");
    snprintf(folder->path, sizeof folder->path, "%s/lighthouse_test_XXXXXX", parent ? parent : "/tmp");
    bool ok =
        getcwd(folder->before, sizeof folder->before) && mkdtemp(folder->path) && chdir(folder->path) == 0;
    return ok ? 0 : -1;
}

int temporary_folder_leave(void **state) {
    TemporaryFolder *folder = (TemporaryFolder *)*state;
    Error error;
    bool ok = chdir(folder->before) == 0 && tree_remove(folder->path, &error);
    free(folder);
    return ok ? 0 : -1;
}
