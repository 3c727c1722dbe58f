// The folder that `pack` writes into; see pack_folder.h.
#include "core/pack/pack_folder.h"

#include "core/base/files.h"
#include "core/data/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static bool matches(const char *name, const char *const *patterns) {
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, name, 0) == 0) return true;
    return false;
}

// ---- The output folder

// Whether it is a shard, whole or not, and nothing of anybody else.
static bool is_shard(const PackFolder *folder, const char *name) {
    char *path = path_join(folder->out, name);
    bool is = shard_has_magic(path);
    free(path);
    return is;
}

static bool refuse_name(const PackFolder *folder, const char *name, Error *error) {
    PackLeft left;
    if (!is_shard(folder, name)) {
        return error_set(
            error, STATUS_USAGE,
            "%s holds %s, which is no shard and would be taken for one by its name: choose another "
            "--out or move it away",
            folder->out, name);
    }
    bool torn = folder->lock < 0 && pack_folder_left(folder->out, &left) && !left.running;
    return error_set(error, STATUS_USAGE,
                     "%s already holds shards (%s)%s: choose another --out or delete them", folder->out, name,
                     torn ? ", only some of them, as that `pack` was ended while it moved them" : "");
}

static bool refuse_shards(const PackFolder *folder, Error *error) {
    static const char *const shards[] = {"train_*.bin", "val_*.bin", NULL};
    PathList names;
    if (!folder_list(folder->out, &names, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < names.count; i++)
        ok = !matches(names.paths[i], shards) || refuse_name(folder, names.paths[i], error);
    paths_free(&names);
    return ok;
}

bool pack_folder_check(const char *out, Error *error) {
    PackFolder folder;
    memset(&folder, 0, sizeof folder);
    folder.out = out;
    folder.lock = -1;
    return !folder_exists(out) || refuse_shards(&folder, error);
}

// ---- The working folder

// Of `pack` are files of these names alone.
static bool is_own(const PackFolder *folder, const char *name) {
    static const char *const own[] = {"*_[0-9]*.spill", "train_[0-9]*.bin",   "train_[0-9]*.bin.tmp",
                                      "val_[0-9]*.bin", "val_[0-9]*.bin.tmp", NULL};
    char *path = path_join(folder->work, name);
    struct stat info;
    bool file = lstat(path, &info) == 0 && S_ISREG(info.st_mode);
    free(path);
    return file && matches(name, own);
}

static bool remove_left(PackFolder *folder, Error *error) {
    PathList names;
    PackLeft left;
    pack_folder_left(folder->out, &left);
    bool ok = folder_list(folder->work, &names, error);
    for (int64_t i = 0; ok && i < names.count; i++) {
        ok = is_own(folder, names.paths[i]) ||
             error_set(error, STATUS_USAGE,
                       "%s holds %s, which is not from `pack`: move it away or choose another --out",
                       folder->work, names.paths[i]);
    }
    if (ok && names.count > 0) {
        warn("%lld files (%.1f MB) that an ended `pack` had left in %s are removed", (long long)left.files,
             (double)left.bytes * 1e-6, folder->work);
    }
    paths_free(&names);
    return ok && folder_empty(folder->work, error);
}

static void unlock(PackFolder *folder) {
    close(folder->lock);
    folder->lock = -1;
}

static bool open_work(PackFolder *folder, Error *error) {
    if (!folders_make(folder->work, error)) return false;
    folder->lock = open(folder->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->lock < 0)
        return error_set_errno(error, STATUS_DATA, "cannot open the folder %s", folder->work);
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        unlock(folder); // it is not ours to remove
        return error_set(error, STATUS_USAGE,
                         "another `pack` is writing to %s: wait for it or choose another --out", folder->out);
    }
    if (remove_left(folder, error)) return true;
    unlock(folder);
    return false;
}

bool pack_folder_left(const char *out, PackLeft *left) {
    char *work = path_join(out, SHARD_WORK_FOLDER);
    Error error;
    PathList paths;
    memset(left, 0, sizeof *left);
    int lock = open(work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool there = lock >= 0 && folder_match(work, "*", &paths, &error);
    if (there) {
        left->running = flock(lock, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        left->files = paths.count;
        for (int64_t i = 0; i < paths.count; i++) {
            struct stat info;
            if (stat(paths.paths[i], &info) == 0) left->bytes += (int64_t)info.st_size;
        }
        paths_free(&paths);
    }
    if (lock >= 0) close(lock);
    free(work);
    return there;
}

// ---- The whole

// Threads may be making and renaming files while a signal removes them.
static void remove_work(void *what) {
    const PackFolder *folder = (const PackFolder *)what;
    const struct timespec pause = {0, 2000000};
    Error error;
    for (int i = 0; i < 500 && folder_exists(folder->work); i++) {
        if (!tree_remove(folder->work, &error)) nanosleep(&pause, NULL);
    }
    if (folder->made) rmdir(folder->out); // where it is empty
}

bool pack_folder_open(PackFolder *folder, const char *out, Error *error) {
    memset(folder, 0, sizeof *folder);
    folder->out = out;
    folder->work = path_join(out, SHARD_WORK_FOLDER);
    folder->lock = -1;
    folder->made = !folder_exists(out);
    bool ok = folders_make(out, error) && refuse_shards(folder, error) && open_work(folder, error) &&
              pack_guard_start(&folder->guard, remove_work, folder, "no shard is made", error);
    if (!ok) pack_folder_close(folder);
    return ok;
}

bool pack_folder_check_room(const PackFolder *folder, double bytes, Error *error) {
    struct statvfs disk;
    if (statvfs(folder->work, &disk) != 0) return true;
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (room < bytes / 2) {
        return error_set(
            error, STATUS_DATA,
            "no room on the disk of %s: about %.1f MB are needed for the shards, and %.1f MB are free",
            folder->out, bytes * 1e-6, room * 1e-6);
    }
    if (room < bytes) {
        warn("the disk of %s may become full: about %.1f MB are needed for the shards, and %.1f MB are free",
             folder->out, bytes * 1e-6, room * 1e-6);
    }
    return true;
}

bool pack_folder_publish(PackFolder *folder, bool (*move)(void *shards, Error *error),
                         void (*undo)(void *shards), void *shards, Error *error) {
    if (!refuse_shards(folder, error)) return false;
    pack_guard_hold(&folder->guard);
    folder->full = move(shards, error) && folder_sync(folder->out, error);
    if (!folder->full) undo(shards);
    pack_guard_release(&folder->guard, folder->full);
    return folder->full;
}

void pack_folder_close(PackFolder *folder) {
    pack_guard_end(&folder->guard);
    if (folder->lock >= 0) {
        Error error;
        if (!tree_remove(folder->work, &error)) warn("%s", error.message);
        unlock(folder);
    }
    if (folder->work && folder->made && !folder->full) rmdir(folder->out); // where it is empty
    free(folder->work);
    memset(folder, 0, sizeof *folder);
    folder->lock = -1;
}
