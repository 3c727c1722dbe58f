// Saving checkpoints, stage by stage: whole or not at all; see checkpoint_stages.h.
#include "checkpoint_stages.h"
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

static const Engine *engine_of(const CheckpointWork *work) {
    return snapshot_engine(work->snapshot);
}

static bool is_small(int which) {
    return which != FILE_MODEL && which != FILE_OPTIMIZER && which != FILE_GATES;
}

// Which of a model's own tokenizer files this is; -1 for any other file.
static int tokenizer_file(int which) {
    return which == FILE_TOKENIZER          ? TOKENIZER_FILE
           : which == FILE_TOKENIZER_CONFIG ? TOKENIZER_CONFIG_FILE
                                            : -1;
}

static bool file_present(const CheckpointWork *work, int which) {
    int own = tokenizer_file(which);
    if (work->tokenizer && own >= 0) return work->tokenizer->files[own].text != NULL;
    return which != FILE_GATES || engine_of(work)->table.frozen_size > 0;
}

// ---- Small files

static json_t *config_json(const CheckpointWork *work) {
    json_t *config = hf_config_json(&engine_of(work)->config.model, work->context);
    if (work->tokenizer) {
        json_object_set(config, "bos_token_id", work->tokenizer->bos);
        json_object_set(config, "eos_token_id", work->tokenizer->eos);
    }
    return config;
}

static bool small_file_save(const CheckpointWork *work, int which, const char *path, Digest *digest,
                            Error *error) {
    int own = tokenizer_file(which);
    if (work->tokenizer && own >= 0) {
        return bytes_save(work->tokenizer->files[own].text, work->tokenizer->files[own].size, path, digest,
                          error);
    }
    switch (which) {
    case FILE_CONFIG: return json_save(config_json(work), path, digest, error);
    case FILE_TOKENIZER: return json_save(tokenizer_json(), path, digest, error);
    case FILE_TOKENIZER_CONFIG: return json_save(tokenizer_config_json(work->context), path, digest, error);
    }
    assert(!"no such file");
    return false;
}

// ---- Files of tensors

static TensorSet tensors_of(const CheckpointWork *work, int which) {
    const ParamTable *table = &engine_of(work)->table;
    return which == FILE_MODEL       ? tensor_set_weights(table)
           : which == FILE_OPTIMIZER ? tensor_set_moments(table)
                                     : tensor_set_frozen(table);
}

static bool tensors_reserve(const CheckpointWork *work, int which, const char *path, Error *error) {
    TensorSet set = tensors_of(work, which);
    bool ok = tensor_set_reserve(&set, path, error);
    tensor_set_free(&set);
    return ok;
}

static bool tensors_save(const CheckpointWork *work, int which, const char *path, Digest *digest,
                         Error *error) {
    TensorSet set = tensors_of(work, which);
    bool many = ranks_many(engine_of(work)->config.ranks);
    bool ok = many ? tensor_set_save_share(&set, work->snapshot, path, error)
                   : tensor_set_save(&set, work->snapshot, path, digest, error);
    tensor_set_free(&set);
    return ok;
}

// ---- Stages

// What a stage does with one file of the checkpoint.
static bool file_stage(CheckpointWork *work, int stage, int which, const char *path, Error *error) {
    const Ranks *ranks = engine_of(work)->config.ranks;
    Digest *digest = &work->manifest.digest[which];
    if (stage == STAGE_PREPARE && ranks_first(ranks) && is_small(which)) {
        return small_file_save(work, which, path, digest, error);
    }
    if (stage == STAGE_PREPARE && ranks_first(ranks) && ranks_many(ranks)) {
        return tensors_reserve(work, which, path, error);
    }
    if (stage == STAGE_TENSORS && !is_small(which)) return tensors_save(work, which, path, digest, error);
    if (stage == STAGE_DIGESTS && ranks_many(ranks) && which % ranks->size == ranks->rank) {
        return digest_file(path, digest, error);
    }
    return true;
}

static bool files_stage(CheckpointWork *work, int stage, const char *folder, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < CHECKPOINT_FILES; i++) {
        work->manifest.present[i] = file_present(work, i);
        if (!work->manifest.present[i]) continue;
        char *path = path_join(folder, checkpoint_file_names[i]);
        ok = file_stage(work, stage, i, path, error);
        free(path);
    }
    return ok;
}

static bool folder_prepare(const CheckpointWork *work, const char *folder, Error *error) {
    char *trainer = path_join(folder, "trainer");
    bool ok =
        folders_make(work->run, error) && checkpoint_clean(work->run, error) && folders_make(trainer, error);
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

static bool folder_finish(const CheckpointWork *work, const char *folder, Error *error) {
    char *trainer = path_join(folder, "trainer");
    bool ok = trainer_state_write(folder, &work->state, &work->manifest, error) &&
              folder_sync(trainer, error) && folder_sync(folder, error) &&
              folder_publish(folder, work->run, work->state.step, error);
    free(trainer);
    return ok;
}

bool checkpoint_stage(CheckpointWork *work, int stage, Error *error) {
    bool first = ranks_first(engine_of(work)->config.ranks), ok = true;
    char *hidden = checkpoint_hidden_path(work->run, work->state.step, ".tmp");
    if (stage == STAGE_PREPARE && first) ok = folder_prepare(work, hidden, error);
    ok = ok && files_stage(work, stage, hidden, error);
    if (stage == STAGE_PUBLISH && first) ok = ok && folder_finish(work, hidden, error);
    free(hidden);
    if (!ok) {
        return error_prefix(error, "checkpoint of step %lld not saved", (long long)work->state.step);
    }
    return stage != STAGE_PUBLISH || !first || checkpoint_prune(work->run, work->keep, error);
}

void checkpoint_share_digests(CheckpointWork *work, Ranks *ranks) {
    Manifest *all = (Manifest *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    ranks_gather(ranks, &work->manifest, sizeof work->manifest, all);
    for (int i = 0; i < CHECKPOINT_FILES; i++) work->manifest.digest[i] = all[i % ranks->size].digest[i];
    free(all);
}

void checkpoint_abandon(const CheckpointWork *work) {
    if (!ranks_first(engine_of(work)->config.ranks)) return;
    Error ignored; // the first error is the one to tell; the next save cleans again
    char *hidden = checkpoint_hidden_path(work->run, work->state.step, ".tmp");
    tree_remove(hidden, &ignored);
    free(hidden);
}
