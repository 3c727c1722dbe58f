// The log of a run read back whole; see run_log.h.
#include "run_log.h"

#include "files.h"
#include "json_file.h"
#include "trainer_state.h"

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

// An array with room for one element more, whose size doubles whenever it is a power of two.
static void *grown(void *array, int64_t count, size_t size) {
    if ((count & (count - 1)) != 0) return array;
    void *larger = realloc(array, (size_t)(count ? 2 * count : 1) * size);
    if (larger) return larger;
    Error error;
    error_set(&error, STATUS_MEMORY, "no memory for a log of %lld lines", (long long)count);
    error_exit(&error);
}

static double number_of(const json_t *line, const char *key) {
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool attention_of(const json_t *line, Attention *attention) {
    const char *name = json_string_value(json_object_get(line, "attention"));
    for (int i = ATTENTION_LIGHTHOUSE; name && i <= ATTENTION_DENSE; i++) {
        *attention = (Attention)i;
        if (strcmp(name, attention_name(*attention)) == 0) return true;
    }
    return false;
}

// A step that comes again was made again: what the log had from there on counts no more.
static void add_step(RunLog *log, const RunStep *step) {
    while (log->n_steps > 0 && log->steps[log->n_steps - 1].step >= step->step) log->n_steps--;
    log->steps = (RunStep *)grown(log->steps, log->n_steps, sizeof *log->steps);
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
            (RunValidation *)grown(log->validations, log->n_validations, sizeof *log->validations);
        log->validations[log->n_validations++] = validation;
    } else if (strcmp(event, "resume") == 0) {
        while (log->n_resumes > 0 && log->resumes[log->n_resumes - 1] >= step) log->n_resumes--;
        log->resumes = (int64_t *)grown(log->resumes, log->n_resumes, sizeof *log->resumes);
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

// The folder of the run that a parent's checkpoint lies in: as run.json has it, or, where all runs were moved
// together, beside the branch. NULL where neither has a log.
static char *find_parent(const Source *source, const char *checkpoint) {
    char *folder = path_parent(checkpoint), *above = path_parent(source->folder);
    char *beside = path_join(above, path_name(folder)), *found = NULL;
    char *candidates[] = {folder, beside};
    for (int i = 0; i < 2 && !found; i++) {
        char *log = path_join(candidates[i], "log.jsonl");
        if (file_exists(log)) found = copy_or_exit(candidates[i]);
        free(log);
    }
    free(folder);
    free(above);
    free(beside);
    return found;
}

static bool read_parent(RunLog *log, const Source *source, const char *checkpoint, Error *error) {
    int64_t step = checkpoint_name_step(path_name(checkpoint));
    if (source->generation == MOST_PARENTS) {
        return error_set(error, STATUS_DATA, "%s: has more than %d parents, or is its own", source->folder,
                         MOST_PARENTS);
    }
    if (step < 0) {
        return error_set(error, STATUS_DATA, "%s/run.json: the parent %s is no checkpoint's path",
                         source->folder, checkpoint);
    }
    char *folder = find_parent(source, checkpoint);
    if (!folder) {
        warn("%s: its parent %s is not there; the curve begins at step %lld", source->folder, checkpoint,
             (long long)step);
        return true;
    }
    Source parent = {folder, path_join(folder, "log.jsonl"), source->last < step ? source->last : step, 1,
                     source->generation + 1};
    bool ok = read_run(log, &parent, error);
    free(parent.log);
    free(folder);
    return ok;
}

static bool read_run(RunLog *log, Source *source, Error *error) {
    char *path = path_join(source->folder, "run.json");
    bool own = strcmp(path_name(source->log), "log.jsonl") == 0; // any other log's run.json lies elsewhere
    json_t *run = own && file_exists(path) ? json_file_read(path, error) : json_object();
    free(path);
    if (!run) return false;
    if (!json_member_int(run, "ranks", 1, MOST_RANKS, &source->ranks)) source->ranks = 1;
    const char *parent = json_string_value(json_object_get(run, "parent"));
    bool ok = (!parent || read_parent(log, source, parent, error)) && read_lines(log, source, error);
    json_decref(run);
    return ok;
}

// ---- The face

// A log.jsonl is called after its folder, any other log after its file.
static char *name_of(const Source *source) {
    const char *file = path_name(source->log);
    if (strcmp(file, "log.jsonl") == 0) {
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

bool run_log_read(const char *path, RunLog *log, Error *error) {
    memset(log, 0, sizeof *log);
    bool is_log = path_has_ending(path, ".jsonl") && !folder_exists(path);
    Source source = {is_log ? path_parent(path) : copy_or_exit(path),
                     is_log ? copy_or_exit(path) : path_join(path, "log.jsonl"), INT64_MAX, 1, 0};
    bool ok = file_exists(source.log)
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
