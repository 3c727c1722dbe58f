// The folder of a run; see run_folder.h.
#include "core/checkpoint/run_folder.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define PROGRAM "train_gpt_lighthouse"

static char *run_json_path(const char *run) {
    return path_join(run, RUN_FILE);
}

static char *log_path(const char *run) {
    return path_join(run, LOG_FILE);
}

// ---- How it began

static char *copy_member(const json_t *json, const char *key) {
    const char *text = json_string_value(json_object_get(json, key));
    return text ? copy_or_exit(text) : NULL;
}

bool run_origin_read(const char *path, RunOrigin *origin, Error *error) {
    memset(origin, 0, sizeof *origin);
    if (folder_exists(path))
        return error_set(error, STATUS_DATA, "%s: is a folder, not a run's settings; move it away", path);
    json_t *json = file_exists(path) ? json_file_read(path, error) : json_object();
    if (!json) return false;
    origin->id = copy_member(json, "id");
    origin->parent = copy_member(json, "parent");
    origin->parent_id = copy_member(json, "parent_id");
    if (!json_member_int(json, "parent_step", 0, INT64_MAX, &origin->parent_step)) {
        origin->parent_step = origin->parent ? checkpoint_name_step(path_name(origin->parent)) : -1;
    }
    if (!json_member_int(json, "ranks", 1, INT32_MAX, &origin->ranks)) origin->ranks = 0;
    origin->settings = json_incref(json_object_get(json, "settings"));
    origin->changes = json_incref(json_object_get(json, "changes"));
    json_decref(json);
    return true;
}

bool run_origin_of(const char *run, RunOrigin *origin, Error *error) {
    char *path = run_json_path(run);
    bool ok = run_origin_read(path, origin, error);
    free(path);
    return ok;
}

void run_origin_free(RunOrigin *origin) {
    free(origin->id);
    free(origin->parent);
    free(origin->parent_id);
    json_decref(origin->settings);
    json_decref(origin->changes);
    memset(origin, 0, sizeof *origin);
}

char *run_origin_new_id(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    int64_t seed[3] = {(int64_t)time.tv_sec, (int64_t)time.tv_nsec, (int64_t)getpid()};
    char text[32];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits(seed, sizeof seed));
    return copy_or_exit(text);
}

// ---- Its parent

// Whether a folder has the file that is asked for, and is the run of this id as far as both are known.
static bool is_parent(const char *folder, const char *id, const char *needed) {
    char *path = path_join(folder, needed);
    RunOrigin origin;
    Error ignored;
    bool is = file_exists(path) && run_origin_of(folder, &origin, &ignored);
    free(path);
    if (!is) return false;
    is = !id || !origin.id || strcmp(id, origin.id) == 0;
    run_origin_free(&origin);
    return is;
}

char *run_parent_find(const char *run, const RunOrigin *origin, const char *needed) {
    char *real = realpath(run, NULL);
    char *there = path_parent(origin->parent), *above = path_parent(real ? real : run);
    char *beside = path_join(above, path_name(there)), *found = NULL;
    bool absolute = origin->parent[0] == '/';
    if (absolute && is_parent(there, origin->parent_id, needed)) found = copy_or_exit(there);
    if (!found && is_parent(beside, origin->parent_id, needed)) found = copy_or_exit(beside);
    free(real);
    free(there);
    free(above);
    free(beside);
    return found;
}

// ---- What is this program's

bool run_folder_is_run(const char *folder) {
    char *path = run_json_path(folder);
    Error ignored;
    json_t *json = file_exists(path) ? json_file_read(path, &ignored) : NULL;
    const char *program = json_string_value(json_object_get(json, "program"));
    bool is = program && strcmp(program, PROGRAM) == 0 && json_is_object(json_object_get(json, "settings"));
    json_decref(json);
    free(path);
    return is;
}

// A line of a step has "attention" too, that of an event has "event".
static bool is_log_line(const char *line, size_t length) {
    json_t *json = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    bool is = json_is_integer(json_object_get(json, "step")) &&
              (json_is_string(json_object_get(json, "event")) ||
               json_is_string(json_object_get(json, "attention")));
    json_decref(json);
    return is;
}

