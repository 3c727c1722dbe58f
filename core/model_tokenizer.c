// The tokenizer that a model folder carries; see model_tokenizer.h.
#include "model_tokenizer.h"

#include "files.h"
#include "json_file.h"
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)256 << 20) // of a tokenizer's file

static json_t *config_member(const json_t *config, const char *key) {
    json_t *value = json_object_get(config, key);
    return value ? json_incref(value) : json_null();
}

// A file that may be missing.
static bool optional_read(const char *folder, const char *name, char **text, size_t *size, Error *error) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    if (there) *text = file_read(path, MAX_BYTES, size, error);
    free(path);
    return !there || *text;
}

bool model_tokenizer_read(const char *folder, ModelTokenizer *tokenizer, Error *error) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    memset(tokenizer, 0, sizeof *tokenizer);
    json_t *config = NULL;
    bool ok = true;
    if (folder) {
        char *path = path_join(folder, "config.json");
        config = json_file_read(path, error);
        free(path);
        ok = config != NULL;
    }
    tokenizer->bos = config_member(config, "bos_token_id");
    tokenizer->eos = config_member(config, "eos_token_id");
    json_decref(config);
    for (int i = 0; ok && folder && i < TOKENIZER_FILES; i++) {
        ok = optional_read(folder, names[i], &tokenizer->files[i].text, &tokenizer->files[i].size, error);
    }
    return ok;
}

void model_tokenizer_free(ModelTokenizer *tokenizer) {
    json_decref(tokenizer->bos);
    json_decref(tokenizer->eos);
    for (int i = 0; i < TOKENIZER_FILES; i++) free(tokenizer->files[i].text);
    memset(tokenizer, 0, sizeof *tokenizer);
}

static json_t *read_bos(const char *folder, Error *error) {
    char *path = path_join(folder, "config.json");
    json_t *config = json_file_read(path, error);
    free(path);
    json_t *bos = config ? config_member(config, "bos_token_id") : NULL;
    json_decref(config);
    return bos;
}

bool model_tokenizer_is_bytes(const char *folder, bool *bytes, Error *error) {
    json_t *bos = read_bos(folder, error);
    if (!bos) return false;
    *bytes = json_integer_value(bos) == TOKEN_BOS;
    json_decref(bos);
    return true;
}

bool model_tokenizer_check_bytes(const char *folder, Error *error) {
    json_t *bos = read_bos(folder, error);
    if (!bos) return false;
    bool ok = json_integer_value(bos) == TOKEN_BOS;
    if (!ok) {
        char *text = json_dumps(bos, JSON_ENCODE_ANY | JSON_COMPACT);
        error_set(error, STATUS_USAGE,
                  "%s is no model of bytes: bos_token_id in its config.json is %.40s, theirs is %d", folder,
                  text ? text : "missing", TOKEN_BOS);
        free(text);
    }
    json_decref(bos);
    return ok;
}
