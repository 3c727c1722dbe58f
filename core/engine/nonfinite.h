// Where in the model a loss or a gradient that is not finite comes from, for the message that ends the run.
#ifndef CORE_ENGINE_NONFINITE_H
#define CORE_ENGINE_NONFINITE_H

#include "dataloader.h"
#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

// Makes the micro-steps of an update that failed again, this time looking: `data` begins at `place`, as the
// update did, and `tokens` has room for a micro-step's. Puts behind the error's message which output was the
// first that is not finite, or, where the loss was finite and the gradients are zeroed, which gradient was on
// the way back. All ranks call it together and get the same words. The engine is of no use for training after
// it.
void nonfinite_explain_loss(Engine *engine, DataLoader *data, const DataPlaces *places, int32_t *tokens,
                            Attention attention, Error *error);
void nonfinite_explain_gradient(Engine *engine, DataLoader *data, const DataPlaces *places, int32_t *tokens,
                                Attention attention, Error *error);

#ifdef __cplusplus
}
#endif
#endif
