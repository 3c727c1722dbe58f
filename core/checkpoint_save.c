// Saving checkpoints: whole or not at all; see checkpoint.h.
#include "checkpoint.h"
#include "files.h"
#include "hf_config.h"
#include "tensor_set.h"
#include "tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Writes a file and syncs it.
static bool bytes_save(const char *bytes, size_t size, const char *path, Digest *digest, Error *error) {
    DigestWriter *writer = digest_writer_create(path, error);
    if (!writer) return false;
    if (digest_writer_append(writer, bytes, size, error)) return digest_writer_finish(writer, digest, error);
    digest_writer_abandon(writer);
    return false;
}

// Likewise JSON. Takes the reference.
static bool json_save(json_t *value, const char *path, Digest *digest, Error *error) {
    char *text = json_dumps(value, JSON_INDENT(2));
    json_decref(value);
    size_t size = strlen(text);
    text[size] = '\n'; // in place of the final zero byte
    bool ok = bytes_save(text, size + 1, path, digest, error);
    free(text);
    return ok;
}

// Takes the set. Of several ranks, all write; digests follow when all files are there.
static bool tensors_save(TensorSet set, Engine *engine, const char *path, Digest *digest, Error *error) {
    bool ok = ranks_many(engine->config.ranks) ? tensor_set_save_shares(&set, engine, path, error)
                                               : tensor_set_save(&set, engine, path, digest, error);
    tensor_set_free(&set);
    return ok;
}

static json_t *config_json(const Engine *engine, int64_t context, const ModelTokenizer *tokenizer) {
    json_t *config = hf_config_json(&engine->config.model, context);
    if (tokenizer) {
        json_object_set(config, "bos_token_id", tokenizer->bos);
        json_object_set(config, "eos_token_id", tokenizer->eos);
    }
    return config;
}

// Which of a model's own tokenizer files this is; -1 for any other file.
static int tokenizer_file(int which) {
    return which == FILE_TOKENIZER          ? TOKENIZER_FILE
           : which == FILE_TOKENIZER_CONFIG ? TOKENIZER_CONFIG_FILE
                                            : -1;
}

static bool file_present(int which, const Engine *engine, const ModelTokenizer *tokenizer) {
    int own = tokenizer_file(which);
    if (tokenizer && own >= 0) return tokenizer->files[own].text != NULL;
    return which != FILE_GATES || engine->table.frozen_size > 0;
}

// What only the first rank writes.
static bool is_small(int which) {
    return which != FILE_MODEL && which != FILE_OPTIMIZER && which != FILE_GATES;
}

static bool file_save(int which, Engine *engine, int64_t context, const ModelTokenizer *tokenizer,
                      const char *path, Digest *digest, Error *error) {
    int own = tokenizer_file(which);
    if (tokenizer && own >= 0) {
        return bytes_save(tokenizer->files[own].text, tokenizer->files[own].size, path, digest, error);
    }
    switch (which) {
    case FILE_CONFIG: return json_save(config_json(engine, context, tokenizer), path, digest, error);
    case FILE_MODEL: return tensors_save(tensor_set_weights(&engine->table), engine, path, digest, error);
    case FILE_TOKENIZER: return json_save(tokenizer_json(), path, digest, error);
    case FILE_TOKENIZER_CONFIG: return json_save(tokenizer_config_json(context), path, digest, error);
    case FILE_OPTIMIZER: return tensors_save(tensor_set_moments(&engine->table), engine, path, digest, error);
    case FILE_GATES: return tensors_save(tensor_set_frozen(&engine->table), engine, path, digest, error);
    }
    assert(!"no such file");
    return false;
}

// The digests of files that several ranks have written: each rank reads some of the files.
static bool digest_files(Ranks *ranks, const char *folder, Manifest *manifest, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < CHECKPOINT_FILES; i++) {
        if (!manifest->present[i] || i % ranks->size != ranks->rank) continue;
        char *path = path_join(folder, checkpoint_file_names[i]);
        ok = digest_file(path, &manifest->digest[i], error);
        free(path);
    }
    if (!ranks_agree(ranks, ok, error)) return false;
    Manifest *all = (Manifest *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    ranks_gather(ranks, manifest, sizeof *manifest, all);
    for (int i = 0; i < CHECKPOINT_FILES; i++) manifest->digest[i] = all[i % ranks->size].digest[i];
    free(all);
    return true;
}

// Every file of the checkpoint, synced, and their folders.
static bool files_save(Engine *engine, const char *folder, const TrainerState *state, int64_t context,
                       const ModelTokenizer *tokenizer, Error *error) {
    Manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    Ranks *ranks = engine->config.ranks;
    char *trainer = path_join(folder, "trainer");
    bool ok = ranks_agree(ranks, !ranks_first(ranks) || folders_make(trainer, error), error);
    for (int i = 0; ok && i < CHECKPOINT_FILES; i++) {
        manifest.present[i] = file_present(i, engine, tokenizer);
        if (!manifest.present[i]) continue;
        char *path = path_join(folder, checkpoint_file_names[i]);
        bool writes = ranks_first(ranks) || !is_small(i);
        ok = ranks_agree(
            ranks, !writes || file_save(i, engine, context, tokenizer, path, &manifest.digest[i], error),
            error);
        free(path);
    }
    if (ok && ranks_many(ranks)) ok = digest_files(ranks, folder, &manifest, error);
    if (ok && ranks_first(ranks)) {
        ok = trainer_state_write(folder, state, &manifest, error) && folder_sync(trainer, error) &&
             folder_sync(folder, error);
    }
    free(trainer);
    return ranks_agree(ranks, ok, error);
}

// Gives the finished folder its name; one that had it is renamed away and deleted.
static bool folder_publish(const char *hidden, const char *run, int64_t step, Error *error) {
    char *path = checkpoint_path(run, step), *old = checkpoint_hidden_path(run, step, ".old");
    bool replaces = folder_exists(path);
    bool ok = (!replaces || path_rename(path, old, error)) && path_rename(hidden, path, error) &&
              (!replaces || tree_remove(old, error));
    free(path);
    free(old);
    return ok;
}

bool checkpoint_save(Engine *engine, const char *run, const TrainerState *state, int64_t context,
                     const ModelTokenizer *tokenizer, Error *error) {
    assert(engine->config.training);
    Ranks *ranks = engine->config.ranks;
    bool first = ranks_first(ranks);
    bool clean = !first || (folders_make(run, error) && checkpoint_clean(run, error));
    if (!ranks_agree(ranks, clean, error)) return false;

    char *hidden = checkpoint_hidden_path(run, state->step, ".tmp");
    bool ok = files_save(engine, hidden, state, context, tokenizer, error);
    if (ok) ok = ranks_agree(ranks, !first || folder_publish(hidden, run, state->step, error), error);
    Error ignored; // the first error is the one to tell; the next save cleans again
    if (!ok && first) tree_remove(hidden, &ignored);
    free(hidden);
    return ok || error_prefix(error, "checkpoint of step %lld not saved", (long long)state->step);
}
