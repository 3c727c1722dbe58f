// The log of a run read back whole; see run_log.h.
#include "core/train/run_log.h"

#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/json_file.h"
#include "core/checkpoint/run_folder.h"
#include "core/checkpoint/trainer_state.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PARENTS 64
#define MOST_RANKS   (1 << 20)

// Where a run's files are, and what of its log counts.
typedef struct {
    char *folder, *log;
    int64_t last;   // later steps are left out
    int64_t ranks;  // of the lines that are read: at first what run.json has, then what a resume tells
    int generation; // 0 for the run that was asked for, 1 for its parent, ...
} Source;

// ---- Lines

static double number_of(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool attention_of(const json_t *line, Attention *attention) {
    const char *name = json_string_value(json_object_get(line, "attention"));
    return name && attention_parse(name, attention);
}

// A step that comes again was made again: what the log had from there on counts no more.
static void add_step(RunLog *log, const RunStep *step) {
    while (log->n_steps > 0 && log->steps[log->n_steps - 1].step >= step->step) log->n_steps--;
    log->steps = (RunStep *)grow_or_exit(log->steps, log->n_steps, sizeof *log->steps);
    log->steps[log->n_steps++] = *step;
}

static bool read_step(RunLog *log, const json_t *line, int64_t number, int64_t ranks) {
    RunStep step = {number, 0,          number_of(line, "loss"), number_of(line, "seconds"),
                    0,      (int)ranks, ATTENTION_DENSE};
    if (!json_member_int(line, "tokens", 0, INT64_MAX, &step.tokens)) return false;
    if (!attention_of(line, &step.attention)) return false;
    if (!(step.seconds >= 0)) step.seconds = 0;
    add_step(log, &step);
    return true;
}

static bool read_event(RunLog *log, const json_t *line, const char *event, int64_t step, int64_t *ranks) {
    if (strcmp(event, "validation") == 0) {
        RunValidation validation = {step, number_of(line, "loss"), ATTENTION_DENSE};
        if (!attention_of(line, &validation.attention)) return false;
        while (log->n_validations > 0 && log->validations[log->n_validations - 1].step > step)
            log->n_validations--;
        log->validations =
            (RunValidation *)grow_or_exit(log->validations, log->n_validations, sizeof *log->validations);
        log->validations[log->n_validations++] = validation;
    } else if (strcmp(event, "resume") == 0) {
        while (log->n_resumes > 0 && log->resumes[log->n_resumes - 1] >= step) log->n_resumes--;
        log->resumes = (int64_t *)grow_or_exit(log->resumes, log->n_resumes, sizeof *log->resumes);
        log->resumes[log->n_resumes++] = step;
        int64_t told;
        if (json_member_int(line, "ranks", 1, MOST_RANKS, &told)) *ranks = told;
    }
    return true;
}

// False where the line is no line of a log.
static bool read_line(RunLog *log, const char *text, size_t length, Source *source) {
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    int64_t step;
    const int64_t highest = 1000000000000000; // of --steps, and of what a double counts in ones
    bool known = json_member_int(line, "step", 0, highest, &step);
    const char *event = json_string_value(json_object_get(line, "event"));
    if (known && step <= source->last) {
        known = event ? read_event(log, line, event, step, &source->ranks)
                      : read_step(log, line, step, source->ranks);
    }
    json_decref(line);
    return known;
}

static bool read_lines(RunLog *log, Source *source, Error *error) {
    FILE *file = fopen(source->log, "re");
    if (!file) return error_set_errno(error, STATUS_DATA, "%s: cannot be read", source->log);
    char *line = NULL;
    size_t room = 0;
    int64_t number = 0, bad = 0, first_bad = 0;
    ssize_t length;
    while (errno = 0, (length = getline(&line, &room, file)) > 0) {
        number++;
        bool whole = line[length - 1] == '\n'; // a run that goes on may just be writing its last line
        if (!whole || read_line(log, line, (size_t)length, source)) continue;
        if (bad++ == 0) first_bad = number;
    }
    bool ok = !ferror(file);
    if (!ok) error_set_errno(error, STATUS_DATA, "%s: cannot be read", source->log);
    if (bad > 0) {
        warn("%s: %lld lines that are no log's are left out, the first in line %lld", source->log,
             (long long)bad, (long long)first_bad);
    }
    free(line);
    fclose(file);
    return ok;
}

// ---- A run and its parents

static bool read_run(RunLog *log, Source *source, Error *error);

// The parent's steps up to the checkpoint; a warning where they are not all there.
static bool read_parent_steps(RunLog *log, const Source *source, const char *folder, const RunOrigin *origin,
                              Error *error) {
    int64_t step = origin->parent_step;
    Source parent = {copy_or_exit(folder), path_join(folder, LOG_FILE),
                     source->last < step ? source->last : step, 1, source->generation + 1};
    bool ok = read_run(log, &parent, error);
    int64_t last = log->n_steps > 0 ? log->steps[log->n_steps - 1].step : 0;
    if (ok && last < parent.last) {
        warn("%s: its parent's log %s ends at step %lld, before the branch at step %lld: there is a gap",
             source->folder, parent.log, (long long)last, (long long)step);
    }
    free(parent.folder);
    free(parent.log);
    return ok;
}

static bool read_parent(RunLog *log, const Source *source, const RunOrigin *origin, Error *error) {
    if (source->generation == MOST_PARENTS) {
        return error_set(error, STATUS_DATA, "%s: has more than %d parents, or is its own", source->folder,
                         MOST_PARENTS);
    }
    if (origin->parent_step < 0) {
        warn("%s: its parent %s was renamed, and run.json does not tell its step; the run is drawn alone",
             source->folder, origin->parent);
        return true;
    }
    char *folder = run_parent_find(source->folder, origin, LOG_FILE);
    if (!folder) {
        warn("%s: its parent %s is not there; the curve begins at step %lld", source->folder, origin->parent,
             (long long)origin->parent_step);
        return true;
    }
    bool ok = read_parent_steps(log, source, folder, origin, error);
    free(folder);
    return ok;
}

static bool read_run(RunLog *log, Source *source, Error *error) {
    RunOrigin origin;
    memset(&origin, 0, sizeof origin);
    bool own = strcmp(path_name(source->log), LOG_FILE) == 0; // any other log's run.json lies elsewhere
    if (own && !run_origin_of(source->folder, &origin, error)) return false;
    source->ranks = origin.ranks > 0 && origin.ranks <= MOST_RANKS ? origin.ranks : 1;
    bool ok = (!origin.parent || read_parent(log, source, &origin, error)) && read_lines(log, source, error);
    run_origin_free(&origin);
    return ok;
}

// ---- The face

// A log.jsonl is called after its folder, any other log after its file.
static char *name_of(const Source *source) {
    const char *file = path_name(source->log);
    if (strcmp(file, LOG_FILE) == 0) {
        char *real = realpath(source->folder, NULL);
        char *name = copy_or_exit(path_name(real ? real : source->folder));
        free(real);
        return name;
    }
    char *name = copy_or_exit(file);
    name[strlen(name) - strlen(".jsonl")] = 0;
    if (path_has_ending(name, ".log")) name[strlen(name) - strlen(".log")] = 0;
    return name;
}

// Updates of the run itself that its log has lost, to somebody who cut it or took it away.
static void warn_gaps(const RunLog *log, const Source *source) {
    RunOrigin origin;
    Error ignored;
    if (strcmp(path_name(source->log), LOG_FILE) != 0 || !run_origin_of(source->folder, &origin, &ignored))
        return;
    int64_t before = origin.parent ? origin.parent_step : 0, missing = 0, last_there = 0;
    bool known = origin.settings && before >= 0;
    for (int64_t i = 0; known && i < log->n_steps; i++) {
        int64_t step = log->steps[i].step, gap = step - before - 1;
        if (gap > 0 && missing == 0) last_there = before;
        if (gap > 0) missing += gap;
        if (step > before) before = step;
    }
    run_origin_free(&origin);
    if (missing == 0) return;
    warn("%s: its log lacks %lld of the updates, the first behind step %lld: curves and figures are of the "
         "rest",
         source->folder, (long long)missing, (long long)last_there);
}

bool run_log_read(const char *path, RunLog *log, Error *error) {
    memset(log, 0, sizeof *log);
    bool is_log = path_has_ending(path, ".jsonl") && !folder_exists(path);
    Source source = {is_log ? path_parent(path) : copy_or_exit(path),
                     is_log ? copy_or_exit(path) : path_join(path, LOG_FILE), INT64_MAX, 1, 0};
    // A pipe in a run's folder is no log: opening it would wait for its writer.
    bool ok = (is_log ? file_exists(source.log) : file_regular(source.log))
                  ? read_run(log, &source, error)
                  : error_set(error, STATUS_DATA, "%s: there is no log; name a run's folder, or a log.jsonl",
                              source.log);
    if (ok && log->n_steps == 0) {
        ok = error_set(error, STATUS_DATA, "%s: no step is in it (yet): nothing to draw", source.log);
    }
    double elapsed = 0;
    for (int64_t i = 0; i < log->n_steps; i++) {
        elapsed += log->steps[i].seconds;
        log->steps[i].elapsed = elapsed;
    }
    if (ok) log->name = name_of(&source);
    if (ok) warn_gaps(log, &source);
    free(source.folder);
    free(source.log);
    if (!ok) run_log_free(log);
    return ok;
}

void run_log_free(RunLog *log) {
    free(log->name);
    free(log->steps);
    free(log->validations);
    free(log->resumes);
    memset(log, 0, sizeof *log);
}

int64_t run_log_find(const RunLog *log, int64_t step) {
    int64_t below = -1, above = log->n_steps;
    while (above - below > 1) {
        int64_t middle = below + (above - below) / 2;
        if (log->steps[middle].step <= step) {
            below = middle;
        } else {
            above = middle;
        }
    }
    return below;
}
