// Golden models: dev/test/golden/model_*.json, in which a whole six-layer decoder was trained for ten steps.
#ifndef TEST_GOLDEN_MODEL_H
#define TEST_GOLDEN_MODEL_H

#include "core/engine/engine.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    json_t *json;
    uint32_t seed;
    EngineConfig config; // of an engine that can run the case
    int32_t *tokens;     // (1, N+1)
} GoldenModel;

// Reads a case; false with a message on standard error.
bool golden_model_open(GoldenModel *model, const char *path);
void golden_model_close(GoldenModel *model);

// An engine of the case, with its weights. NULL with a message on standard error.
Engine *golden_model_engine(const GoldenModel *model, const EngineApi *api);
void golden_model_write_weights(const GoldenModel *model, Engine *engine);

// Norm of a parameter's gradient and its projection on the case's random direction.
void golden_model_gradient(const GoldenModel *model, Engine *engine, int param, double *norm,
                           double *projection);
// The same two as they should be in `stage` ("dense" or "lighthouse"), and the stage's loss.
void golden_model_expected(const GoldenModel *model, const char *stage, const char *name, double *norm,
                           double *projection);
double golden_model_loss(const GoldenModel *model, const char *stage);

// Ten losses of a schedule: "dense", "lighthouse" or "lighthouse5_dense5".
double golden_model_step_loss(const GoldenModel *model, const char *schedule, int step);
AdamW golden_model_adamw(const GoldenModel *model, int step);

#ifdef __cplusplus
}
#endif
#endif
