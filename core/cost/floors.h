// Floors: the least time in which a part of the work can be done, at the rates measured on the very device.
//
// A part must move some bytes, each once, and do some floating-point operations; its floor is the longer of
// both times. Causal attention of n rows counts the products of the n^2/2 pairs: two forward, five backward
// (the scores are made again). What recomputation and buffers between kernels add is not in the floor: it
// shows in the ratio. The largest such buffer are the logits of the language-model head: written by one
// product, read and overwritten with their gradient by the loss, read by two products more. A kernel that did
// all of it would never move them.
#ifndef CORE_COST_FLOORS_H
#define CORE_COST_FLOORS_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double copy;    // bytes a second of a copy within the device's memory, read and written
    double product; // floating-point operations a second of a large matrix product
} Rates;

typedef struct {
    double bytes, flops, seconds;
} Floor;

// Of one part after another.
Floor floor_sum(Floor a, Floor b);

// A call on a layer; element: bytes of an activation; `scored`: the base scores of the norm scorer are there
// already, as in training.
Floor floor_call(BenchCall call, const LighthouseShape *shape, size_t element, bool scored,
                 const Rates *rates);

// The shape of a layer on config->batch sequences. False where Lighthouse settings are none for this context.
bool floor_shape(const EngineConfig *config, bool lighthouse, LighthouseShape *shape);

// A part of one training step: forward, backward and update on config->batch sequences.
Floor floor_part(Part part, const EngineConfig *config, Attention attention, size_t element,
                 const Rates *rates);

#ifdef __cplusplus
}
#endif
#endif
