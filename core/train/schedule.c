// Learning rate and stage of an update; see schedule.h.
#include "core/train/schedule.h"

#include "core/cost/flops.h"

#include <math.h>
#include <stdio.h>

// How much of the way from lr to min_lr is left: 1 at the start of the decay, 0 after `length` updates.
static double remaining(double done, double length) {
    return done >= length ? 0 : 1 - done / length;
}

double schedule_lr(const Options *options, int64_t step) {
    double lr = options->lr, low = options->min_lr;
    if (step < options->warmup) return lr * (double)(step + 1) / (double)options->warmup;
    double after_warmup = (double)(options->steps - options->warmup),
           done = (double)(step + 1 - options->warmup);
    switch (options->schedule) {
    case SCHEDULE_LINEAR: return low + (lr - low) * remaining(done, after_warmup);
    case SCHEDULE_COSINE: return low + (lr - low) * 0.5 * (1 - cos(M_PI * remaining(done, after_warmup)));
    case SCHEDULE_WSD: {
        int64_t into = step + 1 - (options->steps - options->decay_steps);
        return into <= 0 ? lr : low + (lr - low) * remaining((double)into, (double)options->decay_steps);
    }
    default: return lr;
    }
}

// ---- Whether settings fit each other

static const char *warmup_origin(const Options *options) {
    return options->source[OPTION_warmup] == SOURCE_DEFAULT ? " (the default)" : "";
}

// First update of the decay; --steps where there is none.
static int64_t decay_begin(const Options *options) {
    switch (options->schedule) {
    case SCHEDULE_LINEAR:
    case SCHEDULE_COSINE: return 0; // all behind the warm-up
    case SCHEDULE_WSD: return options->steps - options->decay_steps;
    default: return options->steps;
    }
}

// What a resumed run brings is no new mistake.
static bool ramps_are_new(const Options *options) {
    static const int rows[] = {OPTION_warmup, OPTION_schedule, OPTION_decay_steps, OPTION_steps};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (options->source[rows[i]] > SOURCE_RESUME) return true;
    }
    return false;
}

// The warm-up and the decay share no update, and a decay over the rest of the run has some.
static bool check_ramps(const Options *options, Error *error) {
    Error found;
    char decay[96] = "";
    bool wsd = options->schedule == SCHEDULE_WSD;
    int64_t most = wsd ? decay_begin(options) : options->steps - 1; // updates that the warm-up may take
    if (options->schedule == SCHEDULE_CONSTANT || options->warmup <= most) return true;
    if (wsd) snprintf(decay, sizeof decay, " --decay-steps %lld", (long long)options->decay_steps);
    error_set(&found, STATUS_USAGE,
              "--warmup %lld%s leaves --schedule %s%s no room in --steps %lld: the warm-up may take %lld",
              (long long)options->warmup, warmup_origin(options),
              choice_name(SCHEDULE_CHOICES, options->schedule), decay, (long long)options->steps,
              (long long)most);
    if (ramps_are_new(options)) {
        *error = found;
        return false;
    }
    warn("%s; the run to resume began so, and goes on", found.message);
    return true;
}

static void warn_warmup(const Options *options) {
    if (options->schedule != SCHEDULE_CONSTANT || options->warmup < options->steps) return;
    warn("--warmup %lld%s is as long as the run of --steps %lld or longer: the last update has lr %.3g, of "
         "--lr "
         "%.3g",
         (long long)options->warmup, warmup_origin(options), (long long)options->steps,
         schedule_lr(options, options->steps - 1), options->lr);
}

// What is asked for every so many updates, of which there are fewer.
static void warn_never(const Options *options, int row, const char *name, int64_t every) {
    if (options->source[row] != SOURCE_COMMAND_LINE || every <= options->steps) return;
    warn("--%s %lld: the run has --steps %lld, so that comes at its end alone", name, (long long)every,
         (long long)options->steps);
}

bool schedule_check(const Options *options, Error *error) {
    if (!check_ramps(options, error)) return false;
    warn_warmup(options);
    if (options->lr == 0) warn("--lr 0: no update changes the model");
    if (options->val) warn_never(options, OPTION_val_every, "val-every", options->val_every);
    if (options->val && options->val_every == 0 && options->source[OPTION_val] == SOURCE_COMMAND_LINE)
        warn("--val %s is not used: with --val-every 0 no update is validated", options->val);
    warn_never(options, OPTION_checkpoint_every, "checkpoint-every", options->checkpoint_every);
    return true;
}

// ---- Stages

Attention schedule_attention(const Options *options, int64_t step) {
    bool switched = options->switch_at > 0 && step >= options->switch_at;
    return options->attention == ATTENTION_DENSE || switched ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE;
}

int64_t schedule_end(const Options *options) {
    return options->stop_at > 0 && options->stop_at < options->steps ? options->stop_at : options->steps;
}

double schedule_left(const Options *options, const EngineConfig *config, int64_t step) {
    int64_t end = schedule_end(options), N = options->seq_len;
    Attention now = schedule_attention(options, step - 1), last = schedule_attention(options, end - 1);
    if (now == last) return (double)(end - step);
    double times = flops_sequence(config, N, last) / flops_sequence(config, N, now);
    return (double)(options->switch_at - step) + (double)(end - options->switch_at) * times;
}
