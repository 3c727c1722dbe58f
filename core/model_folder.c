// Model folders as Hugging Face libraries write them; see model_folder.h.
#include "model_folder.h"
#include "files.h"
#include "hf_config.h"
#include "json_file.h"
#include "tensor_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_FILE "model.safetensors"
#define INDEX_FILE  "model.safetensors.index.json"

bool model_folder_config(const char *folder, ModelConfig *model, int64_t *context, Error *error) {
    bool tied;
    return hf_config_read(folder, model, context, &tied, error);
}

// ---- Which files

// The files of a sharded model, each once, sorted. A name must be one of a file in this very folder.
static bool index_read(const char *folder, const char *path, PathList *shards, Error *error) {
    json_t *index = json_file_read(path, error);
    if (!index) return false;
    json_t *map = json_object_get(index, "weight_map"), *file;
    bool ok = json_object_size(map) > 0 ||
              error_set(error, STATUS_DATA, "%s: weight_map is missing or empty", path);
    json_t *seen = json_object();
    const char *tensor;
    json_object_foreach(map, tensor, file) {
        const char *name = json_string_value(file);
        if (!name || strchr(name, '/') || name[0] == '.' || name[0] == 0) {
            ok = error_set(error, STATUS_DATA, "%s: tensor '%.100s' is not mapped to a file of this folder",
                           path, tensor);
            break;
        }
        if (json_object_get(seen, name)) continue;
        json_object_set_new(seen, name, json_true());
        char *shard = path_join(folder, name);
        paths_add(shards, shard);
        free(shard);
    }
    paths_sort(shards);
    json_decref(seen);
    json_decref(index);
    return ok;
}

static bool shards_find(const char *folder, PathList *shards, Error *error) {
    char *single = path_join(folder, SINGLE_FILE), *index = path_join(folder, INDEX_FILE);
    bool ok = true;
    if (file_exists(single)) {
        paths_add(shards, single);
    } else if (file_exists(index)) {
        ok = index_read(folder, index, shards, error);
    } else {
        ok = error_set(error, STATUS_DATA,
                       "%s: no model folder: neither " SINGLE_FILE " nor " INDEX_FILE " is there", folder);
    }
    free(single);
    free(index);
    return ok;
}

// ---- Loading

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), n = strlen(end);
    return length >= n && strcmp(text + length - n, end) == 0;
}

// Tables that older libraries stored and every library computes.
static bool harmless(const char *name) {
    return ends_with(name, ".rotary_emb.inv_freq");
}
static bool harmless_tied(const char *name) {
    return harmless(name) || strcmp(name, "lm_head.weight") == 0;
}

static bool shards_load(Engine *engine, const SafetensorsFile *files, int n_files, bool tied, Error *error) {
    TensorSet set = tensor_set_weights(&engine->table);
    if (tied) {
        const Param *embedding = &engine->table.params[param_find(&engine->table, PARAM_EMBEDDING, -1)];
        for (int i = 0; i < set.count; i++)
            if (engine->table.params[set.places[i].param].role == PARAM_HEAD)
                snprintf(set.places[i].name, sizeof set.places[i].name, "%s", embedding->name);
    }
    bool ok = tensor_set_match(&set, files, n_files, tied ? harmless_tied : harmless, error) &&
              tensor_set_load(&set, files, engine, error);
    tensor_set_free(&set);
    return ok;
}

// The engine's shape is the folder's: tensors of one shape can still mean different models.
static bool shape_check(const Engine *engine, const char *folder, bool *tied, Error *error) {
    ModelConfig found;
    int64_t context;
    if (!hf_config_read(folder, &found, &context, tied, error)) return false;
    return hf_config_same(&found, &engine->config.model, folder, error);
}

bool model_folder_load(Engine *engine, const char *folder, Error *error) {
    bool tied;
    if (!shape_check(engine, folder, &tied, error)) return false;
    PathList shards = {NULL, 0};
    if (!shards_find(folder, &shards, error)) {
        paths_free(&shards);
        return false;
    }

    SafetensorsFile *files = (SafetensorsFile *)alloc_or_exit((size_t)shards.count, sizeof *files);
    int n_files = 0;
    bool ok = true;
    while (ok && n_files < shards.count) {
        ok = safetensors_open(shards.paths[n_files], &files[n_files], error);
        if (ok) n_files++;
    }
    ok = ok && shards_load(engine, files, n_files, tied, error);
    while (n_files > 0) safetensors_close(&files[--n_files]);
    free(files);
    paths_free(&shards);
    return ok;
}
