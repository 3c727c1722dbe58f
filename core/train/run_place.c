// Where a run's folder is; see run_place.h.
#include "core/train/run_place.h"

#include "core/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool run_place_lock(const char *folder, int *lock, Error *error) {
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return error_set_errno(error, STATUS_DATA, "%s: cannot be opened as a run's folder", folder);
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
    return error_set(error, STATUS_USAGE,
                     "%s: another program is training this run; wait for its end, or stop it", folder);
}

static bool leads_to(const char *path, const struct stat *folder) {
    struct stat there;
    return stat(path, &there) == 0 && there.st_dev == folder->st_dev && there.st_ino == folder->st_ino;
}

// The path that the system knows an open folder by; NULL where that does not lead to it.
static char *path_of(int lock, const struct stat *folder) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", lock);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return leads_to(path, folder) ? copy_or_exit(path) : NULL;
}

bool run_place_find(int lock, char **folder, Place *place, Error *error) {
    struct stat own;
    bool known = lock >= 0 && fstat(lock, &own) == 0; // not so behind a server of files that began anew
    *place = PLACE_SAME;
    if (known ? leads_to(*folder, &own) : folder_exists(*folder)) return true;
    char *path = known ? path_of(lock, &own) : NULL;
    if (!path && folder_exists(*folder)) {
        return error_set(error, STATUS_DATA,
                         "%s is another folder than the run began in, and that was moved or deleted: nothing "
                         "is saved there",
                         *folder);
    }
    *place = path ? PLACE_MOVED : PLACE_GONE;
    if (!path) return true;
    free(*folder);
    *folder = path;
    return true;
}