// Whether the first line of a log is a run's. What a crash leaves counts too where run.json says that this is
// a run: zeros, a torn line, nothing.
static bool log_is_ours(const char *path, bool is_run) {
    char *line = NULL;
    size_t room = 0;
    if (!file_regular(path)) return false; // reading a pipe would wait for its writer
    FILE *file = fopen(path, "re");
    ssize_t length = file ? getline(&line, &room, file) : -1;
    bool whole = length > 0 && line[length - 1] == '\n';
    bool ours =
        length <= 0 || (is_run && (!whole || line[0] == 0)) || (whole && is_log_line(line, (size_t)length));
    free(line);
    if (file) fclose(file);
    return ours;
}

static bool foreign(const char *path, const char *why, Error *error) {
    return error_set(
        error, STATUS_USAGE,
        "%s is not this program's%s, and a run would overwrite it: move it away, or choose another "
        "folder with --out",
        path, why);
}

bool run_folder_check(const char *folder, Error *error) {
    char *settings = run_json_path(folder), *log = log_path(folder);
    bool is_run = run_folder_is_run(folder), ok = true;
    if (!is_run && file_exists(settings) && access(settings, R_OK) != 0) {
        ok = error_set_errno(error, STATUS_DATA, "%s: cannot be read", settings);
    } else if (!is_run && (file_exists(settings) || folder_exists(settings))) {
        ok = foreign(settings, " (it has no \"program\": \"" PROGRAM "\")", error);
    } else if (folder_exists(log) || (file_exists(log) && !log_is_ours(log, is_run))) {
        ok = foreign(log, " (its first line is none of a run's log)", error);
    }
    free(settings);
    free(log);
    return ok;
}

bool run_folder_has_updates(const char *run) {
    char *path = log_path(run), *line = NULL;
    size_t room = 0;
    ssize_t length;
    FILE *file = fopen(path, "re");
    bool has = false;
    while (file && !has && (length = getline(&line, &room, file)) > 0)
        has = is_log_line(line, (size_t)length) && strncmp(line, "{\"step\":", 8) == 0;
    free(line);
    free(path);
    if (file) fclose(file);
    return has;
}

// ---- What is in the way

static bool copy_log(const char *run, const char *to, Error *error) {
    char *from = log_path(run), *copy = log_path(to);
    size_t size;
    char *text = file_exists(from) ? file_read(from, SIZE_MAX, &size, error) : NULL;
    bool ok = !file_exists(from) || (text && file_write(copy, text, size, error));
    free(text);
    free(from);
    free(copy);
    return ok;
}

static bool move_all(const PathList *later, const char *to, Error *error) {
    bool ok = true;
    for (int64_t i = 0; ok && i < later->count; i++) {
        char *target = path_join(to, path_name(later->paths[i]));
        ok = path_rename(later->paths[i], target, error);
        free(target);
    }
    return ok;
}

bool run_folder_set_aside(const char *run, int64_t step, Error *error) {
    PathList steps, later = {NULL, 0};
    if (!folder_match(run, "step_*", &steps, error)) return false;
    for (int64_t i = 0; i < steps.count; i++)
        if (checkpoint_name_step(path_name(steps.paths[i])) > step) paths_add(&later, steps.paths[i]);
    paths_free(&steps);
    bool ok = true;
    if (later.count > 0) {
        char *to = checkpoint_aside_path(run);
        ok = folders_make(to, error) && copy_log(run, to, error) && move_all(&later, to, error) &&
             folder_sync(run, error);
        if (ok) {
            warn("%s goes on from step %lld: its %lld later checkpoint%s, from %s on, moved to %s, with a "
                 "copy of "
                 "the log; delete that folder when you do not need it",
                 run, (long long)step, (long long)later.count, later.count == 1 ? "" : "s",
                 path_name(later.paths[0]), to);
        }
        free(to);
    }
    paths_free(&later);
    return ok;
}
