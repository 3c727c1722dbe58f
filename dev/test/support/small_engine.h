// A CPU engine small enough for tests, and its steps; each fails the test where the engine refuses.
#ifndef TEST_SMALL_ENGINE_H
#define TEST_SMALL_ENGINE_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SMALL_VOCABULARY 264

// Three layers, the middle one dense; room for B sequences of N tokens.
EngineConfig small_engine_config(Scorer scorer, int64_t B, int64_t N);
// Weights spread more than the initial ones, so that every layer matters. Destroy with engine_destroy.
Engine *small_engine_create(const EngineConfig *config);
// Random tokens; release with free().
int32_t *small_engine_tokens(int64_t count, uint64_t stream);

// The sum of all losses in nats.
double small_engine_train(Engine *engine, const int32_t *tokens, Attention attention, int64_t targets);
double small_engine_evaluate(Engine *engine, const int32_t *tokens, int64_t B, int64_t N,
                             Attention attention);
AdamW small_adamw(double clip);

// All trained tensors of one kind, one behind the other; *count elements. Release with free().
float *small_engine_read(Engine *engine, TensorKind kind, int64_t *count);
// These are the same, and not zero.
void expect_same_bits(Engine *a, Engine *b, TensorKind kind);

#ifdef __cplusplus
}
#endif
#endif
