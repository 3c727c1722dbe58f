// What the tokens of a model folder are: bytes, or a tokenizer's ids.
#ifndef CORE_MODEL_MODEL_TOKENIZER_H
#define CORE_MODEL_MODEL_TOKENIZER_H

#include "core/base/error.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// By the marks around a document that config.json names, and by the files of a tokenizer.
typedef enum {
    TOKENS_BYTES, // the marks are those of bytes
    TOKENS_IDS,   // there are other marks, or a tokenizer without marks
    TOKENS_OPEN,  // neither marks nor a tokenizer: ids of whoever trained it
} TokenKind;

bool model_token_kind(const char *folder, TokenKind *kind, Error *error);

// The ids that end a text: a number, a list, or nothing. generation_config.json says them, as of a chat
// model, or else config.json. False on error; release with json_decref.
bool model_end_marks(const char *folder, json_t **marks, Error *error);
// Whether a token is among them.
bool model_is_end(const json_t *marks, int token);

// Says (status 2) where config.json names other marks than bytes have.
bool model_tokenizer_check_bytes(const char *folder, Error *error);

// Says (status 2) where the shards of --data are not of the model's kind. `begins`: a run begins from this
// model, which may then be one of bytes where its kind is open.
bool model_tokenizer_check_data(const char *folder, const char *data, bool bytes, bool begins, Error *error);

#ifdef __cplusplus
}
#endif
#endif
