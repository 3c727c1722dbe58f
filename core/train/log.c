// The log of a run; see log.h.
#include "core/train/log.h"
#include "core/base/bytes.h"
#include "core/base/names.h"
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/checkpoint/run_folder.h"
#include "core/train/tensorboard.h"
#include "core/checkpoint/trainer_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Nine digits tell any two float32 apart.
#define LINE_FORMAT (JSON_COMPACT | JSON_REAL_PRECISION(9))

#define OTHERS_FILE "log.others" // lines that somebody else has put into the log

#define MAX_SCALARS 16 // numbers of a line
#define TAG_SIZE    96 // bytes of "<event>/<key>_<attention>"

struct Log {
    int folder, file;
    char *path;
    bool apart;               // somebody else's file is in the log's place, which is told once
    TensorBoard *tensorboard; // NULL for none
};

static int open_file(int folder) {
    return openat(folder, LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static int open_folder(const char *run) {
    return open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

Log *log_open(const char *run, Error *error) {
    if (!folders_make(run, error)) return NULL;
    Log *log = (Log *)alloc_or_exit(1, sizeof *log);
    log->path = path_join(run, LOG_FILE);
    log->folder = open_folder(run);
    log->file = log->folder >= 0 ? open_file(log->folder) : -1;
    if (log->file >= 0) return log;
    error_set_errno(error, STATUS_DATA, "%s: cannot be opened for writing", log->path);
    if (log->folder >= 0) close(log->folder);
    free(log->path);
    free(log);
    return NULL;
}

bool log_move(Log *log, const char *run, Error *error) {
    int folder = open_folder(run);
    if (folder < 0) return error_set_errno(error, STATUS_DATA, "%s: cannot be opened as a run's folder", run);
    close(log->folder);
    free(log->path);
    log->folder = folder;
    log->path = path_join(run, LOG_FILE);
    return true;
}

// Whether the file that is open is still the folder's log.
static bool in_place(const Log *log) {
    struct stat own, there;
    if (fstat(log->file, &own) != 0) return true;
    if (fstatat(log->folder, LOG_FILE, &there, 0) != 0) return errno != ENOENT;
    return own.st_dev == there.st_dev && own.st_ino == there.st_ino;
}

// A log that somebody has taken away, as a rotation of logs does, or replaced, goes on in a new one, unless
// what is in its place is somebody else's, or the whole folder has gone: the next save sees to that.
static void stay_in_place(Log *log) {
    Error error;
    if (log->apart || in_place(log)) return;
    char *run = path_parent(log->path);
    bool ours = run_folder_check(run, &error);
    int file = ours ? open_file(log->folder) : -1;
    free(run);
    log->apart = !ours;
    if (!ours) warn("what the run logs from here on is lost: %s", error.message);
    if (file < 0) return;
    close(log->file);
    log->file = file;
    warn("%s was taken away or replaced under the run: it goes on in the one that is there now", log->path);
}

bool log_to_tensorboard(Log *log, const char *run, int64_t step, Error *error) {
    log->tensorboard = tensorboard_open(run, step + 1, error);
    return log->tensorboard != NULL;
}

void log_close(Log *log) {
    if (!log) return;
    tensorboard_close(log->tensorboard);
    close(log->folder);
    close(log->file);
    free(log->path);
    free(log);
}

// The update that an event of this step belongs to: a switch comes after its step, it is of the next one.
static int64_t event_update(const char *event, int64_t step) {
    return event && strcmp(event, "switch") == 0 ? step + 1 : step;
}

// ---- TensorBoard

static void scalar_tag(const json_t *line, const char *key, char *tag, size_t size) {
    const char *event = json_string_value(json_object_get(line, "event"));
    if (!event) {
        snprintf(tag, size, "train/%s", key);
    } else if (strcmp(event, "validation") == 0) {
        snprintf(tag, size, "val/%s_%s", key, json_string_value(json_object_get(line, "attention")));
    } else {
        snprintf(tag, size, "%s/%s", event, key);
    }
}

static bool scalars_show(Log *log, const json_t *line, int64_t update, Error *error) {
    TensorBoardScalar scalars[MAX_SCALARS];
    char tags[MAX_SCALARS][TAG_SIZE];
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)line, key, value) {
        if (!json_is_number(value) || strcmp(key, "step") == 0 || count == MAX_SCALARS) continue;
        scalar_tag(line, key, tags[count], TAG_SIZE);
        scalars[count].tag = tags[count];
        scalars[count].value = json_number_value(value);
        count++;
    }
    return tensorboard_scalars(log->tensorboard, update, scalars, count, error);
}

// The words of an event, "from lighthouse, to dense"; those of a validation are in its tags.
static bool words_show(Log *log, const json_t *line, const char *event, int64_t update, Error *error) {
    ByteBuffer text = {NULL, 0, 0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)line, key, value) {
        const char *words = json_string_value(value);
        if (!words || !words[0] || strcmp(key, "event") == 0) continue;
        bytes_printf(&text, "%s%s %s", text.size ? ", " : "", key, words);
    }
    bool shown = text.size > 0 && strcmp(event, "validation") != 0;
    bytes_append(&text, "", 1);
    bool ok = !shown || tensorboard_text(log->tensorboard, update, event, text.data, error);
    bytes_free(&text);
    return ok;
}

static bool line_show(Log *log, const json_t *line, Error *error) {
    const char *event = json_string_value(json_object_get(line, "event"));
    int64_t update = event_update(event, json_integer_value(json_object_get(line, "step")));
    return scalars_show(log, line, update, error) && (!event || words_show(log, line, event, update, error));
}

// ---- Lines

