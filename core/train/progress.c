// Progress of a training run on the console; see progress.h.
#include "core/train/progress.h"
#include "core/base/console.h"
#include "core/checkpoint/trainer_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SMOOTHING 0.02 // weight of the newest step

void progress_begin(Progress *progress, FILE *out, int64_t total_steps, int64_t every) {
    memset(progress, 0, sizeof *progress);
    progress->out = out;
    // mpirun gives its ranks a terminal of their own, also where it writes to a file itself.
    progress->terminal = console_is_terminal(out) && !getenv("OMPI_COMM_WORLD_SIZE");
    progress->total_steps = total_steps;
    progress->every = every;
}

void progress_duration(double seconds, char *text, size_t size) {
    if (!(seconds >= 0 && seconds < 1e10)) {
        snprintf(text, size, "unknown");
        return;
    }
    long long whole = llround(seconds), days = whole / 86400, rest = whole % 86400;
    int hours = (int)(rest / 3600), minutes = (int)(rest / 60 % 60), left = (int)(rest % 60);
    if (days > 0) {
        snprintf(text, size, "%lldd %02d:%02d:%02d", days, hours, minutes, left);
    } else {
        snprintf(text, size, "%d:%02d:%02d", hours, minutes, left);
    }
}

// Mean over the first steps, exponential from then on.
static double smooth(double mean, double value, int64_t seen) {
    double weight = fmax(SMOOTHING, 1.0 / (double)seen);
    return mean + weight * (value - mean);
}

static void line_print(const Progress *progress, const LogStep *step, double updates_left, char *line,
                       size_t size) {
    char mfu[32] = "", left[32];
    if (isfinite(step->mfu)) snprintf(mfu, sizeof mfu, "  mfu %.1f %%", 100 * step->mfu);
    progress_duration(updates_left * progress->smooth_seconds, left, sizeof left);
    snprintf(
        line, size,
        "step %lld/%lld  %s  loss %.4f (mean %.4f)  grad %.3f  lr %.3g  %.0f tokens/s%s  %.1f GB  %s left",
        (long long)step->step, (long long)progress->total_steps, attention_name(step->attention), step->loss,
        progress->smooth_loss, step->grad_norm, step->lr, step->tokens_per_second, mfu, step->mem_gb, left);
}

void progress_step(Progress *progress, const LogStep *step, double left) {
    // Neither losses nor times of the stages compare.
    if (step->attention != progress->attention) progress->steps_seen = 0;
    progress->attention = step->attention;
    progress->steps_seen++;
    progress->smooth_loss = smooth(progress->smooth_loss, step->loss, progress->steps_seen);
    progress->smooth_seconds = smooth(progress->smooth_seconds, step->seconds, progress->steps_seen);

    bool due = progress->terminal || step->step % progress->every == 0 || progress->steps_seen == 1 ||
               step->step == progress->total_steps;
    if (!due) return;
    char line[512];
    line_print(progress, step, left, line, sizeof line);
    size_t length = strlen(line);
    if (progress->terminal) {
        int blanks = length < progress->width ? (int)(progress->width - length) : 0;
        fprintf(progress->out, "\r%s%*s", line, blanks, "");
        progress->width = length;
    } else {
        fprintf(progress->out, "%s\n", line);
    }
    fflush(progress->out);
}

void progress_break(Progress *progress) {
    if (progress->width > 0) fputc('\n', progress->out);
    progress->width = 0;
    fflush(progress->out);
}
