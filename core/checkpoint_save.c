// Saving checkpoints: whole or not at all; see checkpoint.h.
#include "checkpoint.h"
#include "files.h"
#include "hf_config.h"
#include "tensor_set.h"
#include "tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Writes a JSON file and syncs it. Takes the reference.
static bool json_save(json_t *value, const char *path, Digest *digest, Error *error) {
    char *text = json_dumps(value, JSON_INDENT(2));
    json_decref(value);
    DigestWriter *writer = digest_writer_create(path, error);
    bool ok = writer && digest_writer_append(writer, text, strlen(text), error) &&
              digest_writer_append(writer, "\n", 1, error);
    free(text);
    if (ok) return digest_writer_finish(writer, digest, error);
    if (writer) digest_writer_abandon(writer);
    return false;
}

// Takes the set.
static bool tensors_save(TensorSet set, Engine *engine, const char *path, Digest *digest, Error *error) {
    bool ok = tensor_set_save(&set, engine, path, digest, error);
    tensor_set_free(&set);
    return ok;
}

static bool file_save(int which, Engine *engine, int64_t context, const char *path, Digest *digest,
                      Error *error) {
    switch (which) {
    case FILE_CONFIG: return json_save(hf_config_json(&engine->config.model, context), path, digest, error);
    case FILE_MODEL: return tensors_save(tensor_set_weights(&engine->table), engine, path, digest, error);
    case FILE_TOKENIZER: return json_save(tokenizer_json(), path, digest, error);
    case FILE_TOKENIZER_CONFIG: return json_save(tokenizer_config_json(context), path, digest, error);
    case FILE_OPTIMIZER: return tensors_save(tensor_set_moments(&engine->table), engine, path, digest, error);
    case FILE_GATES: return tensors_save(tensor_set_frozen(&engine->table), engine, path, digest, error);
    }
    assert(!"no such file");
    return false;
}

// Every file of the checkpoint, synced, and their folders.
static bool files_save(Engine *engine, const char *folder, const TrainerState *state, int64_t context,
                       Error *error) {
    Manifest manifest;
    memset(&manifest, 0, sizeof manifest);
    char *trainer = path_join(folder, "trainer");
    bool ok = folders_make(trainer, error);
    for (int i = 0; ok && i < CHECKPOINT_FILES; i++) {
        manifest.present[i] = i != FILE_GATES || engine->table.frozen_size > 0;
        if (!manifest.present[i]) continue;
        char *path = path_join(folder, checkpoint_file_names[i]);
        ok = file_save(i, engine, context, path, &manifest.digest[i], error);
        free(path);
    }
    ok = ok && trainer_state_write(folder, state, &manifest, error) && folder_sync(trainer, error) &&
         folder_sync(folder, error);
    free(trainer);
    return ok;
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
                     Error *error) {
    assert(engine->config.training);
    if (!folders_make(run, error) || !checkpoint_clean(run, error)) return false;

    char *hidden = checkpoint_hidden_path(run, state->step, ".tmp");
    bool ok =
        files_save(engine, hidden, state, context, error) && folder_publish(hidden, run, state->step, error);
    Error ignored; // the first error is the one to tell; the next save cleans again
    if (!ok) tree_remove(hidden, &ignored);
    free(hidden);
    return ok || error_prefix(error, "checkpoint of step %lld not saved", (long long)state->step);
}
