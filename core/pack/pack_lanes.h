// The inputs of `pack` as blocks for several threads: so many files, the lanes, are read at a time, each by
// one thread at a time.
#ifndef CORE_PACK_PACK_LANES_H
#define CORE_PACK_PACK_LANES_H

#include "core/pack/text_source.h"
#include "core/base/workers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    TextReader reader;
    bool busy; // a thread reads
} PackLane;

typedef struct {
    const PackInputs *inputs;
    TextCuts cuts;
    PackLane *lanes;
    int count;
    int64_t next_input; // the first that no lane has begun
    int64_t n_taken;    // blocks
} PackLanes;

void pack_lanes_open(PackLanes *lanes, const PackInputs *inputs, TextCuts cuts, int count);
void pack_lanes_close(PackLanes *lanes);

// Reads the next block of a lane that is free, and waits for one where all are being read. *number counts the
// blocks, from 0; with one lane they come in the order of the inputs. *end is set, and no block given, behind
// the last, or when another thread has failed.
bool pack_lanes_take(PackLanes *lanes, Workers *workers, TextBlock *block, int64_t *number, bool *end,
                     Error *error);

#ifdef __cplusplus
}
#endif
#endif
