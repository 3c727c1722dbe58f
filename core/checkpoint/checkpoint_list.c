// Finding, pruning and cleaning up checkpoints of a run; see checkpoint.h.
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/base/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *checkpoint_path(const char *run, int64_t step) {
    char name[32];
    checkpoint_name(step, name, sizeof name);
    return path_join(run, name);
}

char *checkpoint_hidden_path(const char *run, int64_t step, const char *ending) {
    char name[32], hidden[64];
    checkpoint_name(step, name, sizeof name);
    snprintf(hidden, sizeof hidden, ".%s%s", name, ending);
    return path_join(run, hidden);
}

// ---- Lists

typedef struct {
    int64_t *steps; // falling
    int64_t count;
} StepList;

static int falling(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x > y ? -1 : x < y;
}

// Steps of all checkpoints of a run, the last first. A run that does not exist has none.
static bool steps_list(const char *run, StepList *list, Error *error) {
    list->steps = NULL;
    list->count = 0;
    struct dirent **entries;
    int count = scandir(run, &entries, NULL, NULL);
    if (count < 0 && errno == ENOENT) return true;
    if (count < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be read as a run's folder", run);

    list->steps = (int64_t *)alloc_or_exit((size_t)count, sizeof *list->steps);
    for (int i = 0; i < count; i++) {
        int64_t step = checkpoint_name_step(entries[i]->d_name);
        if (step >= 0) list->steps[list->count++] = step;
        free(entries[i]);
    }
    free(entries);
    qsort(list->steps, (size_t)list->count, sizeof *list->steps, falling);
    return true;
}

// Whether state.json is right and every file has its full length: enough to choose by, at no cost.
static bool whole_check(const char *folder, Error *error) {
    TrainerState state;
    Manifest manifest;
    if (!trainer_state_read(folder, &state, &manifest, error)) return false;
    json_decref(state.settings);
    bool ok = true;
    for (int i = 0; ok && i < manifest.count; i++) {
        if (!manifest.present[i]) continue;
        char *path = path_join(folder, manifest.names[i]);
        struct stat status;
        if (stat(path, &status) != 0) {
            ok = error_set_errno(error, STATUS_DATA, "%s: cannot be read", path);
        } else if (status.st_size != manifest.digest[i].size) {
            ok = error_set(error, STATUS_DATA, "%s: %lld bytes, saved with %lld", path,
                           (long long)status.st_size, (long long)manifest.digest[i].size);
        }
        free(path);
    }
    return ok;
}

// ---- Finding

const char *checkpoint_fault(const Error *fault) {
    return strstr(fault->message, strerror(EACCES)) ? "checkpoint that may not be read"
                                                    : "damaged checkpoint";
}

static bool none_whole(const char *run, int64_t count, const Error *fault, Error *error) {
    *error = *fault;
    return error_prefix(error, "%s: none of its %lld checkpoints is whole", run, (long long)count);
}

static void warn_passing(const Error *fault) {
    warn("passing over a %s: %s", checkpoint_fault(fault), fault->message);
}

static bool is_link(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

// A checkpoint under another name is passed over; whoever renamed or copied it is told.
static void warn_misnamed(const char *run) {
    struct dirent **entries;
    int count = scandir(run, &entries, NULL, NULL);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *path = path_join(run, name);
        if (name[0] != '.' && checkpoint_name_step(name) < 0 && !is_link(path) && checkpoint_is(path))
            warn("passing over %s: in a run, step_ and eight digits name a checkpoint; give its path to use "
                 "it",
                 path);
        free(path);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

bool checkpoint_latest(const char *run, char **folder, Error *error) {
    *folder = NULL;
    StepList list;
    if (!steps_list(run, &list, error)) return false;
    warn_misnamed(run);
    Error fault;
    for (int64_t i = 0; i < list.count && !*folder; i++) {
        char *path = checkpoint_path(run, list.steps[i]);
        if (whole_check(path, &fault)) {
            *folder = path;
            break;
        }
        warn_passing(&fault);
        free(path);
    }
    bool ok = *folder || list.count == 0 || none_whole(run, list.count, &fault, error);
    free(list.steps);
    return ok;
}

// Whether a checkpoint is right on all ranks, which share its files among each other. What is wrong with one
// is no error yet: another one may do.
static bool right_on_all(const char *folder, Ranks *ranks, Error *fault) {
    bool right = whole_check(folder, fault) && checkpoint_verify_share(folder, ranks, fault);
    if (ranks_agree(ranks, right, fault)) return true;
    if (ranks) ranks->agreed = false;
    return false;
}

bool checkpoint_choose(const char *run, Ranks *ranks, char **folder, Error *error) {
    *folder = NULL;
    StepList list = {NULL, 0};
    bool ok = ranks_agree(ranks, !ranks_first(ranks) || steps_list(run, &list, error), error);
    if (ok && ranks_first(ranks)) warn_misnamed(run);
    if (ok && ranks_many(ranks)) ranks_broadcast(ranks, &list.count, sizeof list.count);
    Error fault;
    for (int64_t i = 0; ok && i < list.count && !*folder; i++) {
        int64_t step = list.steps ? list.steps[i] : 0;
        if (ranks_many(ranks)) ranks_broadcast(ranks, &step, sizeof step);
        char *path = checkpoint_path(run, step);
        if (right_on_all(path, ranks, &fault)) {
            *folder = path;
        } else {
            warn_passing(&fault);
            free(path);
        }
    }
    if (ok && !*folder && list.count > 0) {
        if (ranks) ranks->agreed = true;
        ok = none_whole(run, list.count, &fault, error);
    }
    free(list.steps);
    return ok;
}

int64_t checkpoint_newest(const char *run) {
    StepList list;
    Error ignored;
    if (!steps_list(run, &list, &ignored)) return -1;
    int64_t newest = list.count > 0 ? list.steps[0] : -1;
    free(list.steps);
    return newest;
}

bool checkpoint_is(const char *path) {
    char *state = path_join(path, STATE_FILE_NAME);
    bool is = file_exists(state);
    free(state);
    return is;
}

char *checkpoint_named(const char *path, Error *error) {
    char *named = copy_or_exit(path);
    for (size_t end = strlen(named); end > 1 && named[end - 1] == '/'; end--) named[end - 1] = 0;
    const char *name = path_name(named);
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_link(named)) return named;
    free(named);
    char *real = realpath(path, NULL);
    if (!real) error_set_errno(error, STATUS_DATA, "%s: its real path cannot be found", path);
    return real;
}

bool checkpoint_none(const char *path, Error *error) {
    if (!folder_exists(path)) return error_set(error, STATUS_DATA, "%s: no such run or checkpoint", path);
    return error_set(error, STATUS_DATA,
                     "%s: neither a checkpoint nor a run with one (no " STATE_FILE_NAME ", no step_* folder)",
                     path);
}

char *checkpoint_find(const char *path, Error *error) {
    if (checkpoint_is(path)) return checkpoint_named(path, error);
    char *folder;
    if (checkpoint_latest(path, &folder, error) && !folder) checkpoint_none(path, error);
    return folder;
}

// Whether the name is one that the run around it would give a checkpoint: it would be taken for a damaged
// one.
static bool takes_name(const char *path) {
    char *folder = path_parent(path), *log = path_join(folder, LOG_FILE);
    bool takes = checkpoint_name_step(path_name(path)) >= 0 && file_exists(log);
    free(folder);
    free(log);
    return takes;
}

bool checkpoint_check_out(const char *out, Error *error) {
    char *path = copy_or_exit(out);
    for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--) path[end - 1] = 0;
    char *folder = path_parent(path);
    bool ok = true;
    if (checkpoint_is(path) || checkpoint_is(folder)) {
        ok = error_set(error, STATUS_USAGE,
                       "--out %s is %sa checkpoint, which must hold nothing else; choose another folder", out,
                       checkpoint_is(path) ? "" : "in ");
    } else if (takes_name(path) && !folder_exists(path)) {
        ok = error_set(error, STATUS_USAGE,
                       "--out %s has the name of a checkpoint of the run that it lies in, and would be taken "
                       "for one; choose another name",
                       out);
    }
    free(folder);
    free(path);
    return ok;
}

// ---- Deleting

char *checkpoint_aside_path(const char *run) {
    char name[32] = "aside", *path = path_join(run, name);
    for (int number = 2; file_exists(path) || folder_exists(path); number++) {
        free(path);
        snprintf(name, sizeof name, "aside_%d", number);
        path = path_join(run, name);
    }
    return path;
}

// Moves what others have put into a checkpoint, hidden files aside, to RUN/aside/step_N.
static bool strangers_spare(const char *run, const char *path, Error *error) {
    PathList strangers;
    if (!checkpoint_strangers(path, &strangers, error)) return false;
    bool ok = true;
    char *aside = strangers.count ? checkpoint_aside_path(run) : copy_or_exit("");
    char *to = path_join(aside, path_name(path));
    for (int64_t i = 0; ok && i < strangers.count; i++) {
        if (path_name(strangers.paths[i])[0] == '.') continue;
        char *from = path_join(path, strangers.paths[i]), *target = path_join(to, strangers.paths[i]);
        char *folder = path_parent(target);
        ok = folders_make(folder, error) && path_rename(from, target, error);
        if (ok) warn("%s is not this program's; moved to %s, for that checkpoint is deleted", from, target);
        free(folder);
        free(from);
        free(target);
    }
    free(to);
    free(aside);
    paths_free(&strangers);
    return ok;
}

// Whether this user may take an entry out of a folder: of one with the sticky bit, only its owner may.
static bool may_take(const char *folder, const char *entry) {
    struct stat above, own;
    if (euidaccess(folder, W_OK | X_OK) != 0 || stat(folder, &above) != 0 || lstat(entry, &own) != 0)
        return false;
    uid_t user = geteuid();
    return !(above.st_mode & S_ISVTX) || user == 0 || user == above.st_uid || user == own.st_uid;
}

// A checkpoint that another user has saved in a shared folder cannot be deleted, nor be left in part.
static bool may_delete(const char *run, const char *path) {
    char *trainer = path_join(path, "trainer"), *state = path_join(path, STATE_FILE_NAME);
    bool may = may_take(run, path) && may_take(path, trainer) && may_take(trainer, state);
    free(trainer);
    free(state);
    return may;
}

static bool checkpoint_delete(const char *run, int64_t step, Error *error) {
    char *path = checkpoint_path(run, step), *old = checkpoint_hidden_path(run, step, ".old");
    bool ok = strangers_spare(run, path, error) && path_rename(path, old, error) && tree_remove(old, error);
    free(path);
    free(old);
    return ok;
}

// What cannot be told to be a checkpoint of this program is neither kept nor deleted.
bool checkpoint_prune(const char *run, int64_t keep, Error *error) {
    if (keep < 1) return true;
    if (!checkpoint_clean(run, error)) return false;
    StepList list;
    if (!steps_list(run, &list, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        Error fault;
        TrainerState state;
        char *path = checkpoint_path(run, list.steps[i]);
        if (keep > 0) {
            keep -= whole_check(path, &fault);
        } else if (checkpoint_read_state(path, &state, &fault)) {
            json_decref(state.settings);
            bool may = may_delete(run, path);
            if (!may) warn("--keep: %s is another user's, who alone may delete it: it stays", path);
            ok = !may || checkpoint_delete(run, list.steps[i], error);
        }
        free(path);
    }
    free(list.steps);
    return ok;
}

bool checkpoint_make_room(const char *run, int64_t step, Error *error) {
    char *path = checkpoint_path(run, step);
    TrainerState state;
    Error fault;
    bool ok = true;
    if (!folder_exists(path) && !file_exists(path)) {
        // nothing is in the way
    } else if (checkpoint_read_state(path, &state, &fault)) {
        json_decref(state.settings);
        ok = strangers_spare(run, path, error);
    } else {
        char *aside = checkpoint_aside_path(run), *to = path_join(aside, path_name(path));
        ok = folders_make(aside, error) && path_rename(path, to, error);
        if (ok) warn("%s is no whole checkpoint; moved to %s", path, to);
        free(aside);
        free(to);
    }
    free(path);
    return ok;
}

// ".step_00010000.tmp" or ".old"
static bool is_leftover(const char *name) {
    if (strncmp(name, ".step_", 6) != 0) return false;
    const char *ending = name + 6 + strspn(name + 6, "0123456789");
    return ending > name + 6 && (strcmp(ending, ".tmp") == 0 || strcmp(ending, ".old") == 0);
}

bool checkpoint_clean(const char *run, Error *error) {
    struct dirent **entries;
    int count = scandir(run, &entries, NULL, NULL);
    if (count < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be read as a run's folder", run);
    bool ok = true;
    for (int i = 0; i < count; i++) {
        if (ok && is_leftover(entries[i]->d_name)) {
            char *path = path_join(run, entries[i]->d_name);
            ok = tree_remove(path, error);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return ok;
}
