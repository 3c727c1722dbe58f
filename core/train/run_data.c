// The data of a run that goes on; see run_data.h.
#include "core/train/run_data.h"

#include <string.h>

static bool same_mark(const DataMark *a, const DataMark *b) {
    return a->hash == b->hash && a->shards == b->shards && a->tokens == b->tokens;
}

static const char *setting(const Run *run, const char *name) {
    const char *path = json_string_value(json_object_get(run->state.settings, name));
    return path ? path : "other shards";
}

static bool refuse_other(const Run *run, const Options *options, const DataMark *now, Error *error) {
    const DataMark *before = &run->state.data;
    return error_set(
        error, STATUS_USAGE,
        "--data %s (shards: %lld, tokens: %lld, hash: %016llx) is not what the run to resume was "
        "trained on: %s (shards: %lld, tokens: %lld, hash: %016llx); name that, or begin the other "
        "data at its beginning with --new-data",
        options->data, (long long)now->shards, (long long)now->tokens, (unsigned long long)now->hash,
        setting(run, "data"), (long long)before->shards, (long long)before->tokens,
        (unsigned long long)before->hash);
}

// The same data are not begun again, but in a job script --new-data stands at every start.
static bool refuse_same(const Options *options, Error *error) {
    return strcmp(options->resume, "auto") == 0 ||
           error_set(
               error, STATUS_USAGE,
               "--new-data: --data %s is what the run to resume was trained on; leave out --new-data to go "
               "on in it",
               options->data);
}

static bool match_training(Run *run, const Options *options, const DataMark *now, int sources, Error *error) {
    const DataMark *before = &run->state.data;
    if (before->shards == 0 && sources > 1 && !options->new_data) {
        return error_set(
            error, STATUS_USAGE,
            "--data %s: %s does not tell what data it was trained on, and its cursor is of one source; "
            "begin these with --new-data",
            options->data, run->checkpoint);
    }
    if (before->shards == 0) {
        run->begins_data = options->new_data;
        if (!run->begins_data) {
            warn("%s does not tell what data it was trained on, as checkpoints of older versions do not: it "
                 "goes on "
                 "in --data %s, unchecked",
                 run->checkpoint, options->data);
        }
        return true;
    }
    bool same = same_mark(before, now) && run->state.n_sources == (sources > 1 ? sources : 0);
    if (!same && !options->new_data) return refuse_other(run, options, now, error);
    run->begins_data = !same;
    return !same || !options->new_data || refuse_same(options, error);
}

// A run by the settings of another has its shards, too, unless others are named.
static bool match_configured(const Run *run, const Options *options, const DataMark *now, Error *error) {
    const DataMark *before = &run->configured;
    if (options->source[OPTION_data] != SOURCE_CONFIG || before->shards == 0 || same_mark(before, now))
        return true;
    return error_set(
        error, STATUS_USAGE,
        "--config %s: %s (shards: %lld, tokens: %lld, hash: %016llx) is not what that run was trained on "
        "(shards: %lld, tokens: %lld, hash: %016llx); to train on these, name them by --data",
        options->config, options->data, (long long)now->shards, (long long)now->tokens,
        (unsigned long long)now->hash, (long long)before->shards, (long long)before->tokens,
        (unsigned long long)before->hash);
}

static void begin_data(TrainerState *state) {
    state->cursor = state->epoch = 0;
    state->n_sources = 0;
}

bool run_match_data(Run *run, const Options *options, const DataMark *data, const DataMark *val, int sources,
                    TrainerState *state, Error *error) {
    if (!match_configured(run, options, data, error)) return false;
    if (run->checkpoint && !match_training(run, options, data, sources, error)) return false;
    if (run->begins_data) begin_data(state);
    const DataMark *before = &run->state.val;
    if (run->checkpoint && before->shards > 0 && val->shards > 0 && !same_mark(before, val)) {
        warn("--val %s is not what the run to resume was validated on, %s: its validation losses do not "
             "compare with "
             "those before",
             options->val, setting(run, "val"));
    }
    state->data = run->data = *data;
    state->val = *val;
    return true;
}
