// Loading checkpoints: everything is verified before anything is believed; see checkpoint.h.
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/model/hf_config.h"
#include "core/checkpoint/tensor_set.h"

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
    char *path = path_join(verification->folder, verification->manifest.names[which]);
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
    return note(verification, verification->manifest.names[which], right ? NULL : &fault);
}

// Whether a path within the checkpoint is a file of it, or a folder that holds one.
static bool belongs(const Manifest *manifest, const char *path) {
    if (strcmp(path, "trainer") == 0 || strcmp(path, STATE_FILE_NAME) == 0) return true;
    size_t length = strlen(path);
    for (int i = 0; i < manifest->count; i++) {
        const char *name = manifest->names[i];
        bool begins = manifest->present[i] && strncmp(path, name, length) == 0;
        if (begins && (name[length] == 0 || name[length] == '/')) return true;
    }
    return false;
}

// Adds whatever lies in the folder, or in its folder `inner` and those below it, and is not part of the
// checkpoint.
static bool strangers_add(const char *checkpoint, const Manifest *manifest, const char *inner,
                          PathList *strangers, Error *error) {
    PathList names;
    char *folder = inner[0] ? path_join(checkpoint, inner) : copy_or_exit(checkpoint);
    bool ok = folder_list(folder, &names, error);
    free(folder);
    for (int64_t i = 0; ok && i < names.count; i++) {
        char *path = inner[0] ? path_join(inner, names.paths[i]) : copy_or_exit(names.paths[i]);
        char *whole = path_join(checkpoint, path);
        if (!belongs(manifest, path))
            paths_add(strangers, path);
        else if (folder_exists(whole))
            ok = strangers_add(checkpoint, manifest, path, strangers, error);
        free(whole);
        free(path);
    }
    paths_free(&names);
    return ok;
}

bool checkpoint_strangers(const char *folder, PathList *strangers, Error *error) {
    memset(strangers, 0, sizeof *strangers);
    TrainerState state;
    Manifest manifest;
    Error ignored;
    if (!trainer_state_read(folder, &state, &manifest, &ignored)) return true;
    json_decref(state.settings);
    return strangers_add(folder, &manifest, "", strangers, error);
}

static bool strangers_report(const char *folder, CheckpointReport report, void *context, Error *error) {
    PathList strangers;
    bool ok = checkpoint_strangers(folder, &strangers, error);
    for (int64_t i = 0; ok && i < strangers.count; i++)
        report(context, strangers.paths[i], "not part of the checkpoint; ignored");
    paths_free(&strangers);
    return ok;
}

// Begins with the state, which says what the other files must be; false when it is damaged. ranks: NULL for
// one
static bool verification_begin(Verification *verification, const char *folder, const Ranks *ranks,
                               CheckpointReport report, void *context, Error *error) {
    memset(verification, 0, sizeof *verification);
    verification->rank = ranks_rank(ranks);
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
    bool go_on = verification_begin(&verification, folder, ranks, report, context, error);
    for (int i = 0; go_on && i < verification.manifest.count; i++)
        if (verification.manifest.present[i]) go_on = file_verify(&verification, i);
    return verification.ok;
}

bool checkpoint_verify(const char *folder, CheckpointReport report, void *context, Error *error) {
    bool ok = folder_verify(folder, NULL, report, context, error);
    return ok && (!report || strangers_report(folder, report, context, error));
}

bool checkpoint_verify_share(const char *folder, const Ranks *ranks, Error *error) {
    return folder_verify(folder, ranks, NULL, NULL, error);
}

// Whether a model computes with this file; tokenizers and the like only travel.
static bool computes(int which) {
    return which == FILE_CONFIG || which == FILE_MODEL || which == FILE_GATES;
}

// `all`: also what only travels.
static bool model_verify(const char *folder, const Ranks *ranks, bool all, Error *error) {
    Verification verification;
    bool go_on = verification_begin(&verification, folder, ranks, NULL, NULL, error);
    for (int i = 0; go_on && i < verification.manifest.count; i++) {
        bool wanted = computes(i) || (all && i != FILE_OPTIMIZER);
        if (verification.manifest.present[i] && wanted) go_on = file_verify(&verification, i);
    }
    return verification.ok;
}

bool checkpoint_verify_model(const char *folder, Error *error) {
    return model_verify(folder, NULL, true, error);
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
    return hf_config_read(folder, &found, &context, error) &&
           hf_config_same(&found, &engine->config.model, folder, error);
}

// Opens and checks every part that the engine wants before it loads the first.
static bool parts_load(Engine *engine, const char *folder, Error *error) {
    TrainerState state;
    Manifest manifest;
    if (!trainer_state_read(folder, &state, &manifest, error)) return false;
    json_decref(state.settings);
    bool gates = engine->table.frozen_size > 0 && manifest.present[FILE_GATES];
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
        ok = tensor_set_load(&parts[i].set, &parts[i].file, engine, NULL, error);
    while (n_parts > 0) part_close(&parts[--n_parts]);
    return ok;
}

bool checkpoint_load_verified(Engine *engine, const char *folder, Error *error) {
    Ranks *ranks = engine->config.ranks;
    return ranks_agree(ranks, shape_verify(engine, folder, error), error) &&
           ranks_agree(ranks, parts_load(engine, folder, error), error);
}

bool checkpoint_load(Engine *engine, const char *folder, Error *error) {
    Ranks *ranks = engine->config.ranks;
    bool right = engine->config.training ? folder_verify(folder, ranks, NULL, NULL, error)
                                         : model_verify(folder, ranks, false, error);
    return ranks_agree(ranks, right, error) && checkpoint_load_verified(engine, folder, error);
}
