// Files: reading whole ones, writing whole ones durably, folders, and patterns; see files.h.
#include "core/base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- Paths

static char *copy_text(const char *text, size_t length) {
    char *copy = (char *)alloc_or_exit(length + 1, 1);
    memcpy(copy, text, length);
    return copy;
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder), needed = length + 1 + strlen(name) + 1;
    char *path = (char *)alloc_or_exit(needed, 1);
    bool slash = length > 0 && folder[length - 1] != '/';
    snprintf(path, needed, "%s%s%s", folder, slash ? "/" : "", name);
    return path;
}

char *path_parent(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--; // of a folder's own name
    while (length > 0 && path[length - 1] != '/') length--;
    if (length == 0) return copy_text(".", 1);
    while (length > 1 && path[length - 1] == '/') length--;
    return copy_text(path, length);
}

const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *path_hidden(const char *path) {
    char name[256], *folder = path_parent(path);
    snprintf(name, sizeof name, ".%.200s.lighthouse", path_name(path));
    char *hidden = path_join(folder, name);
    free(folder);
    return hidden;
}

bool path_has_ending(const char *path, const char *ending) {
    const char *name = path_name(path);
    size_t length = strlen(name), cut = strlen(ending);
    return length > cut && strcmp(name + length - cut, ending) == 0;
}

char *path_absolute(const char *path) {
    size_t head = strcspn(path, "*?["); // of a pattern, the folders before it
    while (head > 0 && path[head - 1] != '/') head--;
    char *folder = head ? copy_text(path, head) : copy_text(".", 1), *real = realpath(folder, NULL);
    char *here = real || path[0] == '/' ? NULL : getcwd(NULL, 0); // the folder is not there (yet)
    const char *base = real ? real : here, *rest = real ? path + head : path;
    char *whole =
        base && rest[0] ? path_join(base, rest) : copy_text(base ? base : path, strlen(base ? base : path));
    free(folder);
    free(real);
    free(here);
    return whole;
}

static bool output_was_closed;

void streams_open(void) {
    int file;
    output_was_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
    do file = open("/dev/null", O_RDWR);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0) close(file);
    signal(SIGXFSZ, SIG_IGN);
    // Open MPI 5 joins a part of a line with the next line of the other stream.
    if (!isatty(STDERR_FILENO)) setvbuf(stderr, NULL, _IOLBF, 4096);
}

bool streams_output_was_closed(void) {
    return output_was_closed;
}

