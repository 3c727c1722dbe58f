// The files that `pack` reads: names resolved, folders walked; see pack_input.h.
#include "core/pack/pack_input.h"

#include "core/base/files.h"
#include "core/pack/pack_ids.h"
#include "core/pack/pack_look.h"
#include "core/pack/pack_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STANDARD_INPUT "-"
#define TWICE          "file* given twice" // not as a refusal, which is no fault of it

static PackInput *grow(PackInputs *inputs) {
    inputs->files = (PackInput *)grow_or_exit(inputs->files, inputs->count, sizeof *inputs->files);
    return &inputs->files[inputs->count++];
}

// ---- Files that are there twice

typedef struct {
    dev_t device;
    ino_t number;
} Identity;

static int compare_identities(const void *a, const void *b) {
    return memcmp(a, b, sizeof(Identity));
}

// Whether the file has not been seen, by this name or another.
static bool is_new(PackInputs *inputs, const struct stat *info) {
    Identity *identity = (Identity *)alloc_or_exit(1, sizeof *identity);
    identity->device = info->st_dev;
    identity->number = info->st_ino;
    void *entry = tsearch(identity, &inputs->seen, compare_identities);
    if (entry && *(Identity **)entry == identity) return true;
    free(identity);
    return false;
}

// ---- What is not taken

// A file of a folder is left out, and the first of each kind is named at once; another is an error.
static bool leave_out(PackInputs *inputs, const PackInput *file, const PackRefusal *refusal, Error *error) {
    if (!file->from_folder || refusal->fatal) {
        return error_set(error, STATUS_DATA, "input %s %s", file->path, refusal->why);
    }
    int64_t n_kinds = inputs->left.n_kinds;
    left_out_add(&inputs->left, refusal->what, file->path, 1);
    if (inputs->left.n_kinds > n_kinds) warn("%s is left out: it %s", file->path, refusal->why);
    return true;
}

static void refuse_unopened(const char *path, int why, PackRefusal *refusal) {
    struct stat info;
    bool link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    if (why == ENOENT && link)
        pack_refuse(refusal, "dangling link", "is a link to something that is not there");
    else if (why == ELOOP && link)
        pack_refuse(refusal, "loop* of links", "is a link that leads round to itself");
    else
        pack_refuse(refusal, "unreadable file", "cannot be opened: %s", strerror(why));
    refusal->fatal = why != ENOENT && why != ELOOP && why != EACCES && why != EPERM;
}

static void refuse_type(const PackInput *file, const struct stat *info, PackRefusal *refusal) {
    if (S_ISFIFO(info->st_mode))
        pack_refuse(refusal, "pipe", "is a pipe: it is read where it is named by itself");
    else if (S_ISSOCK(info->st_mode))
        pack_refuse(refusal, "socket", "is a socket, no regular file");
    else
        pack_refuse(refusal, "device", "is a device, no regular file%s", file->from_folder ? "" : " or pipe");
}

// ---- Opening

// What can be read once alone: pipes, terminals, and the empty device.
static bool is_stream(int file, const struct stat *info) {
    return S_ISFIFO(info->st_mode) || S_ISSOCK(info->st_mode) ||
           (S_ISCHR(info->st_mode) && (isatty(file) || info->st_rdev == makedev(1, 3)));
}

// Opens a path without waiting for anybody but the writer of a pipe that the user named; negative, with the
// refusal, for what is not to be read.
static int open_path(const PackInput *file, PackRefusal *refusal) {
    struct stat info;
    if (stat(file->path, &info) != 0) {
        refuse_unopened(file->path, errno, refusal);
        return -1;
    }
    bool pipe = S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode);
    if (!S_ISREG(info.st_mode) && !(pipe && !file->from_folder)) {
        refuse_type(file, &info, refusal);
        return -1;
    }
    int opened = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (opened < 0) refuse_unopened(file->path, errno, refusal);
    return opened;
}

static bool spool(PackInput *file, int opened, const PackConfig *config, Error *error) {
    if (isatty(opened)) warn("%s is a terminal: type text, and end it with Ctrl-D", file->path);
    file->copy = pack_spool(opened, file->path, config->out, &file->size, error);
    if (file->copy >= 0) return true;
    file->copy = 0;
    return false;
}

// First bytes as they lie on disk; negative on error.
static ssize_t read_first(int file, char *first) {
    ssize_t used = 0, got = 1;
    while (got > 0 && used < FILE_KIND_BYTES) {
        got = pread(file, first + used, (size_t)(FILE_KIND_BYTES - used), used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got < 0)
            return -1;
        else
            used += got;
    }
    return used;
}

// ---- One file

// What an id happens to look like tells little: gzip's two bytes count where the name says it, or where its
// whole header is there.
static FileReader ids_packing(const char *path, const char *first, size_t n_first) {
    const FileKind *kind = file_kind_of(first, n_first);
    if (!kind || kind->reader != FILE_GZIP) return kind && kind->reader == FILE_ZSTD ? FILE_ZSTD : FILE_OTHER;
    bool header = n_first >= 10 && first[2] == 8 && ((unsigned char)first[3] & 0xe0) == 0 &&
                  (first[8] == 0 || first[8] == 2 || first[8] == 4) &&
                  ((unsigned char)first[9] <= 13 || first[9] == '\xff');
    return path_has_ending(path, ".gz") || header ? FILE_GZIP : FILE_OTHER;
}

