// What a model brings from the folder that it comes from; see model_origin.h.
#include "core/model/model_origin.h"

#include "core/model/hf_config.h"
#include "core/base/json_file.h"
#include "core/base/names.h"
#include "core/model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

// Whether a kept file holds what this program wrote for a byte tokenizer, today's or that of before it had a
// pad token.
static bool is_ours(const KeptFile *file, json_t *(*write)(bool pad, int64_t context)) {
    if (!file) return false;
    int64_t context = 0;
    bool ours = false;
    json_t *found = json_loadb(file->text, file->size, JSON_REJECT_DUPLICATES, NULL);
    json_member_int(found, "model_max_length", 1, INT64_MAX, &context);
    for (int pad = 0; found && pad < 2 && !ours; pad++) {
        json_t *wanted = write(pad, context);
        ours = json_equal(found, wanted);
        json_decref(wanted);
    }
    json_decref(found);
    return ours;
}

static json_t *write_tokenizer(bool pad, int64_t context) {
    (void)context;
    return tokenizer_json(pad);
}

static void drop_ours(KeptFiles *files) {
    if (is_ours(kept_files_find(files, TOKENIZER_FILE), write_tokenizer))
        kept_files_drop(files, TOKENIZER_FILE);
    if (is_ours(kept_files_find(files, "tokenizer_config.json"), tokenizer_config_json))
        kept_files_drop(files, "tokenizer_config.json");
}

bool model_origin_read(const char *folder, bool bytes, ModelOrigin *origin, Error *error) {
    memset(origin, 0, sizeof *origin);
    origin->bytes = bytes;
    if (!folder) return true;
    char *path = path_join(folder, CONFIG_FILE);
    origin->config = json_file_read(path, error);
    free(path);
    bool ok = origin->config && kept_files_read(folder, &origin->files, error);
    if (ok && bytes) drop_ours(&origin->files);
    return ok;
}

void model_origin_free(ModelOrigin *origin) {
    json_decref(origin->config);
    kept_files_free(&origin->files);
    memset(origin, 0, sizeof *origin);
}

static bool writes(const ModelOrigin *origin, const char *name) {
    return !origin || (origin->bytes && !kept_files_find(&origin->files, name));
}

static void set_mark(json_t *config, const char *key, bool there, int token) {
    const json_t *found = json_object_get(config, key);
    if (found && !json_is_null(found)) return;
    json_object_set_new(config, key, there ? json_integer(token) : json_null());
}

// Where the folder has none: the ids of the byte tokenizer's marks; null where it is another's, and ids that
// came from no folder.
static void set_marks(json_t *config, bool bytes, const ModelConfig *model) {
    set_mark(config, "bos_token_id", bytes, TOKEN_BOS);
    set_mark(config, "eos_token_id", bytes, TOKEN_EOS);
    set_mark(config, "pad_token_id", bytes && tokenizer_has_pad(model->vocab_size), TOKEN_PAD);
}

// transformers cuts texts at it, and vLLM sequences.
void model_origin_warn(const ModelOrigin *origin, const char *folder, int64_t context) {
    const KeptFile *file = kept_files_find(&origin->files, "tokenizer_config.json");
    if (!file) return;
    json_t *config = json_loadb(file->text, file->size, JSON_DECODE_INT_AS_REAL, NULL);
    double length = json_number_value(json_object_get(config, "model_max_length"));
    if (length > 0 && length < (double)context) {
        warn(
            "%s/tokenizer_config.json keeps model_max_length %.0f, and --seq-len is %lld: other programs may "
            "cut there until you raise it",
            folder, length, (long long)context);
    }
    json_decref(config);
}

json_t *model_origin_config(const ModelOrigin *origin, const ModelConfig *model, int64_t context) {
    json_t *config = origin && origin->config ? hf_config_update(origin->config, model, context)
                                              : hf_config_json(model, context);
    bool ours = writes(origin, "tokenizer_config.json");
    if (ours || !origin->config) set_marks(config, ours, model);
    return config;
}

json_t *model_origin_tokenizer(const ModelOrigin *origin, const ModelConfig *model) {
    return writes(origin, TOKENIZER_FILE) ? tokenizer_json(tokenizer_has_pad(model->vocab_size)) : NULL;
}

json_t *model_origin_tokenizer_config(const ModelOrigin *origin, const ModelConfig *model, int64_t context) {
    if (!writes(origin, "tokenizer_config.json")) return NULL;
    if (origin && origin->config) context = hf_config_context(origin->config, context);
    return tokenizer_config_json(tokenizer_has_pad(model->vocab_size), context);
}
