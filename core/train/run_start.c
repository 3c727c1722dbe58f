// Where a run starts; see run_start.h.
#include "core/train/run_start.h"

#include "core/base/files.h"
#include "core/base/names.h"
#include "core/checkpoint/run_folder.h"

#include <stdlib.h>
#include <string.h>

// Which of a run's checkpoints, where the path is no checkpoint itself. A plan does not read them through.
static bool choose_checkpoint(Run *run, const char *path, const Options *options, Error *error) {
    if (options->dry_run) return checkpoint_latest(path, &run->checkpoint, error);
    run->verified = true;
    return checkpoint_choose(path, run->engine.ranks, &run->checkpoint, error);
}

// --resume RUN, RUN/step_N or a link to one: go on there, or branch off into --out.
static bool find_checkpoint(Run *run, const Options *options, Error *error) {
    bool is = checkpoint_is(options->resume);
    if (!ranks_compare(run->engine.ranks, "what --resume leads to", is, error)) return false;
    if (is) {
        run->checkpoint = checkpoint_named(options->resume, error);
        if (!run->checkpoint) return false;
    } else if (!choose_checkpoint(run, options->resume, options, error)) {
        return false;
    }
    if (!run->checkpoint) return checkpoint_none(options->resume, error);
    char *origin = path_parent(run->checkpoint);
    run->continues = !options->out || file_same(options->out, origin);
    run->folder = copy_or_exit(options->out ? options->out : origin);
    free(origin);
    return true;
}

// The checkpoint that a run branched off from; NULL, with an error, where it is not there. `what` says whose
// it is, `folder` where that lies.
static char *find_parent(const char *what, const char *folder, const RunOrigin *origin, Error *error) {
    char *state = path_join(path_name(origin->parent), STATE_FILE_NAME);
    char *parent = run_parent_find(folder, origin, state), *checkpoint = NULL;
    if (parent) checkpoint = path_join(parent, path_name(origin->parent));
    free(state);
    free(parent);
    if (checkpoint) return checkpoint;
    error_set(
        error, STATUS_USAGE,
        "%s branched off from %s, which is not there: its settings alone do not give its weights; say where "
        "that checkpoint is with --resume",
        what, origin->parent);
    return NULL;
}

// --config of a branch: it begins where that began.
static bool find_config_parent(Run *run, const Options *options, Error *error) {
    RunOrigin origin;
    if (!options->config || options->init) return true;
    if (!file_exists(options->config)) return true; // read_config_file says so
    if (!run_origin_read(options->config, &origin, error)) return false;
    char *folder = path_parent(options->config);
    if (origin.parent) run->checkpoint = find_parent(options->config, folder, &origin, error);
    bool ok = !origin.parent || run->checkpoint;
    free(folder);
    run_origin_free(&origin);
    return ok;
}

// --resume auto: the last checkpoint; where there is none yet, the beginning once more.
static bool find_automatic(Run *run, const Options *options, Error *error) {
    RunOrigin origin;
    run->folder = copy_or_exit(options->out);
    if (!ranks_agree(run->engine.ranks, run_folder_check(options->out, error), error)) return false;
    if (!choose_checkpoint(run, options->out, options, error)) return false;
    run->continues = run->checkpoint != NULL;
    if (run->continues) return true;
    run->verified = false;
    if (!run_origin_of(options->out, &origin, error)) return false;
    if (!origin.parent) {
        run_origin_free(&origin);
        return find_config_parent(run, options, error);
    }
    run->checkpoint = find_parent(options->out, options->out, &origin, error);
    run->again = json_incref(origin.settings);
    run_origin_free(&origin);
    return run->checkpoint != NULL;
}

// A folder that holds something, but no run, is somebody else's. Hidden entries do not count, nor does what a
// run has left that made no update.
static bool check_unused(const char *folder, bool is_run, Error *error) {
    PathList names;
    bool used = false;
    if (!folder_list(folder, &names, error)) return false;
    for (int64_t i = 0; i < names.count; i++) {
        const char *name = names.paths[i];
        bool ours =
            strcmp(name, RUN_FILE) == 0 || strcmp(name, LOG_FILE) == 0 || strcmp(name, "tensorboard") == 0;
        used = used || (name[0] != '.' && !(is_run && ours));
    }
    paths_free(&names);
    return !used ||
           error_set(error, STATUS_USAGE,
                     "--out %s is not empty and holds no run; choose another folder, or say --resume "
                     "auto to begin a run beside what is there",
                     folder);
}

