// The loss by the place of a target in its sequence: whether a model makes use of what lies far back.
//
// Bands double: targets with less than 4,096 tokens before them in their sequence, then up to 8,192, 16,384,
// ..., so that each band has as many as all before it. The last tenth of the sequence is a further band.
#ifndef CORE_COMMANDS_POSITION_BANDS_H
#define CORE_COMMANDS_POSITION_BANDS_H

#include "core/ranks/ranks.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POSITION_FIRST_BAND 4096
#define POSITION_MAX_BANDS  48 // that many doublings 64 bits hold

typedef struct {
    int64_t from, to; // targets [from, to) of each sequence, the first of them 0
    double nats, targets;
} PositionBand;

typedef struct {
    PositionBand bands[POSITION_MAX_BANDS];
    int count; // the first count - 1 share out the sequence, the last one is its last tenth
} PositionBands;

// The bands of sequences of N targets, empty.
void position_bands_create(PositionBands *bands, int64_t N);

// Adds the losses of targets first, first + 1, ... of a sequence.   nats: (count)
void position_bands_add(PositionBands *bands, int64_t first, int64_t count, const double *nats);

// Adds up over the ranks.
void position_bands_sum(PositionBands *bands, Ranks *ranks);

// Puts "bands", a list of {from, to, nats, targets, nats_per_target}, and such an object "last_tenth" into an
// object.
void position_bands_json(const PositionBands *bands, json_t *object);

#ifdef __cplusplus
}
#endif
#endif
