// Members of a Hugging Face model's config.json: those that would make it another model, and those that
// nobody knows.
#ifndef CORE_MODEL_HF_MEMBERS_H
#define CORE_MODEL_HF_MEMBERS_H

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/model/family.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A member that is there and not null.
const json_t *hf_member(const json_t *config, const char *key);

// Error (status 3): a member is of this value, and not as `wanted`.
bool hf_refuse(const char *path, const char *key, const json_t *value, const char *wanted, Error *error);

// Error (status 3) for the first member that is known to change what a model of this family and context
// computes. Sizes need not have been checked before.
bool hf_members_check(const json_t *config, const char *path, int64_t context, Family family, Error *error);

// Appends the names, with commas between, of members that have a value, no family has, and hf_members_check
// does not know.
void hf_members_unknown(const json_t *config, ByteBuffer *names);

#ifdef __cplusplus
}
#endif
#endif
