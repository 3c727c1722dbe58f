// Numbers and words of a config.json, read with errors (status 3) that name the member.
#ifndef CORE_MODEL_HF_NUMBERS_H
#define CORE_MODEL_HF_NUMBERS_H

#include "core/base/error.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// otherwise: the value of a member that is not there or null; 0: it must be there.
bool hf_size_read(const json_t *config, const char *path, const char *key, int64_t otherwise, int64_t most,
                  int64_t *value, Error *error);
// Above 0; `otherwise` where it is not there or null.
bool hf_real_read(const json_t *config, const char *path, const char *key, double otherwise, double *value,
                  Error *error);
bool hf_text_is(const json_t *value, const char *wanted);

#ifdef __cplusplus
}
#endif
#endif
