// Loading checkpoints: everything is verified before anything is believed; see checkpoint.h.
#include "checkpoint.h"
#include "files.h"
#include "hf_config.h"
#include "tensor_set.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool checkpoint_read_state(const char *folder, TrainerState *state, Error *error) {
    return trainer_state_read(folder, state, NULL, error);
}

// ---- Verifying

// What a verification has found so far.
typedef struct {
    const char *folder;
    Manifest manifest;
    CheckpointReport report;
    void *context;
    int rank, ranks; // of `ranks` that verify together, this one takes every file whose number modulo ranks
                     // is its own
    Error *error;    // of the first fault
    bool ok;
} Verification;

// Notes the outcome for one file; false when there is no need to go on.
static bool note(Verification *verification, const char *file, const Error *fault) {
    if (fault && verification->ok) *verification->error = *fault;
    if (fault) verification->ok = false;
    if (verification->report)
        verification->report(verification->context, file, fault ? fault->message : NULL);
    return verification->ok || verification->report;
}

static bool file_verify(Verification *verification, int which) {
    if (which % verification->ranks != verification->rank) return true;
    Error fault;
    Digest found, saved = verification->manifest.digest[which];
    char *path = path_join(verification->folder, checkpoint_file_names[which]);
    bool right = digest_file(path, &found, &fault);
    if (right && found.size != saved.size) {
        right =
            error_set(&fault, STATUS_DATA, "%s: damaged: %lld bytes, saved with %lld; use another checkpoint",
                      path, (long long)found.size, (long long)saved.size);
    } else if (right && found.xxh3 != saved.xxh3) {
        right = error_set(&fault, STATUS_DATA,
                          "%s: damaged: its hash is not the saved one; use another checkpoint", path);
    }
    free(path);
    return note(verification, checkpoint_file_names[which], right ? NULL : &fault);
}

// Whether a path within the checkpoint is a file of it, or the folder trainer.
static bool belongs(const Manifest *manifest, const char *path) {
    if (strcmp(path, "trainer") == 0 || strcmp(path, STATE_FILE_NAME) == 0) return true;
    for (int i = 0; i < CHECKPOINT_FILES; i++)
        if (manifest->present[i] && strcmp(path, checkpoint_file_names[i]) == 0) return true;
    return false;
}

