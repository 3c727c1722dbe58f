// A run's settings, start and folder; see run.h.
#include "run.h"

#include "context.h"
#include "files.h"
#include "hf_config.h"
#include "json_file.h"
#include "log.h"
#include "model_folder.h"
#include "schedule.h"
#include "tokenizer.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

// ---- where it starts

static bool same_folder(const char *a, const char *b) {
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool same = real_a && real_b && strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

// --resume RUN or RUN/step_N: go on there, or branch off into --out.
static bool find_checkpoint(Run *run, const Options *options, Error *error) {
    if (options->out && !checkpoint_check_out(options->out, error)) return false;
    run->checkpoint = checkpoint_find(options->resume, error);
    if (!run->checkpoint) return false;
    char *origin = path_parent(run->checkpoint), *last = NULL;
    run->continues = !options->out || same_folder(options->out, origin);
    run->folder = copy_or_exit(options->out ? options->out : origin);
    bool ok = !run->continues || checkpoint_latest(origin, &last, error);
    if (ok && run->continues && last && strcmp(path_name(last), path_name(run->checkpoint)) != 0) {
        ok = error_set(
            error, STATUS_USAGE,
            "--resume %s: %s has a later checkpoint, %s; go on from that (--resume %s), or branch off into a "
            "new run with --out",
            options->resume, origin, path_name(last), origin);
    }
    free(origin);
    free(last);
    return ok;
}

// How a run began, as its run.json has it; zero where it does not say.
typedef struct {
    char *parent; // the checkpoint that it branched off from; NULL for none. Release with free()
    int64_t ranks;
} Origin;

static bool read_origin(const char *folder, Origin *origin, Error *error) {
    char *path = path_join(folder, "run.json");
    json_t *json = file_exists(path) ? json_file_read(path, error) : json_object();
    free(path);
    const char *parent = json_string_value(json_object_get(json, "parent"));
    origin->parent = parent ? copy_or_exit(parent) : NULL;
    if (!json_member_int(json, "ranks", 1, INT32_MAX, &origin->ranks)) origin->ranks = 0;
    bool ok = json != NULL;
    json_decref(json);
    return ok;
}

// --resume auto finds a run without a checkpoint: it is begun again, unless it was to branch off from
// another.
static bool check_restart(const char *folder, Error *error) {
    Origin origin;
    if (!read_origin(folder, &origin, error)) return false;
    bool ok = !origin.parent || error_set(error, STATUS_USAGE,
                                          "--resume auto: %s branched off from %s and was stopped before its "
                                          "first checkpoint; remove it and branch off again with --resume %s",
                                          folder, origin.parent, origin.parent);
    free(origin.parent);
    return ok;
}

// A folder that holds something, but no run, is somebody else's. Hidden entries do not count.
static bool check_unused(const char *folder, Error *error) {
    PathList names;
    bool used = false;
    if (!folder_exists(folder)) return true;
    if (!folder_list(folder, &names, error)) return false;
    for (int64_t i = 0; i < names.count; i++) used = used || names.paths[i][0] != '.';
    paths_free(&names);
    return !used ||
           error_set(error, STATUS_USAGE,
                     "--out %s is not empty and holds no run; choose another folder, or say --resume "
                     "auto to begin a run beside what is there",
                     folder);
}

static bool find_start(Run *run, const Options *options, Error *error) {
    bool automatic = options->resume && strcmp(options->resume, "auto") == 0;
    if (automatic && !options->out) {
        return error_set(error, STATUS_USAGE, "--resume auto needs --out, the run to start or to continue");
    }
    if (options->resume && !automatic && options->init) {
        return error_set(error, STATUS_USAGE,
                         "--init %s: a resumed run has its weights already; leave out --init or --resume",
                         options->init);
    }
    if (options->resume && !automatic) {
        if (!find_checkpoint(run, options, error)) return false;
    } else if (options->out) {
        if (!checkpoint_check_out(options->out, error)) return false;
        run->folder = copy_or_exit(options->out);
        if (automatic && !checkpoint_latest(options->out, &run->checkpoint, error)) return false;
        run->continues = run->checkpoint != NULL;
        if (automatic && !run->continues && !check_restart(options->out, error)) return false;
    }
    if (run->continues || !run->folder || options->dry_run) return true;

    char *settings = path_join(run->folder, "run.json"), *last = NULL;
    char *log = path_join(run->folder, "log.jsonl");
    bool ok = checkpoint_latest(run->folder, &last, error);
    if (ok && file_exists(log) && !file_exists(settings)) { // somebody else's: a run would overwrite it
        ok = error_set(error, STATUS_USAGE,
                       "--out %s holds a log.jsonl that is no run's; choose another folder", run->folder);
    }
    // A run that was stopped before its first checkpoint is begun again by --resume auto.
    bool taken = ok && (last || (file_exists(settings) && !automatic));
    if (taken) {
        ok = error_set(
            error, STATUS_USAGE,
            "--out %s already holds a run; continue it with --resume auto, or choose another folder",
            run->folder);
    }
    ok = ok && (automatic || check_unused(run->folder, error));
    free(settings);
    free(log);
    free(last);
    return ok;
}

// ---- how its settings come together

static bool read_config_file(Options *options, Error *error) {
    json_t *json = json_file_read(options->config, error);
    if (!json) return false;
    const json_t *settings = json_object_get(json, "settings");
    bool ok = json_is_object(settings)
                  ? options_read_settings(options, settings, SOURCE_CONFIG, options->config, error)
                  : error_set(error, STATUS_USAGE,
                              "--config %s: has no object \"settings\" as a run.json has", options->config);
    json_decref(json);
    return ok;
}

// A run is no model folder; its checkpoints are.
static bool check_init(const char *init, Error *error) {
    char *path = path_join(init, "run.json");
    bool is_run = file_exists(path);
    free(path);
    return !is_run ||
           error_set(error, STATUS_USAGE,
                     "--init %s: is a run; name one of its checkpoints, %s/step_NNNNNNNN", init, init);
}

static bool gather_settings(Run *run, Options *options, Error *error) {
    if (run->checkpoint) {
        if (!checkpoint_read_state(run->checkpoint, &run->state, error)) return false;
        if (!options_read_settings(options, run->state.settings, SOURCE_RESUME, run->checkpoint, error))
            return false;
    }
    if (options->config && !read_config_file(options, error)) return false;
    // A preset that comes with the resumed settings is in them already, under what was set besides it.
    if (options->source[OPTION_preset] >= SOURCE_CONFIG && !options_apply_preset(options, error))
        return false;
    if (options->init && !run->checkpoint) {
        ModelConfig model;
        int64_t context;
        char text[32];
        if (!check_init(options->init, error) || !model_folder_config(options->init, &model, &context, error))
            return false;
        options_set_model(options, &model, SOURCE_INIT);
        snprintf(text, sizeof text, "%lld", (long long)context);
        if (!options_set(options, OPTION_seq_len, text, SOURCE_INIT, error)) return false;
        ModelConfig wanted = options_model(options);
        if (!hf_config_same(&model, &wanted, options->init, error)) return false;
        if (options->source[OPTION_embedding_std] == SOURCE_COMMAND_LINE) {
            return error_set(error, STATUS_USAGE,
                             "--embedding-std has no meaning with --init, which brings its embedding");
        }
    }
    // Stage 2 asked for by name: a switch that the resumed run had planned is then in the past.
    if (run->checkpoint && options->source[OPTION_attention] == SOURCE_COMMAND_LINE &&
        options->attention == ATTENTION_DENSE && options->source[OPTION_switch_at] == SOURCE_RESUME) {
        options->switch_at = 0;
    }
    return true;
}

// ---- whether they fit each other

static bool check_needs(const Run *run, const Options *options, Error *error) {
    bool shaped = run->checkpoint || options->preset || options->init || options->config ||
                  options->source[OPTION_layers] == SOURCE_COMMAND_LINE;
    if (!shaped) {
        return error_set(
            error, STATUS_USAGE,
            "no model is given: name one with --preset (tiny is a good first), --init, --config or "
            "--resume, or give --layers and the other dimensions");
    }
    if (options->dry_run) return true;
    if (!options->data) {
        return error_set(error, STATUS_USAGE,
                         "--data is missing: the training shards, as --data 'data/train_*.bin'");
    }
    if (!run->folder) {
        return error_set(error, STATUS_USAGE, "--out is missing: the folder of the run");
    }
    return true;
}

// Stage 1 asked for by name, of a run that has left it: its --switch-at would overrule that.
static bool check_stage(const Run *run, const Options *options, Error *error) {
    bool asked = options->source[OPTION_attention] == SOURCE_COMMAND_LINE &&
                 options->source[OPTION_switch_at] == SOURCE_RESUME &&
                 options->attention == ATTENTION_LIGHTHOUSE;
    if (!asked || schedule_attention(options, run->state.step) == ATTENTION_LIGHTHOUSE) return true;
    return error_set(error, STATUS_USAGE,
                     "--attention lighthouse: the run to resume has done %lld steps, and is dense from step "
                     "%lld on; leave it out, or give another --switch-at with it (0 for no switch)",
                     (long long)run->state.step, (long long)options->switch_at);
}

// What a resumed run cannot have; notes what it changes.
static bool check_resume(Run *run, const Options *options, Error *error) {
    if (!run->checkpoint) return true;
    const json_t *settings = run->state.settings;
    if (!options_check_fixed(options, settings, error) || !check_stage(run, options, error)) return false;
    if (run->state.step > options->steps) {
        return error_set(error, STATUS_USAGE, "--steps %lld: the run to resume has done %lld already",
                         (long long)options->steps, (long long)run->state.step);
    }
    if (options->stop_at > 0 && run->state.step > options->stop_at) {
        return error_set(error, STATUS_USAGE, "--stop-at %lld: the run to resume has done %lld steps already",
                         (long long)options->stop_at, (long long)run->state.step);
    }
    run->changes = options_describe_changes(options, settings, NULL);
    return true;
}

// Micro-steps of --batch sequences on each group of ranks that has sequences of its own.
static bool check_batch(const Options *options, const Ranks *ranks, Error *error) {
    int64_t unit = options->batch * ranks->data_size, global = options->global_batch;
    if (global % unit == 0) return true;
    int64_t below = global / unit * unit;
    char times[64] = "";
    if (ranks->data_size > 1) {
        snprintf(times, sizeof times, " times %d data-parallel ranks", ranks->data_size);
    }
    return error_set(error, STATUS_USAGE,
                     "--global-batch %lld is no multiple of --batch %lld%s; nearest: %lld or %lld",
                     (long long)global, (long long)options->batch, times, (long long)(below ? below : unit),
                     (long long)(below ? below + unit : 2 * unit));
}

static bool check_recipe(const Options *options, Error *error) {
    if (options->attention == ATTENTION_DENSE && options->switch_at > 0) {
        return error_set(error, STATUS_USAGE,
                         "--switch-at %lld has no meaning with --attention dense; leave one of them out",
                         (long long)options->switch_at);
    }
    if (options->stop_at > options->steps) {
        return error_set(error, STATUS_USAGE,
                         "--stop-at %lld is beyond --steps %lld, where the run ends anyway; leave it out, or "
                         "give more --steps",
                         (long long)options->stop_at, (long long)options->steps);
    }
    if (options->switch_at >= options->steps) {
        warn("--switch-at %lld: no update is dense, for the run ends at --steps %lld; resume it with more "
             "--steps for a dense stage",
             (long long)options->switch_at, (long long)options->steps);
    }
    bool asked = options->source[OPTION_val_every] == SOURCE_COMMAND_LINE ||
                 options->source[OPTION_val_batches] == SOURCE_COMMAND_LINE;
    if (asked && options->val_every > 0 && !options->val) {
        return error_set(error, STATUS_USAGE,
                         "--val-every and --val-batches need --val, the shards to validate on");
    }
    if (options->schedule == SCHEDULE_WSD &&
        (options->decay_steps < 1 || options->decay_steps > options->steps)) {
        return error_set(error, STATUS_USAGE, "--schedule wsd needs --decay-steps from 1 to --steps %lld",
                         (long long)options->steps);
    }
    if (options->schedule != SCHEDULE_WSD && options->decay_steps > 0) {
        return error_set(error, STATUS_USAGE, "--decay-steps is only for --schedule wsd");
    }
    if (options->schedule == SCHEDULE_CONSTANT && options->min_lr > 0) {
        return error_set(error, STATUS_USAGE, "--min-lr has no meaning with --schedule constant");
    }
    if (options->min_lr > options->lr) {
        return error_set(error, STATUS_USAGE, "--min-lr %g is above --lr %g", options->min_lr, options->lr);
    }
    if (options->vocab < TOKEN_COUNT) {
        return error_set(error, STATUS_USAGE,
                         "--vocab %lld: bytes and the two marks of a document need %d; nearest: %d",
                         (long long)options->vocab, TOKEN_COUNT, (TOKEN_COUNT + 7) / 8 * 8);
    }
    return true;
}

// --ranks is a thought, for --dry-run alone.
static bool check_ranks(const Options *options, Ranks *ranks, Error *error) {
    if (options->ranks > 0 && !options->dry_run) {
        return error_set(
            error, STATUS_USAGE,
            "--ranks %lld is for --dry-run; to train on several ranks, start them with mpirun -np %lld "
            "or srun",
            (long long)options->ranks, (long long)options->ranks);
    }
    if (options->ranks > 0 && ranks_many(ranks)) {
        return error_set(error, STATUS_USAGE,
                         "--ranks %lld: there are %d ranks; leave it out, or start without mpirun",
                         (long long)options->ranks, ranks->size);
    }
    if (options->ranks == 0 && options->source[OPTION_ranks_per_host] == SOURCE_COMMAND_LINE) {
        return error_set(error, STATUS_USAGE, "--ranks-per-host goes with --dry-run and --ranks");
    }
    if (options->ranks > 0) ranks_imagine(ranks, options->ranks, options->ranks_per_host);
    return ranks_split(ranks, options->cp, error);
}

static bool configure_engine(Run *run, const Options *options, Error *error) {
    EngineConfig *engine = &run->engine;
    options_engine(options, engine);
    engine->micro_steps = options->global_batch / options->batch / engine->ranks->data_size;
    engine->use_lighthouse = schedule_attention(options, run->state.step) == ATTENTION_LIGHTHOUSE;
    engine->one_stage = schedule_attention(options, schedule_end(options) - 1) == ATTENTION_LIGHTHOUSE;
    if (!model_config_check(&engine->model, error)) return false;
    if (!options_dense_layers(options->dense_layers, options->layers, engine->dense_layer, error))
        return false;
    if (!context_check(engine, options->cp, error)) return false;
    if (!engine->use_lighthouse) return true;

    Hierarchy hierarchy;
    if (!hierarchy_create(&engine->lighthouse, engine->context, &hierarchy, error)) return false;
    hierarchy_warn(&hierarchy);
    return true;
}

bool run_prepare(Run *run, Options *options, Ranks *ranks, Error *error) {
    memset(run, 0, sizeof *run);
    run->lock = -1;
    run->engine.ranks = ranks;
    if (!find_start(run, options, error) || !gather_settings(run, options, error)) return false;
    return check_needs(run, options, error) && check_resume(run, options, error) &&
           check_ranks(options, ranks, error) && check_batch(options, ranks, error) &&
           check_recipe(options, error) && options_check_lighthouse(options, true, error) &&
           options_check_sizes(options, error) && configure_engine(run, options, error);
}

// The folder is locked until run_free: two programs that write one run would spoil it. A file system that has
// no locks goes without.
static bool lock_folder(Run *run, Error *error) {
    run->lock = open(run->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0)
        return error_set_errno(error, STATUS_DATA, "%s: cannot be opened as a run's folder", run->folder);
    if (flock(run->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
    return error_set(error, STATUS_USAGE,
                     "%s: another program is training this run; wait for its end, or stop it", run->folder);
}

// Another program may have trained this run, and ended, between run_prepare and the lock.
static bool check_unmoved(const Run *run, Error *error) {
    bool moved;
    if (!checkpoint_later(run->folder, run->continues ? run->state.step : -1, &moved, error)) return false;
    return !moved || error_set(error, STATUS_USAGE,
                               "%s: another program has trained this run meanwhile and saved a later "
                               "checkpoint; start again to go on from that",
                               run->folder);
}

bool run_begin(Run *run, const Options *options, Error *error) {
    if (!folders_make(run->folder, error) || !lock_folder(run, error) || !check_unmoved(run, error))
        return false;
    Origin origin = {NULL, ranks_count(run->engine.ranks)};
    // What goes on keeps its parent, and the ranks that it began with: the log tells of others.
    if (run->continues && !read_origin(run->folder, &origin, error)) return false;
    if (run->checkpoint && !run->continues) origin.parent = copy_or_exit(run->checkpoint);
    // Of a run that was stopped before its first checkpoint and is begun again, no line stays.
    bool ok = log_cut(run->folder, run->continues ? run->state.step : -1, error);
    json_t *json = json_pack("{s:s, s:s, s:o}", "program", "train_gpt_lighthouse", "version",
                             LIGHTHOUSE_VERSION, "settings", options_settings(options));
    if (origin.ranks > 1) json_object_set_new(json, "ranks", json_integer(origin.ranks));
    if (origin.parent) json_object_set_new(json, "parent", json_string(origin.parent));
    free(origin.parent);
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    char *path = path_join(run->folder, "run.json");
    ok = ok && file_write(path, text, strlen(text), error);
    free(path);
    free(text);
    json_decref(json);
    return ok;
}

void run_free(Run *run) {
    if (run->lock >= 0) close(run->lock);
    free(run->folder);
    free(run->checkpoint);
    free(run->changes);
    json_decref(run->state.settings);
    memset(run, 0, sizeof *run);
    run->lock = -1;
}
