// Progress of `pack` on standard error; see pack_progress.h.
#include "core/pack/pack_progress.h"

#include "core/base/clock.h"
#include "core/base/console.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_WIDTH         24
#define TERMINAL_INTERVAL 0.2 // seconds
#define PLAIN_INTERVAL    30.0

void pack_progress_start(PackProgress *progress, bool enabled) {
    progress->enabled = enabled;
    progress->terminal = isatty(STDERR_FILENO);
    progress->started = progress->shown = now();
}

// Whether enough time has passed since the last sign of life.
static bool is_due(PackProgress *progress) {
    double time = now();
    if (!progress->enabled ||
        time - progress->shown < (progress->terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL)) {
        return false;
    }
    progress->shown = time;
    return console_has_room(STDERR_FILENO);
}

static void print_bar(double share) {
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < share * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = 0;
    fprintf(stderr, "\r[%s] ", bar);
}

void pack_progress_read(PackProgress *progress, int64_t bytes, int64_t total, int64_t documents) {
    if (!is_due(progress)) return;
    double share = total > 0 ? (double)bytes / (double)total : 1.0;
    double seconds = progress->shown - progress->started;
    double left = share > 0 ? seconds * (1 - share) / share : 0;
    if (progress->terminal) print_bar(share);
    fprintf(stderr, "%5.1f %% read, %.1f of %.1f MB, %.1f MB/s, %lld documents, %.0f s left%s", 100 * share,
            (double)bytes * 1e-6, (double)total * 1e-6, (double)bytes * 1e-6 / seconds, (long long)documents,
            left, progress->terminal ? "\033[K" : "\n");
}

void pack_progress_shuffle(PackProgress *progress, int64_t shard, int64_t shards) {
    if (!is_due(progress)) return;
    if (progress->terminal) print_bar((double)shard / (double)shards);
    fprintf(stderr, "shuffling: shard %lld of %lld%s", (long long)shard, (long long)shards,
            progress->terminal ? "\033[K" : "\n");
}

void pack_progress_clear(const PackProgress *progress) {
    if (progress->enabled && progress->terminal) fprintf(stderr, "\r\033[K");
}