// Whether the run in a folder began from the checkpoint that this one is to begin from.
static bool same_beginning(const Run *run) {
    RunOrigin origin;
    Error ignored;
    if (!run->checkpoint || !run_origin_of(run->folder, &origin, &ignored)) return false;
    char *mine = path_absolute(run->checkpoint), *its = origin.parent ? path_absolute(origin.parent) : NULL;
    bool same = its && strcmp(its, mine) == 0;
    free(mine);
    free(its);
    run_origin_free(&origin);
    return same;
}

// Commands that are given a folder with a config.json take it for a model: it would stand before the run's.
static bool check_no_model(const char *folder, Error *error) {
    char *config = path_join(folder, CONFIG_FILE);
    bool model = file_exists(config);
    free(config);
    return !model ||
           error_set(error, STATUS_USAGE,
                     "--out %s holds a model (config.json), which would be taken in place of the run's; "
                     "choose another folder",
                     folder);
}

// Whether a new run may begin in its folder.
static bool check_free(const Run *run, bool automatic, Error *error) {
    const char *out = run->folder;
    if (file_exists(out)) {
        return error_set(error, STATUS_USAGE, "--out %s is a file; choose another folder", out);
    }
    if (!folder_exists(out)) return true;
    if (!run_folder_check(out, error)) return false;
    bool is_run = run_folder_is_run(out);
    char *log = path_join(out, LOG_FILE);
    bool lone = !is_run && file_exists(log);
    free(log);
    if (lone) {
        return error_set(error, STATUS_USAGE,
                         "--out %s holds a log.jsonl that is no run's; choose another folder", out);
    }
    // A run that was stopped before its first checkpoint is begun again by --resume auto; one that made no
    // update, and a branch by the command that began it, by any.
    bool taken =
        run->newest >= 0 || (is_run && !automatic && run_folder_has_updates(out) && !same_beginning(run));
    if (taken) {
        return error_set(
            error, STATUS_USAGE,
            "--out %s already holds a run; continue it with --resume auto, or choose another folder", out);
    }
    return check_no_model(out, error) && (automatic || check_unused(out, is_run, error));
}

// Whether a folder has nothing but checkpoints, as one that they were moved to, and what is hidden.
static bool only_checkpoints(const char *folder) {
    PathList names;
    Error ignored;
    if (!folder_list(folder, &names, &ignored)) return false;
    bool only = true;
    for (int64_t i = 0; i < names.count; i++)
        only = only && (names.paths[i][0] == '.' || checkpoint_name_step(names.paths[i]) >= 0);
    paths_free(&names);
    return only;
}

// Where a run goes on, nothing there may be somebody else's.
static bool check_goes_on(const Run *run, const Options *options, Error *error) {
    if (!run_folder_check(run->folder, error)) return false;
    char *log = path_join(run->folder, LOG_FILE);
    bool ok =
        options->out || run_folder_is_run(run->folder) || file_exists(log) || only_checkpoints(run->folder);
    free(log);
    return ok ||
           error_set(error, STATUS_USAGE,
                     "--resume %s: the checkpoint %s lies among other things, in no run's folder (%s has no "
                     "run.json); begin a new run from it with --out",
                     options->resume, run->checkpoint, run->folder);
}

bool run_find_start(Run *run, const Options *options, Error *error) {
    bool automatic = options->resume && strcmp(options->resume, "auto") == 0;
    bool named = options->resume && !automatic;
    if (automatic && !options->out) {
        return error_set(error, STATUS_USAGE, "--resume auto needs --out, the run to start or to continue");
    }
    if (options->new_data && !options->resume) {
        return error_set(error, STATUS_USAGE,
                         "--new-data goes with --resume: it begins other data in a run that goes on");
    }
    if (named && options->init) {
        return error_set(error, STATUS_USAGE,
                         "--init %s: a resumed run has its weights already; leave out --init or --resume",
                         options->init);
    }
    bool free_out = !options->out || checkpoint_check_out(options->out, error);
    if (!ranks_agree(run->engine.ranks, free_out, error)) return false;
    if (!automatic && options->out && !named) run->folder = copy_or_exit(options->out);
    bool ok = named       ? find_checkpoint(run, options, error)
              : automatic ? find_automatic(run, options, error)
                          : find_config_parent(run, options, error);
    run->newest = ok && run->folder ? checkpoint_newest(run->folder) : -1;
    if (!ok || !run->folder || options->dry_run) return ok;
    return run->continues ? check_goes_on(run, options, error) : check_free(run, automatic, error);
}