bool file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool file_regular(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool file_same(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

bool folder_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

// ---- Folders

bool folders_make(const char *path, Error *error) {
    char *part = copy_text(path, strlen(path));
    bool ok = true;
    for (char *at = part + 1; ok && at[-1]; at++) {
        if (*at != '/' && *at != 0) continue;
        char separator = *at;
        *at = 0;
        if (mkdir(part, 0777) != 0) {
            int why = errno; // stat has another reason to fail
            ok = folder_exists(part);
            if (!ok && file_exists(part)) {
                error_set(error, STATUS_DATA, "cannot make the folder %s: a file is in its place", part);
            } else if (!ok && why == EEXIST) {
                error_set(error, STATUS_DATA,
                          "cannot make the folder %s: a link that leads nowhere is in its place", part);
            } else if (!ok) {
                errno = why;
                error_set_errno(error, STATUS_DATA, "cannot make the folder %s", part);
            }
        }
        *at = separator;
        if (separator == 0) break;
    }
    free(part);
    return ok;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info, (void)type, (void)place;
    return remove(path);
}

bool tree_remove(const char *path, Error *error) {
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return true; // nor is there anything in what is no folder
    return error_set_errno(error, STATUS_DATA, "cannot remove %s", path);
}

bool folder_sync(const char *path, Error *error) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Some file systems cannot sync a folder and say EINVAL: there is nothing more to be done there.
    bool ok = folder >= 0 && (fsync(folder) == 0 || errno == EINVAL);
    if (!ok) error_set_errno(error, STATUS_DATA, "cannot sync the folder %s", path);
    if (folder >= 0) close(folder);
    return ok;
}

// ---- Whole files

// Reads up to `capacity` bytes, fewer only at the file's end; negative on error.
static ssize_t read_fully(int file, char *data, size_t capacity) {
    size_t used = 0;
    while (used < capacity) {
        ssize_t got = read(file, data + used, capacity - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

static char *read_open_file(int file, const char *path, size_t max_size, size_t *size, Error *error) {
    struct stat info;
    if (fstat(file, &info) != 0) {
        error_set_errno(error, STATUS_DATA, "cannot read %s", path);
        return NULL;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(error, STATUS_DATA, "cannot read %s: it is %s", path,
                  S_ISDIR(info.st_mode) ? "a folder" : "a pipe or device; put what it holds into a file");
        return NULL;
    }
    if ((uint64_t)info.st_size > max_size) {
        error_set(error, STATUS_DATA, "%s is too large: %lld bytes where at most %zu make sense", path,
                  (long long)info.st_size, max_size);
        return NULL;
    }
    char *data = (char *)alloc_or_exit((size_t)info.st_size + 1, 1);
    ssize_t got = read_fully(file, data, (size_t)info.st_size);
    if (got < 0) {
        error_set_errno(error, STATUS_DATA, "cannot read %s", path);
        free(data);
        return NULL;
    }
    data[got] = 0;
    if (size) *size = (size_t)got;
    return data;
}

char *file_read(const char *path, size_t max_size, size_t *size, Error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe without a writer holds nobody up
    if (file < 0) {
        error_set_errno(error, STATUS_DATA, "cannot open %s", path);
        return NULL;
    }
    char *data = read_open_file(file, path, max_size, size, error);
    close(file);
    return data;
}

static int64_t bytes_read;

int64_t file_bytes_read(void) {
    return __atomic_load_n(&bytes_read, __ATOMIC_RELAXED);
}

bool file_read_at(int file, const char *path, int64_t offset, void *data, size_t size, Error *error) {
    for (char *next = (char *)data; size > 0;) {
        ssize_t got = pread(file, next, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            return error_set_errno(error, STATUS_DATA, "%s: cannot be read at byte %lld", path,
                                   (long long)offset);
        }
        if (got == 0) {
            return error_set(error, STATUS_DATA, "%s: ends at byte %lld while it is being read", path,
                             (long long)offset);
        }
        __atomic_fetch_add(&bytes_read, (int64_t)got, __ATOMIC_RELAXED);
        next += got;
        offset += got;
        size -= (size_t)got;
    }
    return true;
}

bool file_append(int file, const char *path, const void *data, size_t size, Error *error) {
    const char *at = (const char *)data;
    while (size > 0) {
        ssize_t written = write(file, at, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return error_set_errno(error, STATUS_DATA, "cannot write %s", path);
        at += written;
        size -= (size_t)written;
    }
    return true;
}

bool path_rename(const char *from, const char *to, Error *error) {
    if (rename(from, to) != 0) return error_set_errno(error, STATUS_DATA, "cannot rename %s to %s", from, to);
    char *parent = path_parent(to);
    bool ok = folder_sync(parent, error);
    free(parent);
    return ok;
}

bool file_publish(int file, const char *temporary, const char *path, Error *error) {
    bool ok = fsync(file) == 0 || error_set_errno(error, STATUS_DATA, "cannot sync %s", temporary);
    if (close(file) != 0 && ok) ok = error_set_errno(error, STATUS_DATA, "cannot close %s", temporary);
    ok = ok && path_rename(temporary, path, error);
    if (!ok) unlink(temporary);
    return ok;
}

bool file_check_own(const char *path, const char *mark, Error *error) {
    char head[16385];
    struct stat info;
    if (stat(path, &info) != 0 || info.st_size == 0 || S_ISCHR(info.st_mode)) return true;
    int file = S_ISREG(info.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = file >= 0 ? read_fully(file, head, sizeof head - 1) : 0;
    if (file >= 0) close(file);
    if (got > 0) head[got] = 0;
    return (got > 0 && strstr(head, mark)) ||
           error_set(
               error, STATUS_USAGE,
               "--out: %s is there already, and was not written by this program: choose another name, or "
               "move it away",
               path);
}

bool file_write(const char *path, const void *data, size_t size, Error *error) {
    char *temporary = path_hidden(path);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = file >= 0 || error_set_errno(error, STATUS_DATA, "cannot create %s", path);
    if (ok && !file_append(file, temporary, data, size, error)) {
        close(file);
        unlink(temporary);
        ok = false;
    }
    ok = ok && file_publish(file, temporary, path, error);
    free(temporary);
    return ok;
}

// ---- Lists of paths

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void paths_sort(PathList *list) {
    if (list->count > 1) qsort(list->paths, (size_t)list->count, sizeof *list->paths, compare_paths);
}

void paths_add(PathList *list, const char *path) {
    list->paths = (char **)grow_or_exit(list->paths, list->count, sizeof *list->paths);
    list->paths[list->count++] = copy_text(path, strlen(path));
}

void paths_free(PathList *list) {
    for (int64_t i = 0; i < list->count; i++) free(list->paths[i]);
    free(list->paths);
    list->paths = NULL;
    list->count = 0;
}

// A folder that is there stands for itself, whatever its name has of pattern characters.
static bool in_odd_folder(const char *pattern) {
    char *folder = path_parent(pattern);
    bool is = strpbrk(folder, "*?[\\") && folder_exists(folder);
    free(folder);
    return is;
}

static bool match_in_folder(const char *pattern, PathList *list, Error *error) {
    char *folder = path_parent(pattern);
    bool ok = !folder_exists(folder) || folder_match(folder, path_name(pattern), list, error);
    free(folder);
    return ok;
}

// In some shells ** stands for folders of any depth; here it would match one of them, in silence.
static bool check_depth(const char *pattern, Error *error) {
    for (const char *part = pattern; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strcspn(part, "/") != 2 || strncmp(part, "**", 2) != 0) continue;
        return error_set(error, STATUS_USAGE,
                         "%s: ** for folders of any depth is not taken; write * for each of them, as a/*/*/b",
                         pattern);
    }
    return true;
}

bool paths_glob(const char *pattern, PathList *list, Error *error) {
    list->paths = NULL;
    list->count = 0;
    if (file_exists(pattern) || folder_exists(pattern)) {
        paths_add(list, pattern);
        return true;
    }
    if (in_odd_folder(pattern)) {
        bool ok = match_in_folder(pattern, list, error);
        paths_sort(list);
        return ok;
    }
    if (!check_depth(pattern, error)) return false;
    glob_t found;
    int result = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    if (result == GLOB_NOSPACE || result == GLOB_ABORTED) {
        error_set_errno(error, STATUS_DATA, "cannot list the files of %s", pattern);
        globfree(&found);
        return false;
    }
    for (size_t i = 0; result == 0 && i < found.gl_pathc; i++) paths_add(list, found.gl_pathv[i]);
    globfree(&found);
    if (list->count > 0) {
        paths_sort(list);
        return true;
    }
    return match_in_folder(pattern, list, error);
}

bool folder_list(const char *path, PathList *names, Error *error) {
    names->paths = NULL;
    names->count = 0;
    DIR *folder = opendir(path);
    if (!folder) return error_set_errno(error, STATUS_DATA, "cannot list the folder %s", path);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            paths_add(names, entry->d_name);
    }
    closedir(folder);
    paths_sort(names);
    return true;
}

bool folder_match(const char *folder, const char *pattern, PathList *list, Error *error) {
    PathList names;
    list->paths = NULL;
    list->count = 0;
    if (!folder_list(folder, &names, error)) return false;
    for (int64_t i = 0; i < names.count; i++) {
        if (fnmatch(pattern, names.paths[i], FNM_PERIOD) != 0) continue;
        char *path = path_join(folder, names.paths[i]);
        paths_add(list, path);
        free(path);
    }
    paths_free(&names);
    return true;
}

bool folder_empty(const char *path, Error *error) {
    PathList names;
    bool ok = folder_list(path, &names, error);
    for (int64_t i = 0; ok && i < names.count; i++) {
        char *entry = path_join(path, names.paths[i]);
        ok = tree_remove(entry, error);
        free(entry);
    }
    paths_free(&names);
    return ok;
}
