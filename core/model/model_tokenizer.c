// What the tokens of a model folder are; see model_tokenizer.h.
#include "core/model/model_tokenizer.h"

#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/base/names.h"
#include "core/base/kept_files.h"
#include "core/model/tokenizer.h"

#include <fnmatch.h>
#include <stdlib.h>

#define GENERATION_FILE "generation_config.json"

static json_t *read_config(const char *folder, Error *error) {
    char *path = path_join(folder, CONFIG_FILE);
    json_t *config = json_file_read(path, error);
    free(path);
    return config;
}

// One of the marks, as a number or in a list of them.
static bool is_mark(const json_t *value, int token) {
    for (size_t i = 0; i < json_array_size(value); i++)
        if (is_mark(json_array_get(value, i), token)) return true;
    return json_is_integer(value) && json_integer_value(value) == token;
}

// A number, a list of them, or nothing.
static bool are_marks(const json_t *value) {
    bool are = !value || json_is_null(value) || json_is_integer(value) || json_is_array(value);
    for (size_t i = 0; i < json_array_size(value); i++)
        are = are && json_is_integer(json_array_get(value, i));
    return are;
}

// Those of one file, or NULL where it names none.
static bool marks_read(const char *folder, const char *name, json_t **marks, Error *error) {
    char *path = path_join(folder, name);
    json_t *config = json_file_read(path, error), *found = json_object_get(config, "eos_token_id");
    bool ok =
        config && (are_marks(found) ||
                   error_set(error, STATUS_DATA,
                             "%s: eos_token_id is neither an id nor a list of ids: no text would end", path));
    *marks = ok && !json_is_null(found) ? json_incref(found) : NULL;
    json_decref(config);
    free(path);
    return ok;
}

bool model_end_marks(const char *folder, json_t **marks, Error *error) {
    char *path = path_join(folder, GENERATION_FILE);
    bool there = file_exists(path);
    free(path);
    *marks = NULL;
    if (there && !marks_read(folder, GENERATION_FILE, marks, error)) return false;
    return *marks || marks_read(folder, CONFIG_FILE, marks, error);
}

bool model_is_end(const json_t *marks, int token) {
    return is_mark(marks, token);
}

static bool marks_bytes(const json_t *config) {
    return is_mark(json_object_get(config, "bos_token_id"), TOKEN_BOS) &&
           is_mark(json_object_get(config, "eos_token_id"), TOKEN_EOS);
}

static bool is_null(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return !value || json_is_null(value);
}

// Licences and settings of generation are kept too, and show nothing.
static bool has_tokenizer(const char *folder, bool *has, Error *error) {
    static const char *const files[] = {"token*", "vocab*", "*.model", "*tiktoken*", "tekken.json"};
    PathList names;
    *has = false;
    if (!kept_names_list(folder, &names, error)) return false;
    for (int64_t n = 0; n < names.count; n++)
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            *has = *has || fnmatch(files[i], names.paths[n], 0) == 0;
    paths_free(&names);
    return true;
}

bool model_token_kind(const char *folder, TokenKind *kind, Error *error) {
    bool tokenizer;
    json_t *config = read_config(folder, error);
    if (!config) return false;
    bool ok = has_tokenizer(folder, &tokenizer, error);
    bool open = ok && !tokenizer && is_null(config, "bos_token_id") && is_null(config, "eos_token_id");
    *kind = marks_bytes(config) ? TOKENS_BYTES : open ? TOKENS_OPEN : TOKENS_IDS;
    json_decref(config);
    return ok;
}

bool model_tokenizer_check_bytes(const char *folder, Error *error) {
    json_t *config = read_config(folder, error);
    if (!config) return false;
    bool ok = marks_bytes(config);
    if (!ok) {
        char *bos = json_dumps(json_object_get(config, "bos_token_id"), JSON_ENCODE_ANY | JSON_COMPACT);
        char *eos = json_dumps(json_object_get(config, "eos_token_id"), JSON_ENCODE_ANY | JSON_COMPACT);
        error_set(error, STATUS_USAGE,
                  "%s is no model of bytes: bos_token_id in its config.json is %.40s, theirs is %d; "
                  "eos_token_id is %.40s, theirs is %d",
                  folder, bos ? bos : "missing", TOKEN_BOS, eos ? eos : "missing", TOKEN_EOS);
        free(bos);
        free(eos);
    }
    json_decref(config);
    return ok;
}

bool model_tokenizer_check_data(const char *folder, const char *data, bool bytes, bool begins, Error *error) {
    TokenKind kind;
    if (!model_token_kind(folder, &kind, error)) return false;
    bool fits = bytes ? kind == TOKENS_BYTES || (begins && kind == TOKENS_OPEN) : kind != TOKENS_BYTES;
    if (fits) return true;
    return bytes ? error_set(
                       error, STATUS_USAGE,
                       "--data %s holds bytes, and %s is a model of a tokenizer's ids; make shards of its "
                       "ids with 'pack --tokens'",
                       data, folder)
                 : error_set(error, STATUS_USAGE,
                             "--data %s holds token ids, and %s is a model of bytes; pack the text itself, "
                             "without --tokens",
                             data, folder);
}
