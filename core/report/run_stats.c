// What is said of a run in figures; see run_stats.h.
#include "core/report/run_stats.h"

#include "core/base/error.h"

#include <math.h>
#include <stdlib.h>

int64_t stats_window(int64_t steps) {
    int64_t window = llround(sqrt((double)steps) / 2);
    return window < 1 ? 1 : window;
}

int64_t run_switch(const RunLog *log) {
    for (int64_t i = log->n_steps - 1; i > 0; i--) {
        if (log->steps[i].attention == ATTENTION_DENSE && log->steps[i - 1].attention == ATTENTION_LIGHTHOUSE)
            return i;
    }
    return -1;
}

void run_smooth(const RunLog *log, const double *values, int64_t window, double *means) {
    double sum = 0;
    int64_t first = 0, count = 0; // of the steps in the sum
    for (int64_t i = 0; i < log->n_steps; i++) {
        if (i > 0 && log->steps[i].attention != log->steps[i - 1].attention) {
            first = i;
            sum = 0;
            count = 0;
        }
        if (!isnan(values[i])) {
            sum += values[i];
            count++;
        }
        if (i - first == window) {
            if (!isnan(values[first])) {
                sum -= values[first];
                count--;
            }
            first++;
        }
        means[i] = count ? sum / (double)count : NAN;
    }
}

static void count_work(const RunLog *log, RunStats *stats) {
    double tokens[2] = {0, 0}, seconds[2] = {0, 0};
    for (int64_t i = 0; i < log->n_steps; i++) {
        const RunStep *step = &log->steps[i];
        // Where a log begins in the middle, its first step's tokens are not known.
        bool counts = i > 0 || step->step == 1;
        stats->updates[step->attention]++;
        stats->gpu_hours += step->seconds * step->ranks / 3600;
        if (!counts) continue;
        tokens[step->attention] += (double)(step->tokens - (i > 0 ? log->steps[i - 1].tokens : 0));
        seconds[step->attention] += step->seconds;
    }
    for (int i = 0; i < 2; i++) stats->tokens_per_second[i] = seconds[i] > 0 ? tokens[i] / seconds[i] : NAN;
    double both = seconds[0] + seconds[1];
    stats->overall = both > 0 ? (tokens[0] + tokens[1]) / both : NAN;
}

static void measure_switch(const RunLog *log, const double *means, RunStats *stats) {
    int64_t first = run_switch(log);
    if (first < 0) return;
    double before = means[first - 1];
    stats->switch_step = log->steps[first - 1].step;
    stats->jump = log->steps[first].loss - before;
    for (int64_t i = first; i < log->n_steps && stats->recovered < 0; i++) {
        if (means[i] <= before) stats->recovered = log->steps[i].step - stats->switch_step;
    }
}

// A stage is that of the update before the validation: one at the switch closes the stage that ends there.
static void measure_validations(const RunLog *log, const double *means, RunStats *stats) {
    for (int64_t v = 0; v < log->n_validations; v++) {
        const RunValidation *validation = &log->validations[v];
        if (validation->attention != ATTENTION_DENSE) continue;
        stats->validation = validation->loss;
        int64_t i = run_log_find(log, validation->step);
        if (i < 0 || log->steps[i].step != validation->step) continue; // that update's line is lost
        stats->gap[log->steps[i].attention] = validation->loss - means[i];
    }
}

RunStats run_stats(const RunLog *log, int64_t window) {
    RunStats stats = {{0, 0}, 0, {NAN, NAN}, NAN, -1, NAN, -1, NAN, ATTENTION_DENSE, NAN, {NAN, NAN}};
    double *losses = (double *)alloc_or_exit((size_t)log->n_steps, 2 * sizeof *losses);
    double *means = losses + log->n_steps;
    for (int64_t i = 0; i < log->n_steps; i++) losses[i] = log->steps[i].loss;
    run_smooth(log, losses, window, means);
    count_work(log, &stats);
    measure_switch(log, means, &stats);
    stats.training = means[log->n_steps - 1];
    stats.training_attention = log->steps[log->n_steps - 1].attention;
    measure_validations(log, means, &stats);
    free(losses);
    return stats;
}
