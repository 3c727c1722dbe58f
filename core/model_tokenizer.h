// The tokenizer that a model folder carries beside the weights, where it is not that of bytes.
//
// A model that is trained on ready ids keeps the tokenizer it came with: its files travel unread from --init
// to every checkpoint.
#ifndef CORE_MODEL_TOKENIZER_H
#define CORE_MODEL_TOKENIZER_H

#include "error.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILES }; // tokenizer.json, tokenizer_config.json

typedef struct {
    json_t *bos, *eos; // as config.json has them, null where it does not
    struct {
        char *text; // NULL where the folder has none
        size_t size;
    } files[TOKENIZER_FILES];
} ModelTokenizer;

// Reads what a model folder has; NULL for a model that came from none. Error (status 3).
bool model_tokenizer_read(const char *folder, ModelTokenizer *tokenizer, Error *error);
void model_tokenizer_free(ModelTokenizer *tokenizer);

// Whether a folder's model is one of bytes: its config.json names their mark before a document.
bool model_tokenizer_is_bytes(const char *folder, bool *bytes, Error *error);
// Says (status 2) where config.json names another mark before a document than bytes have.
bool model_tokenizer_check_bytes(const char *folder, Error *error);

#ifdef __cplusplus
}
#endif
#endif
