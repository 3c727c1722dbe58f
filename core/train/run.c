// A run's settings, start and folder; see run.h.
#include "core/train/run.h"

#include "core/engine/context.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/checkpoint/gates.h"
#include "core/checkpoint/init_model.h"
#include "core/base/json_file.h"
#include "core/data/mixture.h"
#include "core/train/log.h"
#include "core/checkpoint/run_folder.h"
#include "core/train/run_place.h"
#include "core/train/run_start.h"
#include "core/train/run_warn.h"
#include "core/train/schedule.h"
#include "core/model/tokenizer.h"
#include "core/base/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- how its settings come together

static bool read_config_file(Run *run, Options *options, Error *error) {
    json_t *json = json_file_read(options->config, error);
    if (!json) return false;
    if (!data_mark_parse(json_object_get(json, "data"), &run->configured)) {
        json_decref(json);
        return error_set(error, STATUS_USAGE,
                         "--config %s: its \"data\" tells no shards as a run.json does; take that member out",
                         options->config);
    }
    json_t *settings = json_object_get(json, "settings");
    const json_t *turn = json_array_get(json_object_get(json, "changes"), 0);
    const char *changed = json_string_value(json_object_get(turn, "changed"));
    if (changed) {
        warn("--config %s: that run changed its settings on the way, first after step %lld (%s): its last "
             "ones, which "
             "are taken, do not give the same run",
             options->config, (long long)json_integer_value(json_object_get(turn, "step")), changed);
    }
    bool written = json_object_get(json, "program") != NULL; // by a run, with every setting
    if (written && json_is_object(settings)) options_complete_settings(settings);
    bool ok = json_is_object(settings)
                  ? options_read_settings(options, settings, SOURCE_CONFIG, options->config, error)
                  : error_set(error, STATUS_USAGE,
                              "--config %s: has no object \"settings\" as a run.json has", options->config);
    json_decref(json);
    return ok;
}

// Stage 2 asked for by name, of a run that has not switched: it does so here. Its settings then tell of both
// stages, as those of a run that switches by itself.
static void note_switch(const Run *run, Options *options) {
    bool asked =
        options->source[OPTION_attention] == SOURCE_COMMAND_LINE && options->attention == ATTENTION_DENSE;
    if (!run->checkpoint || !asked || options->source[OPTION_switch_at] == SOURCE_COMMAND_LINE) return;
    const json_t *before = json_object_get(run->state.settings, "attention");
    bool mixed = json_is_string(before) &&
                 strcmp(json_string_value(before), attention_name(ATTENTION_LIGHTHOUSE)) == 0;
    if (!mixed || run->state.step == 0) {
        options->switch_at = 0;
        return;
    }
    options->attention = ATTENTION_LIGHTHOUSE;
    options->source[OPTION_attention] = SOURCE_RESUME;
    if (options->switch_at == 0 || options->switch_at > run->state.step) options->switch_at = run->state.step;
}

static bool gather_settings(Run *run, Options *options, Error *error) {
    if (run->checkpoint) {
        if (!checkpoint_read_state(run->checkpoint, &run->state, error)) return false;
        options_complete_settings(run->state.settings);
        if (!options_read_settings(options, run->state.settings, SOURCE_RESUME, run->checkpoint, error))
            return false;
        // A branch that is begun again has settings of its own.
        if (run->again) options_complete_settings(run->again);
        if (run->again && !options_read_settings(options, run->again, SOURCE_RESUME, run->folder, error))
            return false;
    }
    if (options->config && !read_config_file(run, options, error)) return false;
    // A preset that comes with the resumed settings is in them already, under what was set besides it.
    if (options->source[OPTION_preset] >= SOURCE_CONFIG && !options_apply_preset(options, error))
        return false;
    if (options->init && !run->checkpoint && !init_model_settings(options, error)) return false;
    note_switch(run, options);
    return true;
}

// ---- whether they fit each other

// The words of --data, whose shards need not be on the machine that plans.
static bool check_sources(const Options *options, Error *error) {
    Mixture mixture;
    if (!options->data) return true;
    if (!mixture_parse(options->data, &mixture, error)) return false;
    mixture_free(&mixture);
    return true;
}

