// Progress of `pack` on standard error: a bar on a terminal, a plain line now and then elsewhere.
#ifndef CORE_PACK_PACK_PROGRESS_H
#define CORE_PACK_PACK_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    bool enabled, terminal;
    double started, shown; // by now()
} PackProgress;

void pack_progress_start(PackProgress *progress, bool enabled);
// Input bytes read of all, and documents so far. Shown a few times a second on a terminal, twice a minute
// elsewhere.
void pack_progress_read(PackProgress *progress, int64_t bytes, int64_t total, int64_t documents);
void pack_progress_shuffle(PackProgress *progress, int64_t shard, int64_t shards);
// Clears the bar's line, before anything else is printed.
void pack_progress_clear(const PackProgress *progress);

#ifdef __cplusplus
}
#endif
#endif
