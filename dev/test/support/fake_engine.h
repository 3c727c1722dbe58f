// An engine that only holds tensors in plain arrays: for tests of what reads and writes them.
#ifndef TEST_FAKE_ENGINE_H
#define TEST_FAKE_ENGINE_H

#include "core/checkpoint/tensor_set.h"

#ifdef __cplusplus
extern "C" {
#endif

// A training engine of this shape, all tensors zero. Destroy with engine_destroy.
Engine *fake_engine_create(const ModelConfig *model, bool gla_gates);

// Fills weights and moments with numbers that depend on the seed, no two tensors alike.
void fake_engine_fill(Engine *engine, uint64_t seed);

// Whether all weights (frozen ones if asked) and moments of two engines agree bit for bit.
bool fake_engine_same_weights(Engine *a, Engine *b, bool frozen);
bool fake_engine_same_moments(Engine *a, Engine *b);

// Writes some of its tensors as a file.
bool fake_engine_save(Engine *engine, const TensorSet *set, const char *path, Digest *digest, Error *error);

#ifdef __cplusplus
}
#endif
#endif
