// The parts of a training step; see parts.h.
#include "core/engine/parts.h"

#include "core/base/clock.h"

#include <stddef.h>

static const char *const NAMES[PART_COUNT] = {
#define PART_ROW(part, name) name,
    PART_TABLE(PART_ROW)
#undef PART_ROW
};

const char *part_name(Part part) {
    return NAMES[part];
}

void part_begin(PartClock *clock, Part part) {
    if (!clock->seconds) return;
    double time = now();
    if (clock->current < PART_COUNT) clock->seconds[clock->current] += time - clock->since;
    clock->current = part;
    clock->since = time;
}

Part part_switch(PartClock *clock, Part part) {
    Part before = clock->current;
    part_begin(clock, part);
    return before;
}

void part_end(PartClock *clock) {
    part_begin(clock, PART_COUNT);
}
