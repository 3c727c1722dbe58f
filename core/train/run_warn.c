// Warnings at a run's start; see run_warn.h.
#include "core/train/run_warn.h"

#include "core/base/bytes.h"
#include "core/checkpoint/run_folder.h"
#include "core/train/schedule.h"

#include <stdlib.h>
#include <string.h>

// ---- Settings without effect

static bool asked(const Options *options, int row) {
    return options->source[row] == SOURCE_COMMAND_LINE;
}

// Spikes are judged from the updates of their stage before them; these are in the window already where the
// run goes on in the midst of one.
static void warn_spikes(const Run *run, const Options *options) {
    int64_t step = run->state.step, end = schedule_end(options), turn = end;
    if (options->switch_at > step && options->switch_at < end) turn = options->switch_at;
    bool same = run->checkpoint && run->state.attention == schedule_attention(options, step);
    int64_t now = turn - step + (same ? run->state.spikes.count : 0), then = end - turn;
    if (!asked(options, OPTION_skip_spikes) || options->skip_spikes == 0 || step >= end) return;
    if (now > SPIKE_LEAST || then > SPIKE_LEAST) return;
    warn("--skip-spikes %g skips nothing in this run: an update is held against %d or more of its stage "
         "before it, and no stage has so many",
         options->skip_spikes, SPIKE_LEAST);
}

static void warn_keep(const Run *run, const Options *options) {
    int64_t every = options->checkpoint_every, end = schedule_end(options);
    bool once = every == 0 || run->state.step / every == (end - 1) / every;
    if (!asked(options, OPTION_keep) || options->keep == 0 || run->newest >= 0 || !once) return;
    warn("--keep %lld deletes nothing in this run, which saves at its end alone: --checkpoint-every says how "
         "often",
         (long long)options->keep);
}

static void warn_validation(const Options *options) {
    if (asked(options, OPTION_val_batches) && options->val_every == 0)
        warn("--val-batches %lld is not used: with --val-every 0 no update is validated",
             (long long)options->val_batches);
}

// Angles that were scaled for shorter sequences.
static void warn_angles(const Options *options) {
    RopeScaling scaling = options_model(options).rope_scaling;
    rope_scaling_warn(&scaling, options->seq_len, asked(options, OPTION_rope_scaling));
}

// ---- Where a run goes on

static double number_at(const json_t *settings, const char *key) {
    return json_number_value(json_object_get(settings, key));
}

// What the learning rate depends on, as the checkpoint has it.
static Options schedule_of(const json_t *settings) {
    Options before;
    memset(&before, 0, sizeof before);
    const char *name = json_string_value(json_object_get(settings, "schedule"));
    if (name) choice_find(SCHEDULE_CHOICES, name, &before.schedule);
    before.lr = number_at(settings, "lr");
    before.min_lr = number_at(settings, "min-lr");
    before.warmup = (int64_t)number_at(settings, "warmup");
    before.steps = (int64_t)number_at(settings, "steps");
    before.decay_steps = (int64_t)number_at(settings, "decay-steps");
    return before;
}

// A decay that is stretched over more updates begins anew, far above where it was.
static void warn_rise(const Run *run, const Options *options) {
    int64_t step = run->state.step;
    Options before = schedule_of(run->state.settings);
    if (step == 0 || step >= options->steps || asked(options, OPTION_lr)) return;
    if (step < before.warmup || step < options->warmup) return;
    double last = schedule_lr(&before, step - 1), next = schedule_lr(options, step);
    if (next <= 1.1 * last + 0.01 * before.lr) return;
    warn("the learning rate rises where the run goes on, from %.3g to %.3g: it had decayed under --schedule "
         "%s "
         "over --steps %lld; to go on as low, give --schedule constant --lr with it",
         last, next, choice_name(SCHEDULE_CHOICES, before.schedule), (long long)before.steps);
}

// Settings that the last start of a run had besides those of its checkpoint, and which this one has not.
static char *lost_settings(const Run *run, const Options *options, const json_t *last) {
    json_t *now = options_settings(options), *value;
    const char *key;
    ByteBuffer text = {NULL, 0, 0};
    json_object_foreach((json_t *)last, key, value) {
        json_t *saved = json_object_get(run->state.settings, key), *taken = json_object_get(now, key);
        if (!saved || json_equal(value, saved) || !taken || json_equal(value, taken)) continue;
        char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        bytes_printf(&text, "%s--%s %s", text.size ? ", " : "", key, shown ? shown : "?");
        free(shown);
    }
    json_decref(now);
    bytes_append(&text, "", 1);
    return text.data;
}

// A start that was ended before its first save leaves its settings in run.json alone.
static void warn_lost(const Run *run, const Options *options, const RunOrigin *origin) {
    if (run->newest != run->state.step) return;
    char *lost = lost_settings(run, options, origin->settings);
    if (lost[0])
        warn("the last start of %s saved nothing, and what it was told is not taken: %s; give it again if it "
             "is to hold",
             run->folder, lost);
    free(lost);
}

// A checkpoint that somebody has copied from another run's folder.
static void warn_foreign(const Run *run, const RunOrigin *origin) {
    const char *id = run->state.run;
    if (!origin->id || !id[0] || strcmp(origin->id, id) == 0) return;
    warn("%s is a checkpoint of another run (%s) than %s (%s), whose log and run.json tell of both from here "
         "on; "
         "--out begins a run of its own",
         run->checkpoint, id, run->folder, origin->id);
}

// What the run's folder tells.
static void warn_folder(const Run *run, const Options *options) {
    RunOrigin origin;
    Error ignored;
    if (!run->continues || !run_origin_of(run->folder, &origin, &ignored)) return;
    warn_lost(run, options, &origin);
    warn_foreign(run, &origin);
    run_origin_free(&origin);
}

void run_warn(const Run *run, const Options *options) {
    warn_spikes(run, options);
    warn_keep(run, options);
    warn_validation(options);
    options_warn_zero(options, ranks_count(run->engine.ranks));
    warn_angles(options);
    if (!run->checkpoint) return;
    warn_rise(run, options);
    warn_folder(run, options);
}
