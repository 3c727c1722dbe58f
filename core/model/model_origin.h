// What a model brings from the folder that it comes from, of --init or a checkpoint: its config.json and the
// files that it keeps. All of it goes into every checkpoint; only what training changes is written anew.
#ifndef CORE_MODEL_MODEL_ORIGIN_H
#define CORE_MODEL_MODEL_ORIGIN_H

#include "core/base/kept_files.h"
#include "core/model/model.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    bool bytes;      // its tokens are bytes: the byte tokenizer is written where no other is kept
    json_t *config;  // NULL for a model that comes from no folder
    KeptFiles files; // without those of the byte tokenizer that this program wrote: they are written again
} ModelOrigin;

// Reads what a folder has; NULL for a model that comes from none. Error (status 3).
bool model_origin_read(const char *folder, bool bytes, ModelOrigin *origin, Error *error);
void model_origin_free(ModelOrigin *origin);
// Warns of a tokenizer that goes with the model and is for a shorter context than this.
void model_origin_warn(const ModelOrigin *origin, const char *folder, int64_t context);

// Contents of config.json, tokenizer.json and tokenizer_config.json for the model that came from there,
// trained on this context. config.json keeps every member that training leaves as it was, and never names a
// shorter context than before. New references; NULL where there is no such file to write. `origin`: NULL for
// a model of bytes that comes from no folder
json_t *model_origin_config(const ModelOrigin *origin, const ModelConfig *model, int64_t context);
json_t *model_origin_tokenizer(const ModelOrigin *origin, const ModelConfig *model);
json_t *model_origin_tokenizer_config(const ModelOrigin *origin, const ModelConfig *model, int64_t context);

#ifdef __cplusplus
}
#endif
#endif
