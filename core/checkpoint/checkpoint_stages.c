// Saving checkpoints, stage by stage: whole or not at all; see checkpoint_stages.h.
#include "core/checkpoint/checkpoint_stages.h"
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/model/hf_config.h"
#include "core/checkpoint/tensor_set.h"

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

static const KeptFile *kept_file(const CheckpointWork *work, int which) {
    return work->origin ? kept_files_find(&work->origin->files, work->manifest.names[which]) : NULL;
}

// ---- Small files

// Contents of a small file that is not kept from elsewhere; NULL where there is none. New reference.
static json_t *small_file_json(const CheckpointWork *work, int which) {
    const ModelConfig *model = &engine_of(work)->config.model;
    switch (which) {
    case FILE_CONFIG: return model_origin_config(work->origin, model, work->context);
    case FILE_TOKENIZER: return model_origin_tokenizer(work->origin, model);
    case FILE_TOKENIZER_CONFIG: return model_origin_tokenizer_config(work->origin, model, work->context);
    }
    return NULL;
}

static bool small_file_save(const CheckpointWork *work, int which, const char *path, Digest *digest,
                            Error *error) {
    const KeptFile *kept = kept_file(work, which);
    return kept ? bytes_save(kept->text, kept->size, path, digest, error)
                : json_save(small_file_json(work, which), path, digest, error);
}

static bool file_present(const CheckpointWork *work, int which) {
    if (which == FILE_GATES) return engine_of(work)->table.frozen_size > 0;
    if (!is_small(which) || kept_file(work, which)) return true;
    json_t *json = small_file_json(work, which);
    json_decref(json);
    return json != NULL;
}

void checkpoint_list_files(CheckpointWork *work) {
    manifest_begin(&work->manifest);
    for (int i = 0; i < CHECKPOINT_FILES; i++) work->manifest.present[i] = file_present(work, i);
    for (int i = 0; work->origin && i < work->origin->files.count; i++)
        manifest_add(&work->manifest, work->origin->files.files[i].name);
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
    for (int i = 0; ok && i < work->manifest.count; i++) {
        if (!work->manifest.present[i]) continue;
        char *path = path_join(folder, work->manifest.names[i]);
        ok = file_stage(work, stage, i, path, error);
        free(path);
    }
    return ok;
}

// Calls `act` for the folder of every kept file that lies in one.
static bool kept_folders(const CheckpointWork *work, const char *folder,
                         bool (*act)(const char *path, Error *error), Error *error) {
    bool ok = true;
    for (int i = CHECKPOINT_FILES; ok && i < work->manifest.count; i++) {
        if (!strchr(work->manifest.names[i], '/')) continue;
        char *path = path_join(folder, work->manifest.names[i]), *inner = path_parent(path);
        ok = act(inner, error);
        free(inner);
        free(path);
    }
    return ok;
}

static bool folder_prepare(const CheckpointWork *work, const char *folder, Error *error) {
    char *trainer = path_join(folder, "trainer");
    bool ok = folders_make(work->run, error) && checkpoint_clean(work->run, error) &&
              folders_make(trainer, error) && kept_folders(work, folder, folders_make, error);
    free(trainer);
    return ok;
}

// Gives the finished folder its name; one that had it is renamed away and deleted.
static bool folder_publish(const char *hidden, const char *run, int64_t step, Error *error) {
    char *path = checkpoint_path(run, step), *old = checkpoint_hidden_path(run, step, ".old");
    bool ok = checkpoint_make_room(run, step, error), replaces = folder_exists(path);
    ok = ok && (!replaces || path_rename(path, old, error)) && path_rename(hidden, path, error) &&
         (!replaces || tree_remove(old, error));
    free(path);
    free(old);
    return ok;
}

static bool folder_finish(const CheckpointWork *work, const char *folder, Error *error) {
    char *trainer = path_join(folder, "trainer");
    bool ok = trainer_state_write(folder, &work->state, &work->manifest, error) &&
              kept_folders(work, folder, folder_sync, error) && folder_sync(trainer, error) &&
              folder_sync(folder, error) && folder_publish(folder, work->run, work->state.step, error);
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
    for (int i = 0; i < work->manifest.count; i++) work->manifest.digest[i] = all[i % ranks->size].digest[i];
    free(all);
}

void checkpoint_abandon(const CheckpointWork *work) {
    if (!ranks_first(engine_of(work)->config.ranks)) return;
    Error ignored; // the first error is the one to tell; the next save cleans again
    char *hidden = checkpoint_hidden_path(work->run, work->state.step, ".tmp");
    tree_remove(hidden, &ignored);
    free(hidden);
}