// Faults whatever lies in the folder, or in its folder `inner`, and is not part of the checkpoint.
static bool strangers_verify(Verification *verification, const char *inner) {
    char *folder = path_join(verification->folder, inner);
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    Error fault;
    bool go_on = true;
    if (count < 0) {
        error_set_errno(&fault, STATUS_DATA, "%s: cannot be read", folder);
        go_on = note(verification, inner, &fault);
        count = 0;
        entries = NULL;
    }
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *path = inner[0] ? path_join(inner, name) : copy_or_exit(name);
        if (go_on && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            !belongs(&verification->manifest, path)) {
            error_set(&fault, STATUS_DATA, "%s/%s: not part of the checkpoint; move it away",
                      verification->folder, path);
            go_on = note(verification, path, &fault);
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
    free(folder);
    return go_on;
}

// Begins with the state, which says what the other files must be; false when it is damaged. ranks: NULL for
// one
static bool verification_begin(Verification *verification, const char *folder, const Ranks *ranks,
                               CheckpointReport report, void *context, Error *error) {
    memset(verification, 0, sizeof *verification);
    verification->rank = ranks ? ranks->rank : 0;
    verification->ranks = ranks_count(ranks);
    verification->folder = folder;
    verification->report = report;
    verification->context = context;
    verification->error = error;
    verification->ok = true;

    Error fault;
    TrainerState state;
    bool right = trainer_state_read(folder, &state, &verification->manifest, &fault);
    note(verification, STATE_FILE_NAME, right ? NULL : &fault);
    if (right) json_decref(state.settings);
    return right;
}

static bool folder_verify(const char *folder, const Ranks *ranks, CheckpointReport report, void *context,
                          Error *error) {
    Verification verification;
    bool go_on = verification_begin(&verification, folder, ranks, report, context, error) &&
                 strangers_verify(&verification, "") && strangers_verify(&verification, "trainer");
    for (int i = 0; go_on && i < CHECKPOINT_FILES; i++)
        if (verification.manifest.present[i]) go_on = file_verify(&verification, i);
    return verification.ok;
}

bool checkpoint_verify(const char *folder, CheckpointReport report, void *context, Error *error) {
    return folder_verify(folder, NULL, report, context, error);
}

static bool model_verify(const char *folder, const Ranks *ranks, Error *error) {
    static const int files[] = {FILE_CONFIG, FILE_MODEL, FILE_GATES};
    Verification verification;
    bool go_on = verification_begin(&verification, folder, ranks, NULL, NULL, error);
    for (size_t i = 0; go_on && i < sizeof files / sizeof *files; i++)
        if (verification.manifest.present[files[i]]) go_on = file_verify(&verification, files[i]);
    return verification.ok;
}

bool checkpoint_verify_model(const char *folder, Error *error) {
    return model_verify(folder, NULL, error);
}

// ---- Loading

// One tensor file of a checkpoint, opened and held against the engine's tensors.
typedef struct {
    TensorSet set;
    SafetensorsFile file;
} TensorPart;

// Takes the set; a failed part needs no close.
static bool part_open(TensorPart *part, TensorSet set, const char *folder, int which, Error *error) {
    part->set = set;
    char *path = path_join(folder, checkpoint_file_names[which]);
    bool opened = safetensors_open(path, &part->file, error);
    free(path);
    if (opened && tensor_set_match(&part->set, &part->file, 1, NULL, error)) return true;
    if (opened) safetensors_close(&part->file);
    tensor_set_free(&part->set);
    return false;
}

static void part_close(TensorPart *part) {
    safetensors_close(&part->file);
    tensor_set_free(&part->set);
}

static bool shape_verify(const Engine *engine, const char *folder, Error *error) {
    ModelConfig found;
    int64_t context;
    bool tied;
    return hf_config_read(folder, &found, &context, &tied, error) &&
           hf_config_same(&found, &engine->config.model, folder, error);
}

// Opens and checks every part that the engine wants before it loads the first.
static bool parts_load(Engine *engine, const char *folder, Error *error) {
    char *path = path_join(folder, checkpoint_file_names[FILE_GATES]);
    bool gates = engine->table.frozen_size > 0 && file_exists(path);
    free(path);

    TensorPart parts[3];
    int n_parts = 0;
    bool ok = part_open(&parts[n_parts], tensor_set_weights(&engine->table), folder, FILE_MODEL, error);
    n_parts += ok;
    if (ok && engine->config.training) {
        TensorSet moments = tensor_set_moments(&engine->table);
        ok = part_open(&parts[n_parts], moments, folder, FILE_OPTIMIZER, error);
        n_parts += ok;
    }
    if (ok && gates) {
        ok = part_open(&parts[n_parts], tensor_set_frozen(&engine->table), folder, FILE_GATES, error);
        n_parts += ok;
    }
    for (int i = 0; ok && i < n_parts; i++)
        ok = tensor_set_load(&parts[i].set, &parts[i].file, engine, error);
    while (n_parts > 0) part_close(&parts[--n_parts]);
    return ok;
}

bool checkpoint_load(Engine *engine, const char *folder, Error *error) {
    Ranks *ranks = engine->config.ranks;
    bool right = engine->config.training ? folder_verify(folder, ranks, NULL, NULL, error)
                                         : model_verify(folder, ranks, error);
    right = right && shape_verify(engine, folder, error);
    return ranks_agree(ranks, right, error) && ranks_agree(ranks, parts_load(engine, folder, error), error);
}
