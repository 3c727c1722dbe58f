// What is piped into `pack`: copied to a file; see pack_spool.h.
#include "core/pack/pack_spool.h"

#include "core/base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

// A file that goes with the program, however it ends.
static int open_nameless(const char *folder, Error *error) {
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0) return file;
    char *path = path_join(folder, ".piped.XXXXXX"); // some file systems have no files without a name
    file = mkostemp(path, O_CLOEXEC);
    if (file < 0)
        error_set_errno(error, STATUS_DATA, "cannot write to %s what is piped in", folder);
    else
        unlink(path);
    free(path);
    return file;
}

static int open_copy(const char *out, Error *error) {
    char *folder = copy_or_exit(out);
    while (!folder_exists(folder) && strcmp(folder, ".") != 0 && strcmp(folder, "/") != 0) {
        char *parent = path_parent(folder);
        free(folder);
        folder = parent;
    }
    int copy = open_nameless(folder, error);
    free(folder);
    return copy;
}

static bool copy_all(int from, int to, const char *name, int64_t *size, Error *error) {
    char *piece = (char *)alloc_or_exit(PIECE, 1);
    ssize_t got = 1;
    bool ok = true;
    while (ok && got != 0) {
        got = read(from, piece, PIECE);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) ok = error_set_errno(error, STATUS_DATA, "cannot read input %s", name);
        ok = ok && file_append(to, "the copy of what is piped in", piece, (size_t)got, error);
        *size += ok ? got : 0;
    }
    free(piece);
    return ok;
}

int pack_spool(int from, const char *name, const char *out, int64_t *size, Error *error) {
    *size = 0;
    int copy = open_copy(out, error);
    if (copy >= 0 && !copy_all(from, copy, name, size, error)) {
        close(copy);
        copy = -1;
    }
    return copy;
}