static bool judge_ids(PackInput *file, const PackConfig *config, const char *first, size_t n_first,
                      PackRefusal *refusal, Error *error) {
    const FileKind *named = file_kind_named(file->path);
    bool packed = named && (named->reader == FILE_GZIP || named->reader == FILE_ZSTD);
    file->packing = ids_packing(file->path, first, n_first);
    if (packed && file->packing != named->reader) {
        pack_refuse(refusal, "misnamed file", "is named like a %s but is none: fetch it again or rename it",
                    named->name);
        return true;
    }
    return pack_ids_judge(config, file, refusal, error);
}

static bool look_inside(PackInput *file, int opened, const PackConfig *config, PackRefusal *refusal,
                        Error *error) {
    char first[FILE_KIND_BYTES];
    ssize_t n_first = read_first(file->copy ? file->copy : opened, first);
    if (n_first < 0) return error_set_errno(error, STATUS_DATA, "cannot read input %s", file->path);
    if (config->id_bytes == 0) return pack_look(file, config, first, (size_t)n_first, refusal, error);
    return judge_ids(file, config, first, (size_t)n_first, refusal, error);
}

// Tells what an open file is.
static bool look(PackInputs *inputs, PackInput *file, int opened, const PackConfig *config,
                 PackRefusal *refusal, Error *error) {
    struct stat info;
    if (fstat(opened, &info) != 0) {
        return error_set_errno(error, STATUS_DATA, "cannot read input %s", file->path);
    }
    bool regular = S_ISREG(info.st_mode);
    file->size = (int64_t)info.st_size;
    if (!regular && !is_stream(opened, &info)) {
        refuse_type(file, &info, refusal);
        return true;
    }
    if (!is_new(inputs, &info)) {
        pack_refuse(refusal, TWICE, "is there twice");
        return true;
    }
    if ((!regular || opened == STDIN_FILENO) && !spool(file, opened, config, error)) return false;
    return look_inside(file, opened, config, refusal, error);
}

static void take(PackInputs *inputs, const PackInput *file) {
    PackInput *taken = grow(inputs);
    *taken = *file;
    taken->path = copy_or_exit(file->path);
    taken->index = inputs->count - 1;
    inputs->bytes += file->size;
}

static bool add_file(PackInputs *inputs, const PackConfig *config, const char *path, bool from_folder,
                     Error *error) {
    bool standard = strcmp(path, STANDARD_INPUT) == 0;
    PackInput file;
    PackRefusal refusal = {NULL, "", false};
    memset(&file, 0, sizeof file);
    file.path = copy_or_exit(standard ? "standard input" : path);
    file.packing = FILE_OTHER;
    file.from_folder = from_folder;
    int opened = standard ? STDIN_FILENO : open_path(&file, &refusal);
    bool ok = opened < 0 || look(inputs, &file, opened, config, &refusal, error);
    if (opened >= 0 && !standard) close(opened);
    if (ok && !refusal.what)
        take(inputs, &file);
    else if (file.copy)
        close(file.copy);
    if (ok && refusal.what && strcmp(refusal.what, TWICE) == 0)
        left_out_add(&inputs->left, TWICE, file.path, 1); // whoever named it has it
    else if (ok && refusal.what)
        ok = leave_out(inputs, &file, &refusal, error);
    free(file.path);
    return ok;
}

// ---- Folders

static bool has_any_ending(const char *name, const char *const *endings) {
    for (; *endings; endings++) {
        size_t length = strlen(name), size = strlen(*endings);
        if (length > size && strcasecmp(name + length - size, *endings) == 0) return true;
    }
    return false;
}

// What a folder's entry is left out for by its name alone; NULL for nothing.
static const char *unwanted_name(const char *name) {
    static const char *const backups[] = {"~", ".bak", ".orig", ".old", ".swp", ".swo", NULL};
    static const char *const parts[] = {".part",     ".partial", ".crdownload", ".download", ".incomplete",
                                        ".filepart", ".aria2",   ".tmp",        NULL};
    if (name[0] == '.') return "hidden file";
    if (name[0] == '#' || has_any_ending(name, backups)) return "backup";
    return has_any_ending(name, parts) ? "partial download" : NULL;
}

// The names of versions beside the `snapshots` of a model hub's cache, which are no text of anybody.
static bool is_hub_refs(const FTSENT *entry) {
    if (strcmp(entry->fts_name, "refs") != 0) return false;
    char *parent = path_parent(entry->fts_path), *snapshots = path_join(parent, "snapshots");
    bool is = folder_exists(snapshots);
    free(parent);
    free(snapshots);
    return is;
}

