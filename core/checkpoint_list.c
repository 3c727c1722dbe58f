// Finding, pruning and cleaning up checkpoints of a run; see checkpoint.h.
#include "checkpoint.h"
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    for (int i = 0; ok && i < CHECKPOINT_FILES; i++) {
        if (!manifest.present[i]) continue;
        char *path = path_join(folder, checkpoint_file_names[i]);
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

bool checkpoint_latest(const char *run, char **folder, Error *error) {
    *folder = NULL;
    StepList list;
    if (!steps_list(run, &list, error)) return false;
    Error fault;
    for (int64_t i = 0; i < list.count && !*folder; i++) {
        char *path = checkpoint_path(run, list.steps[i]);
        if (whole_check(path, &fault)) {
            *folder = path;
            break;
        }
        warn("passing over a damaged checkpoint: %s", fault.message);
        free(path);
    }
    bool ok = *folder || list.count == 0;
    if (!ok) {
        *error = fault;
        error_prefix(error, "%s: none of its %lld checkpoints is whole", run, (long long)list.count);
    }
    free(list.steps);
    return ok;
}

bool checkpoint_later(const char *run, int64_t step, bool *later, Error *error) {
    *later = false;
    StepList list;
    Error ignored;
    if (!steps_list(run, &list, error)) return false;
    for (int64_t i = 0; i < list.count && list.steps[i] > step && !*later; i++) {
        char *path = checkpoint_path(run, list.steps[i]);
        *later = whole_check(path, &ignored);
        free(path);
    }
    free(list.steps);
    return true;
}

// A path that ends in the folder's own name: no slashes behind, and not "." or "..".
static char *path_named(const char *path) {
    char *named = copy_or_exit(path);
    for (size_t end = strlen(named); end > 1 && named[end - 1] == '/'; end--) named[end - 1] = 0;
    if (strcmp(path_name(named), ".") != 0 && strcmp(path_name(named), "..") != 0) return named;
    free(named);
    return realpath(path, NULL);
}

char *checkpoint_find(const char *path, Error *error) {
    char *state = path_join(path, STATE_FILE_NAME);
    bool is_checkpoint = file_exists(state);
    free(state);
    if (is_checkpoint) return path_named(path);

    char *folder;
    if (!checkpoint_latest(path, &folder, error)) return NULL;
    if (folder) return folder;
    if (folder_exists(path)) {
        error_set(error, STATUS_DATA,
                  "%s: neither a checkpoint nor a run with one (no " STATE_FILE_NAME ", no step_* folder)",
                  path);
    } else {
        error_set(error, STATUS_DATA, "%s: no such run or checkpoint", path);
    }
    return NULL;
}

bool checkpoint_check_out(const char *out, Error *error) {
    char *state = path_join(out, STATE_FILE_NAME);
    bool is_checkpoint = file_exists(state);
    free(state);
    return !is_checkpoint ||
           error_set(error, STATUS_USAGE,
                     "--out %s is a checkpoint, which must hold nothing else; choose another folder", out);
}

// ---- Deleting

static bool checkpoint_delete(const char *run, int64_t step, Error *error) {
    char *path = checkpoint_path(run, step), *old = checkpoint_hidden_path(run, step, ".old");
    bool ok = path_rename(path, old, error) && tree_remove(old, error);
    free(path);
    free(old);
    return ok;
}

bool checkpoint_prune(const char *run, int64_t keep, Error *error) {
    if (keep < 1) return true;
    if (!checkpoint_clean(run, error)) return false;
    StepList list;
    if (!steps_list(run, &list, error)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        if (keep == 0) {
            ok = checkpoint_delete(run, list.steps[i], error);
            continue;
        }
        Error fault;
        char *path = checkpoint_path(run, list.steps[i]);
        if (whole_check(path, &fault)) {
            keep--;
        } else {
            warn("a damaged checkpoint does not count as kept: %s", fault.message);
        }
        free(path);
    }
    free(list.steps);
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
