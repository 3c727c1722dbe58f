// RoPE as config.json says it: rope_theta and rope_scaling to transformers 4, rope_parameters to 5.
#ifndef CORE_MODEL_HF_ROPE_H
#define CORE_MODEL_HF_ROPE_H

#include "core/model/model.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// The base; where several members give it, they give the same. Error (status 3).
bool hf_rope_theta_read(const json_t *config, const char *path, double otherwise, double *theta,
                        Error *error);
// The scaling; `context`, max_position_embeddings, is the original context where none is said. An unknown
// type or field is refused (status 3).
bool hf_rope_scaling_read(const json_t *config, const char *path, int64_t context, RopeScaling *scaling,
                          Error *error);

// Members of their names; new references. rope_scaling is NULL for plain RoPE.
json_t *hf_rope_scaling(const RopeScaling *scaling);
json_t *hf_rope_parameters(const RopeScaling *scaling, double theta);
// max_position_embeddings of a model of this context: transformers takes it for the original one of
// `dynamic`.
int64_t hf_rope_context(const RopeScaling *scaling, int64_t context);

#ifdef __cplusplus
}
#endif
#endif