static bool check_needs(const Run *run, const Options *options, Error *error) {
    bool shaped = run->checkpoint || options->preset || options->init || options->config ||
                  options->source[OPTION_layers] == SOURCE_COMMAND_LINE;
    if (!shaped) {
        return error_set(
            error, STATUS_USAGE,
            "no model is given: name one with --preset (tiny is a good first), --init, --config or "
            "--resume, or give --layers and the other dimensions");
    }
    if (options->dry_run && options->vocab < TOKEN_COUNT)
        warn("--vocab %lld is for token ids: bytes need %d", (long long)options->vocab, TOKEN_COUNT);
    if (options->dry_run) return check_sources(options, error);
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

// A run that goes on has its weights: another --init would not be read, and its settings would tell of a
// model that it has not begun from.
static bool check_origin(const Run *run, const Options *options, Error *error) {
    const json_t *settings = run->state.settings, *before = json_object_get(settings, "init");
    if (!options->init || options_keeps(options, OPTION_init, settings)) return true;
    return error_set(
        error, STATUS_USAGE,
        "--init %s: the run to resume has begun %s%s, and has its weights already; leave it out, "
        "or begin a new run with another --out",
        options->init, json_is_string(before) ? "from " : "without one",
        json_is_string(before) ? json_string_value(before) : "");
}

// What a resumed run cannot have; notes what it changes.
static bool check_resume(Run *run, const Options *options, Error *error) {
    if (!run->checkpoint) return true;
    const json_t *settings = run->state.settings;
    if (!options_check_fixed(options, settings, error) || !check_origin(run, options, error) ||
        !check_stage(run, options, error))
        return false;
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

// What to do about a setting that others leave no meaning: one that is not on the command line has come from
// the run or the file of settings.
static const char *way_out(const Options *options, int option, const char *off) {
    return options->source[option] == SOURCE_COMMAND_LINE ? "leave it out" : off;
}

// Where its stages end.
static bool check_ends(const Options *options, Error *error) {
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
    return true;
}

// Settings that others leave no meaning.
static bool check_idle(const Options *options, Error *error) {
    if (options->tie_embeddings && options->embedding_std != 1) {
        return error_set(
            error, STATUS_USAGE,
            "--embedding-std %g has no meaning with --tie-embeddings: a tied embedding is drawn as a "
            "head; %s",
            options->embedding_std, way_out(options, OPTION_embedding_std, "give --embedding-std 1"));
    }
    bool asked = options->source[OPTION_val_every] == SOURCE_COMMAND_LINE ||
                 options->source[OPTION_val_batches] == SOURCE_COMMAND_LINE;
    if (asked && options->val_every > 0 && !options->val) {
        return error_set(error, STATUS_USAGE,
                         "--val-every and --val-batches need --val, the shards to validate on");
    }
    if (options->source[OPTION_decay] == SOURCE_COMMAND_LINE && options->weight_decay == 0)
        return error_set(error, STATUS_USAGE, "--decay has no meaning with --weight-decay 0; leave it out");
    return true;
}

static bool check_schedule(const Options *options, Error *error) {
    if (options->schedule == SCHEDULE_WSD &&
        (options->decay_steps < 1 || options->decay_steps > options->steps)) {
        return error_set(error, STATUS_USAGE, "--schedule wsd needs --decay-steps from 1 to --steps %lld",
                         (long long)options->steps);
    }
    if (options->schedule != SCHEDULE_WSD && options->decay_steps > 0) {
        return error_set(error, STATUS_USAGE, "--decay-steps is only for --schedule wsd; %s",
                         way_out(options, OPTION_decay_steps, "end it with --decay-steps 0"));
    }
    if (options->schedule == SCHEDULE_CONSTANT && options->min_lr > 0) {
        return error_set(error, STATUS_USAGE, "--min-lr has no meaning with --schedule constant; %s",
                         way_out(options, OPTION_min_lr, "end it with --min-lr 0"));
    }
    if (options->min_lr > options->lr) {
        return error_set(error, STATUS_USAGE, "--min-lr %g is above --lr %g", options->min_lr, options->lr);
    }
    return true;
}

static bool check_recipe(const Options *options, Error *error) {
    return check_ends(options, error) && options_check_offload(options, error) &&
           check_idle(options, error) && check_schedule(options, error);
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
    if (options->links_file && (!options->dry_run || options->device == DEVICE_CPU)) {
        return error_set(error, STATUS_USAGE,
                         "--links is for the prediction of --dry-run, which --device cpu has none of");
    }
    if (options->ranks > 0) ranks_imagine(ranks, options->ranks, options->ranks_per_host);
    return ranks_split(ranks, options->cp, error);
}

// What Lighthouse attention is asked for must have an update to come; gates of its scorer must be there.
static bool check_attention(const Run *run, const Options *options, Error *error) {
    int64_t step = run->state.step;
    bool lighthouse = schedule_attention(options, step) == ATTENTION_LIGHTHOUSE;
    if (!options_check_lighthouse(options, lighthouse || step >= schedule_end(options), run->state.settings,
                                  error))
        return false;
    return !lighthouse || !SCORER_TABLE[options->scorer].gates || !run->checkpoint ||
           gates_check(run->checkpoint, "take another --scorer", error);
}

// Whether a signal, at the very step of the switch, has left off a validation under Lighthouse attention. It
// is made up before the first dense update, and needs an engine for both.
static bool owes_lighthouse(const Run *run, const Options *options) {
    int64_t step = run->state.step, every = 0;
    const json_t *before = run->state.settings;
    if (!run->continues || !options->val || step == 0 || step != options->switch_at) return false;
    if (run->state.attention != ATTENTION_LIGHTHOUSE || !json_is_string(json_object_get(before, "val")))
        return false;
    bool due = json_member_int(before, "val-every", 1, INT64_MAX, &every) && step % every == 0 &&
               options->val_every > 0 && step % options->val_every == 0;
    bool held = true;
    Error ignored; // a log that cannot be read is told when the run begins
    return due && log_holds(run->folder, "validation", step, &held, &ignored) && !held;
}

static bool configure_engine(Run *run, const Options *options, Error *error) {
    EngineConfig *engine = &run->engine;
    options_engine(options, engine);
    engine->micro_steps = options->global_batch / options->batch / engine->ranks->data_size;
    engine->use_lighthouse =
        schedule_attention(options, run->state.step) == ATTENTION_LIGHTHOUSE || owes_lighthouse(run, options);
    engine->one_stage = schedule_attention(options, schedule_end(options) - 1) == ATTENTION_LIGHTHOUSE;
    if (!model_config_check(&engine->model, error) ||
        !model_window_check(&engine->model, engine->context, error))
        return false;
    const char *dense = engine->use_lighthouse ? options->dense_layers : "all";
    if (!options_dense_layers(dense, options->layers, engine->dense_layer, error)) return false;
    if (!context_check(engine, options->cp, error)) return false;
    if (!engine->use_lighthouse) return true;

    Hierarchy hierarchy;
    if (!hierarchy_create(&engine->lighthouse, engine->context, &hierarchy, error)) return false;
    hierarchy_warn(&hierarchy);
    return true;
}

// A branch tells its parent's path, in JSON.
static bool check_parent(const Run *run, Error *error) {
    if (!run->checkpoint || run->continues) return true;
    char *path = path_absolute(run->checkpoint);
    json_t *json = json_string(path);
    bool ok =
        json != NULL ||
        error_set(error, STATUS_USAGE,
                  "--resume %s: its absolute path must be UTF-8, to be kept in run.json as the parent's: %s",
                  run->checkpoint, path);
    json_decref(json);
    free(path);
    return ok;
}

bool run_prepare(Run *run, Options *options, Ranks *ranks, Error *error) {
    memset(run, 0, sizeof *run);
    run->lock = -1;
    run->engine.ranks = ranks;
    if (!run_find_start(run, options, error) || !gather_settings(run, options, error)) return false;
    bool ok = check_needs(run, options, error) && options_check_paths(options, error) &&
              check_parent(run, error) && check_resume(run, options, error) &&
              check_ranks(options, ranks, error) && check_batch(options, ranks, error) &&
              check_recipe(options, error) && schedule_check(options, error) &&
              check_attention(run, options, error) && options_check_sizes(options, error) &&
              configure_engine(run, options, error);
    if (ok) run_warn(run, options);
    return ok;
}

// Another program may have trained this run, and ended, between run_prepare and the lock.
static bool check_unmoved(const Run *run, Error *error) {
    return checkpoint_newest(run->folder) == run->newest ||
           error_set(error, STATUS_USAGE,
                     "%s: another program has trained this run meanwhile and saved a later "
                     "checkpoint; start again to go on from that",
                     run->folder);
}

// What goes on keeps its beginning; the log tells of other ranks.
static bool begin_origin(const Run *run, RunOrigin *origin, Error *error) {
    if (run->continues) {
        if (!run_origin_of(run->folder, origin, error)) return false;
    } else {
        memset(origin, 0, sizeof *origin);
        origin->ranks = ranks_count(run->engine.ranks);
    }
    if (!origin->id && run->continues && run->state.run[0]) origin->id = copy_or_exit(run->state.run);
    if (!origin->id) origin->id = run_origin_new_id();
    if (run->continues || !run->checkpoint) return true;
    RunOrigin parent;
    Error ignored;
    char *folder = path_parent(run->checkpoint);
    if (run_origin_of(folder, &parent, &ignored)) {
        origin->parent_id = parent.id ? copy_or_exit(parent.id) : NULL;
        run_origin_free(&parent);
    }
    free(folder);
    origin->parent = path_absolute(run->checkpoint);
    origin->parent_step = run->state.step;
    return true;
}

// The updates before the first dense one, up to `step` that are made.
static int64_t lighthouse_updates(const json_t *settings, int64_t step) {
    const char *attention = json_string_value(json_object_get(settings, "attention"));
    if (attention && strcmp(attention, attention_name(ATTENTION_DENSE)) == 0) return 0;
    int64_t switch_at = json_integer_value(json_object_get(settings, "switch-at"));
    return switch_at > 0 && switch_at < step ? switch_at : step;
}

// Of the settings that a run goes on with, those that make it another one: its last settings alone do not
// give it again. More updates, a switch that is not yet made, and what only watches or stores it, do not.
// Release with free().
static char *describe_turn(const Run *run, const Options *options) {
    json_t *now = options_settings(options), *before = json_copy(run->state.settings);
    static const char *const same[] = {"attention", "switch-at", "steps"};
    int64_t step = run->state.step;
    bool stages = lighthouse_updates(before, step) == lighthouse_updates(now, step);
    for (int i = stages ? 0 : 2; i < (options->schedule == SCHEDULE_CONSTANT ? 3 : 2); i++)
        json_object_set(before, same[i], json_object_get(now, same[i]));
    char *recipe = options_describe_changes(options, before, "Recipe");
    char *attention = options_describe_changes(options, before, "Attention");
    json_decref(now);
    json_decref(before);
    size_t room = strlen(recipe) + strlen(attention) + sizeof ", , other data";
    char *text = (char *)alloc_or_exit(room, 1);
    snprintf(text, room, "%s%s%s%s", recipe, recipe[0] && attention[0] ? ", " : "", attention,
             run->begins_data ? (recipe[0] || attention[0] ? ", other data" : "other data") : "");
    free(recipe);
    free(attention);
    return text;
}

// A run that goes on keeps the turns up to its start, and adds its own.
static void add_turn(const Run *run, const Options *options, RunOrigin *origin) {
    json_t *turns = json_array(), *turn;
    size_t i;
    json_array_foreach(origin->changes, i, turn) {
        if (json_integer_value(json_object_get(turn, "step")) < run->state.step)
            json_array_append(turns, turn);
    }
    char *text = describe_turn(run, options);
    if (text[0]) {
        json_array_append_new(turns,
                              json_pack("{s:I, s:s}", "step", (json_int_t)run->state.step, "changed", text));
    }
    free(text);
    json_decref(origin->changes);
    origin->changes = turns;
}

static json_t *run_json(const Run *run, const RunOrigin *origin, const Options *options) {
    json_t *json = json_pack("{s:s, s:s, s:s, s:o}", "program", "train_gpt_lighthouse", "version",
                             LIGHTHOUSE_VERSION, "id", origin->id, "settings", options_settings(options));
    if (run->data.shards > 0) json_object_set_new(json, "data", data_mark_json(&run->data));
    if (origin->ranks > 1) json_object_set_new(json, "ranks", json_integer(origin->ranks));
    if (json_array_size(origin->changes) > 0) json_object_set(json, "changes", origin->changes);
    if (!origin->parent) return json;
    json_object_set_new(json, "parent", json_string(origin->parent));
    if (origin->parent_step >= 0) json_object_set_new(json, "parent_step", json_integer(origin->parent_step));
    if (origin->parent_id) json_object_set_new(json, "parent_id", json_string(origin->parent_id));
    return json;
}

static bool write_settings(Run *run, const Options *options, Error *error) {
    RunOrigin origin;
    if (!begin_origin(run, &origin, error)) return false;
    snprintf(run->id, sizeof run->id, "%s", origin.id);
    if (run->continues) add_turn(run, options, &origin);
    json_t *json = run_json(run, &origin, options);
    run_origin_free(&origin);
    bool ok = json_file_write(run->folder, RUN_FILE, json, error);
    json_decref(json);
    return ok;
}

// A log that somebody has cut or taken away.
static bool warn_lost_log(const Run *run, Error *error) {
    int64_t step = run->state.step;
    bool made = false, skipped = false;
    if (!run->continues || step == 0) return true;
    if (!log_holds(run->folder, NULL, step, &made, error) ||
        !log_holds(run->folder, "skip", step, &skipped, error))
        return false;
    if (!made && !skipped) {
        warn("%s/log.jsonl does not hold step %lld, after which the run goes on: what it has lost is missing "
             "from "
             "reports too",
             run->folder, (long long)step);
    }
    return true;
}

bool run_begin(Run *run, const Options *options, Error *error) {
    run->made = !folder_exists(run->folder);
    if (!folders_make(run->folder, error) || !run_place_lock(run->folder, &run->lock, error) ||
        !check_unmoved(run, error))
        return false;
    run->begun = !run->continues;
    // Of a run that was stopped before its first checkpoint and is begun again, no line stays.
    return warn_lost_log(run, error) &&
           (!run->continues || run_folder_set_aside(run->folder, run->state.step, error)) &&
           log_cut(run->folder, run->continues ? run->state.step : -1, error) &&
           write_settings(run, options, error);
}

// A folder that is deleted is made anew: what has been trained is worth more than what was there.
static bool begin_anew(Run *run, const Options *options, Error *error) {
    warn("%s was deleted under the run: it is made anew, without the log and the checkpoints up to here",
         run->folder);
    if (run->lock >= 0) close(run->lock);
    run->lock = -1;
    return folders_make(run->folder, error) && run_place_lock(run->folder, &run->lock, error) &&
           write_settings(run, options, error);
}

bool run_follow(Run *run, const Options *options, bool *moved, Error *error) {
    char *before = copy_or_exit(run->folder);
    Place place;
    bool ok = run_place_find(run->lock, &run->folder, &place, error);
    *moved = ok && place != PLACE_SAME;
    if (ok && place == PLACE_MOVED)
        warn("%s was moved under the run, which goes on in %s", before, run->folder);
    if (ok && place == PLACE_GONE) ok = begin_anew(run, options, error);
    free(before);
    return ok;
}

static void remove_own(const char *run, const char *name) {
    char *path = path_join(run, name);
    Error ignored;
    tree_remove(path, &ignored);
    free(path);
}

// A branch keeps its run.json, by which --resume auto knows where it begins.
void run_abandon(Run *run) {
    if (!run->begun || run->checkpoint || checkpoint_newest(run->folder) >= 0) return;
    static const char *const names[] = {RUN_FILE, LOG_FILE, "tensorboard"};
    for (int i = 0; i < (run->made ? 3 : 2); i++) remove_own(run->folder, names[i]);
    if (run->made) rmdir(run->folder); // unless somebody has put something there
}

void run_free(Run *run) {
    if (run->lock >= 0) close(run->lock);
    free(run->folder);
    free(run->checkpoint);
    free(run->changes);
    json_decref(run->again);
    json_decref(run->state.settings);
    memset(run, 0, sizeof *run);
    run->lock = -1;
}