// Adds the files that a walk comes to; false on an error.
static bool collect_entry(FTS *walk, FTSENT *entry, PathList *found, LeftOut *left, Error *error) {
    const char *unwanted = entry->fts_level > 0 ? unwanted_name(entry->fts_name) : NULL;
    bool leaves = entry->fts_info == FTS_DP;
    if (entry->fts_level > 0 && entry->fts_info == FTS_D && is_hub_refs(entry)) unwanted = "hidden file";
    if (unwanted && !leaves) {
        left_out_add(left, unwanted, entry->fts_path, 1);
        if (entry->fts_info == FTS_D) fts_set(walk, entry, FTS_SKIP);
        return true;
    }
    switch (entry->fts_info) {
    case FTS_D:
    case FTS_DP: return true;
    case FTS_DC: left_out_add(left, "loop* of links", entry->fts_path, 1); return true;
    case FTS_DNR:
    case FTS_ERR:
        errno = entry->fts_errno;
        if (entry->fts_level == 0 || (errno != EACCES && errno != EPERM)) {
            return error_set_errno(error, STATUS_DATA, "cannot read input %s", entry->fts_path);
        }
        left_out_add(left, "unreadable folder", entry->fts_path, 1);
        warn("%s is left out: %s", entry->fts_path, strerror(errno));
        return true;
    default: paths_add(found, entry->fts_path); return true; // add_file says what is wrong with it
    }
}

static int compare_entries(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static bool walk_folder(PackInputs *inputs, const char *folder, PathList *found, Error *error) {
    char *root = copy_or_exit(folder);
    char *roots[] = {root, NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, compare_entries);
    bool ok = walk != NULL || error_set_errno(error, STATUS_DATA, "cannot read input %s", folder);
    while (ok) {
        errno = 0;
        FTSENT *entry = fts_read(walk);
        if (!entry) {
            ok = errno == 0 || error_set_errno(error, STATUS_DATA, "cannot read input %s", folder);
            break;
        }
        ok = collect_entry(walk, entry, found, &inputs->left, error);
    }
    if (walk) fts_close(walk);
    free(root);
    return ok;
}

static bool add_folder(PackInputs *inputs, const PackConfig *config, const char *folder, Error *error) {
    PathList found = {NULL, 0};
    bool ok = walk_folder(inputs, folder, &found, error);
    paths_sort(&found);
    for (int64_t i = 0; ok && i < found.count; i++)
        ok = add_file(inputs, config, found.paths[i], true, error);
    paths_free(&found);
    return ok;
}

// ---- Names

// Whoever names a file wants it, unless a pattern did.
static void warn_of_name(const char *path) {
    const char *unwanted = unwanted_name(path_name(path));
    if (unwanted && path_name(path)[0] != '.') {
        warn("%s looks like a %s: it is packed, as it is named and not found in a folder", path, unwanted);
    }
}

static bool add_path(PackInputs *inputs, const PackConfig *config, const char *path, Error *error) {
    if (!folder_exists(path)) warn_of_name(path);
    return folder_exists(path) ? add_folder(inputs, config, path, error)
                               : add_file(inputs, config, path, false, error);
}

// A name, or a pattern in quotes.
static bool add_name(PackInputs *inputs, const PackConfig *config, const char *name, Error *error) {
    struct stat info;
    if (lstat(name, &info) == 0 || !strpbrk(name, "*?[")) return add_path(inputs, config, name, error);
    PathList found;
    if (!paths_glob(name, &found, error)) return false;
    bool ok = found.count > 0 || error_set(error, STATUS_DATA, "no file matches the input %s", name);
    for (int64_t i = 0; ok && i < found.count; i++) ok = add_path(inputs, config, found.paths[i], error);
    paths_free(&found);
    return ok;
}

static bool check_some(const PackInputs *inputs, const PackConfig *config, Error *error) {
    if (inputs->count > 0) return true;
    char left[700];
    left_out_text(&inputs->left, left, sizeof left);
    return error_set(error, STATUS_DATA, "no %s in %s%s%s%s",
                     config->id_bytes > 0 ? "file of ids" : "text file", config->inputs[0],
                     config->n_inputs > 1 ? " and the other inputs" : "", left[0] ? "; left out: " : "",
                     left);
}

bool pack_inputs_list(const PackConfig *config, PackInputs *inputs, Error *error) {
    memset(inputs, 0, sizeof *inputs);
    bool ok = true;
    for (int i = 0; ok && i < config->n_inputs; i++) ok = add_name(inputs, config, config->inputs[i], error);
    ok = ok && check_some(inputs, config, error);
    if (!ok) pack_inputs_free(inputs);
    return ok;
}

void pack_inputs_free(PackInputs *inputs) {
    for (int64_t i = 0; i < inputs->count; i++) {
        if (inputs->files[i].copy) close(inputs->files[i].copy);
        free(inputs->files[i].path);
    }
    free(inputs->files);
    left_out_free(&inputs->left);
    tdestroy(inputs->seen, free);
    memset(inputs, 0, sizeof *inputs);
}
