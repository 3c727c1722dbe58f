// `eval --probe-causality`: whether a change of one token reaches outputs that stand before it.
//
// Under dense attention none may: a model that trained under Lighthouse attention, which looks ahead within
// its chunk, must have become an ordinary causal model. Under Lighthouse the probe tells how far that look
// goes; what lies before the token's chunk must stay there too. Outputs are what the head gets, so that the
// row next to the changed token, whose target it is, is held to it as well; they are compared bit by bit.
#ifndef CORE_COMMANDS_CAUSALITY_H
#define CORE_COMMANDS_CAUSALITY_H

#include "dataloader.h"
#include "core/engine/engine.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double probes;         // changed tokens
    double unsteady;       // outputs that changed when the same tokens were evaluated again
    double before;         // outputs before a changed token, over all probes
    double changed_before; // of these, the ones that changed
    double beyond;         // of these, those that even a look within the chunk does not explain
    double after;          // outputs of the changed token and of those behind it
    double changed_after;
    double losses;          // targets before the changed token in its chunk
    double change, largest; // of these losses, in nats: the sum and the largest
    double farthest;        // tokens between a changed output and the changed token behind it, at most
    double seconds;
} Causality;

// Changes tokens of the first `sequences` sequences, eight of each, spread over it. Ranks share the work, and
// all get the same sums. Error (status 2) where a sequence has a token alone.
bool causality_probe(Engine *engine, DataLoader *data, int64_t sequences, Attention attention, Causality *sum,
                     Error *error);

// Adds what was found to an object. `chunk`: tokens of a chunk, 0 under dense attention.
void causality_json(const Causality *sum, int64_t chunk, json_t *object);

// Error (status 3) where an output changed that must not, or none that must.
bool causality_judge(const Causality *sum, Attention attention, Error *error);

#ifdef __cplusplus
}
#endif
#endif