// Writes an object as one line, in one piece, and shows it. Takes the reference.
static bool line_write(Log *log, json_t *line, Error *error) {
    if (!log) { // another rank writes it
        json_decref(line);
        return true;
    }
    size_t length = json_dumpb(line, NULL, 0, LINE_FORMAT);
    char *text = (char *)alloc_or_exit(length + 1, 1);
    json_dumpb(line, text, length, LINE_FORMAT);
    text[length] = '\n';
    stay_in_place(log);
    bool ok = file_append(log->file, log->path, text, length + 1, error) &&
              (!log->tensorboard || line_show(log, line, error));
    json_decref(line);
    free(text);
    return ok;
}

bool log_step(Log *log, const LogStep *step, Error *error) {
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer(step->step));
    json_object_set_new(line, "tokens", json_integer(step->tokens));
    json_object_set_new(line, "loss", json_number(step->loss));
    json_object_set_new(line, "grad_norm", json_number(step->grad_norm));
    json_object_set_new(line, "lr", json_number(step->lr));
    json_object_set_new(line, "attention", json_string(attention_name(step->attention)));
    json_object_set_new(line, "tok_per_s", json_number(step->tokens_per_second));
    json_object_set_new(line, "mfu", json_number(step->mfu));
    json_object_set_new(line, "mem_gb", json_number(step->mem_gb));
    json_object_set_new(line, "seconds", json_number(step->seconds));
    json_t *sources = step->n_sources > 0 ? json_array() : NULL;
    for (int i = 0; i < step->n_sources; i++)
        json_array_append_new(sources, json_integer(step->source_tokens[i]));
    if (sources) json_object_set_new(line, "source_tokens", sources);
    return line_write(log, line, error);
}

bool log_event(Log *log, const char *event, int64_t step, json_t *fields, Error *error) {
    json_t *line = json_object();
    json_object_set_new(line, "event", json_string(event));
    json_object_set_new(line, "step", json_integer(step));
    json_object_update_missing(line, fields);
    json_decref(fields);
    return line_write(log, line, error);
}

// ---- Reading and cutting

// The whole log, `size` bytes; empty where there is none. NULL on error; release with free().
static char *log_text(const char *path, size_t *size, Error *error) {
    *size = 0;
    return file_exists(path) ? file_read(path, SIZE_MAX, size, error) : (char *)alloc_or_exit(1, 1);
}

static bool line_is(const char *line, size_t length, const char *event, int64_t step) {
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(object, "event"));
    bool is = (event ? name && strcmp(name, event) == 0 : object && !name) &&
              json_integer_value(json_object_get(object, "step")) == step;
    json_decref(object);
    return is;
}

bool log_holds(const char *run, const char *event, int64_t step, bool *holds, Error *error) {
    char *path = path_join(run, LOG_FILE);
    size_t size;
    char *text = log_text(path, &size, error);
    free(path);
    *holds = false;
    if (!text) return false;
    for (char *line = text, *newline = NULL; !*holds && line < text + size; line = newline + 1) {
        newline = (char *)memchr(line, '\n', (size_t)(text + size - line));
        if (!newline) break; // torn
        *holds = line_is(line, (size_t)(newline - line), event, step);
    }
    free(text);
    return true;
}

// Whether a line is whole and of an update up to this step.
static bool line_stays(const char *line, size_t length, int64_t step) {
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    int64_t found;
    bool stays = json_member_int(object, "step", 0, step, &found);
    stays = stays && event_update(json_string_value(json_object_get(object, "event")), found) <= step;
    json_decref(object);
    return stays;
}

// What somebody has noted in the log; a line of ours that a crash has torn or zeroed is none. The log's end
// without a newline may be torn anywhere.
static bool line_is_others(const char *line, size_t length, bool end) {
    static const char *const ours[] = {"{\"step\":", "{\"event\":"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        size_t own = strlen(ours[i]), told = end && length < own ? length : own;
        if (length >= told && memcmp(line, ours[i], told) == 0) return false;
    }
    return length > 0 && !memchr(line, 0, length);
}

// Puts lines of others behind those that were there before.
static bool others_keep(const char *run, const ByteBuffer *others, Error *error) {
    if (others->size == 0) return true;
    char *path = path_join(run, OTHERS_FILE);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool ok = file >= 0 ? file_append(file, path, others->data, others->size, error)
                        : error_set_errno(error, STATUS_DATA, "%s: cannot be opened for writing", path);
    if (file >= 0) close(file);
    if (ok) warn("%s/" LOG_FILE " had lines that are no log's; moved to %s", run, path);
    free(path);
    return ok;
}

bool log_cut(const char *run, int64_t step, Error *error) {
    char *path = path_join(run, LOG_FILE);
    ByteBuffer others = {NULL, 0, 0};
    size_t size, kept = 0;
    char *text = log_text(path, &size, error);
    bool ok = text != NULL;
    for (size_t start = 0; ok && start < size;) {
        char *newline = (char *)memchr(text + start, '\n', size - start);
        if (!newline) { // torn, or a note without a newline
            if (line_is_others(text + start, size - start, true))
                bytes_printf(&others, "%.*s\n", (int)(size - start), text + start);
            break;
        }
        size_t length = (size_t)(newline + 1 - (text + start));
        if (line_stays(text + start, length - 1, step)) {
            memmove(text + kept, text + start, length);
            kept += length;
        } else if (line_is_others(text + start, length - 1, false)) {
            bytes_append(&others, text + start, length);
        }
        start += length;
    }
    ok = ok && others_keep(run, &others, error);
    if (ok && kept < size) ok = file_write(path, text, kept, error);
    bytes_free(&others);
    free(text);
    free(path);
    return ok;
}
