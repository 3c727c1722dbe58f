// Learning rate and stage of an update; see schedule.h.
#include "schedule.h"

#include "flops.h"

#include <math.h>

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
