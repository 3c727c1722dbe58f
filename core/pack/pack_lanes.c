// The inputs of `pack` as blocks for several threads; see pack_lanes.h.
#include "core/pack/pack_lanes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void pack_lanes_open(PackLanes *lanes, const PackInputs *inputs, TextCuts cuts, int count) {
    memset(lanes, 0, sizeof *lanes);
    lanes->inputs = inputs;
    lanes->cuts = cuts;
    lanes->count = count;
    lanes->lanes = (PackLane *)alloc_or_exit((size_t)count, sizeof *lanes->lanes);
}

void pack_lanes_close(PackLanes *lanes) {
    for (int i = 0; i < lanes->count; i++) text_reader_close(&lanes->lanes[i].reader);
    free(lanes->lanes);
}

static bool has_more(const PackLanes *lanes, const PackLane *lane) {
    return lane->reader.open || lanes->next_input < lanes->inputs->count;
}

// A free lane with something left to read; NULL at the end. The lock is held.
static PackLane *wait_for_lane(PackLanes *lanes, Workers *workers) {
    while (!workers->stopped) {
        bool any_busy = false;
        for (int i = 0; i < lanes->count; i++) {
            PackLane *lane = &lanes->lanes[i];
            any_busy = any_busy || lane->busy;
            if (!lane->busy && has_more(lanes, lane)) return lane;
        }
        if (!any_busy) return NULL;
        pthread_cond_wait(&workers->changed, &workers->lock);
    }
    return NULL;
}

bool pack_lanes_take(PackLanes *lanes, Workers *workers, TextBlock *block, int64_t *number, bool *end,
                     Error *error) {
    const PackInput *begun = NULL;
    pthread_mutex_lock(&workers->lock);
    PackLane *lane = wait_for_lane(lanes, workers);
    *end = lane == NULL;
    if (lane) {
        lane->busy = true;
        *number = lanes->n_taken++;
        if (!lane->reader.open) begun = &lanes->inputs->files[lanes->next_input++];
    }
    pthread_mutex_unlock(&workers->lock);
    if (!lane) return true;
    bool ok = (!begun || text_reader_open(&lane->reader, begun, lanes->cuts, error)) &&
              text_reader_next(&lane->reader, block, error);
    pthread_mutex_lock(&workers->lock);
    lane->busy = !ok; // nobody reads on behind an error
    if (ok && has_more(lanes, lane))
        pthread_cond_signal(&workers->changed); // there is work for one more
    else
        pthread_cond_broadcast(&workers->changed);
    pthread_mutex_unlock(&workers->lock);
    return ok;
}
