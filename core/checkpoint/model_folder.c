// Model folders as Hugging Face libraries write them; see model_folder.h.
#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/zero_runs.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/model/folder_kind.h"
#include "core/model/hf_config.h"
#include "core/model/hf_members.h"
#include "core/base/json_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_FILE WEIGHTS_FILE
#define INDEX_FILE  "model.safetensors.index.json"
#define HEAD_NAME   "lm_head.weight"
#define PIECE       (1 << 20)  // elements of a tensor that are in memory at a time
#define BF16_END    0x1.FFp127 // from here on bf16 rounds to infinity

bool model_folder_config(const char *folder, ModelConfig *model, int64_t *context, Error *error) {
    return folder_check_adapter(folder, error) && hf_config_read(folder, model, context, error);
}

bool model_folder_warn_unknown(const char *folder, Error *error) {
    ByteBuffer names = {NULL, 0, 0};
    char *path = path_join(folder, CONFIG_FILE);
    json_t *config = json_file_read(path, error);
    hf_members_unknown(config, &names);
    if (names.size > 0) {
        warn("%s: members that no family has are kept, and taken to change nothing: %.*s", path,
             (int)names.size, names.data);
    }
    bool ok = config != NULL;
    json_decref(config);
    bytes_free(&names);
    free(path);
    return ok;
}

bool model_folder_check_out(const char *folder, const char *out, Error *error) {
    char *config = path_join(folder, CONFIG_FILE), *single = path_join(folder, SINGLE_FILE),
         *index = path_join(folder, INDEX_FILE);
    bool model = file_exists(config) && (file_exists(single) || file_exists(index));
    free(config);
    free(single);
    free(index);
    return !model ||
           error_set(error, STATUS_USAGE,
                     "--out %s: %s is a model's folder, which gets nothing else; choose another folder", out,
                     folder);
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
        if (!file_exists(shard))
            ok = error_set(error, STATUS_DATA, "%s: is not there, and %s names it: download it too", shard,
                           INDEX_FILE);
        free(shard);
        if (!ok) break;
    }
    paths_sort(shards);
    json_decref(seen);
    json_decref(index);
    return ok;
}

// Some libraries read the one and some the other.
static void warn_of_two(const char *folder, const char *single, const char *index) {
    PathList parts = {NULL, 0};
    Error ignored;
    bool two = file_exists(index) && index_read(folder, index, &parts, &ignored) &&
               (parts.count > 1 || !file_same(parts.paths[0], single));
    if (two) {
        warn("%s holds " SINGLE_FILE " and the parts that " INDEX_FILE " lists: " SINGLE_FILE
             " is read, as transformers does; remove what is not meant",
             folder);
    }
    paths_free(&parts);
}

static bool shards_find(const char *folder, PathList *shards, Error *error) {
    char *single = path_join(folder, SINGLE_FILE), *index = path_join(folder, INDEX_FILE);
    bool ok = true;
    if (file_exists(single)) {
        paths_add(shards, single);
        warn_of_two(folder, single, index);
    } else if (file_exists(index)) {
        ok = index_read(folder, index, shards, error);
    } else {
        ok = folder_refuse_weights(folder, error);
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
    return harmless(name) || strcmp(name, HEAD_NAME) == 0;
}

static bool tensors_equal(const SafetensorsFile *file, const SafetensorsFile *other, int tensor,
                          int other_tensor, bool *equal, Error *error) {
    int64_t size = file->tensors[tensor].count;
    *equal =
        other->tensors[other_tensor].count == size && other->tensors[other_tensor].type != SAFETENSORS_OTHER;
    float *values = (float *)alloc_or_exit((size_t)2 * PIECE, sizeof *values);
    bool ok = true;
    for (int64_t start = 0; ok && *equal && start < size; start += PIECE) {
        int64_t count = size - start < PIECE ? size - start : PIECE;
        ok = safetensors_read(file, tensor, start, count, values, error) &&
             safetensors_read(other, other_tensor, start, count, values + PIECE, error);
        *equal = ok && memcmp(values, values + PIECE, (size_t)count * sizeof *values) == 0;
    }
    free(values);
    return ok;
}

// Some store the head of a tied model all the same: then it is the embedding once more.
static bool tied_head_check(const ModelWeights *weights, const char *folder, Error *error) {
    const ParamTable *table = weights->set.table;
    const TensorPlace *embedding = weights->set.places;
    while (table->params[embedding->param].role != PARAM_EMBEDDING) embedding++;
    for (int i = 0; i < weights->n_files; i++) {
        int tensor = safetensors_find(&weights->files[i], HEAD_NAME);
        bool equal = true;
        if (tensor >= 0 && !tensors_equal(&weights->files[embedding->file], &weights->files[i],
                                          embedding->tensor, tensor, &equal, error))
            return false;
        if (equal) continue;
        return error_set(
            error, STATUS_DATA,
            "%s: %s is not %s, but tie_word_embeddings in %s/config.json says so; transformers 4 "
            "takes the one and 5 the other: set it to false to use the head, or remove the head",
            weights->files[i].path, HEAD_NAME, embedding->name, folder);
    }
    return true;
}

bool model_weights_open(const char *folder, const ParamTable *table, ModelWeights *weights, Error *error) {
    bool tied = param_table_tied(table);
    PathList shards = {NULL, 0};
    memset(weights, 0, sizeof *weights);
    bool ok = shards_find(folder, &shards, error);
    weights->files = (SafetensorsFile *)alloc_or_exit((size_t)shards.count + 1, sizeof *weights->files);
    while (ok && weights->n_files < shards.count) {
        ok = safetensors_open(shards.paths[weights->n_files], &weights->files[weights->n_files], error);
        if (ok) weights->n_files++;
    }
    paths_free(&shards);
    weights->set = tensor_set_weights(table);
    ok = ok && tensor_set_match(&weights->set, weights->files, weights->n_files,
                                tied ? harmless_tied : harmless, error);
    ok = ok && (!tied || tied_head_check(weights, folder, error));
    if (!ok) model_weights_close(weights);
    return ok;
}

bool model_values_check(const SafetensorsFile *file, int tensor, const float *values, int64_t count,
                        bool bf16, Error *error) {
    for (int64_t i = 0; i < count; i++) {
        double size = fabs((double)values[i]);
        if (size < (bf16 ? BF16_END : INFINITY)) continue;
        return error_set(error, STATUS_NONFINITE, "%s: tensor '%.100s' has a weight of %g%s", file->path,
                         file->tensors[tensor].name, (double)values[i],
                         isfinite(size) ? ", too large for bf16; leave out --bf16"
                                        : ": the model is of no use");
    }
    return true;
}

static bool tensor_check_finite(const SafetensorsFile *file, int tensor, float *piece, ZeroRuns *zeros,
                                Error *error) {
    int64_t size = file->tensors[tensor].count;
    bool ok = true;
    for (int64_t start = 0; ok && start < size; start += PIECE) {
        int64_t count = size - start < PIECE ? size - start : PIECE;
        ok = safetensors_read(file, tensor, start, count, piece, error) &&
             model_values_check(file, tensor, piece, count, false, error);
        if (ok) zero_runs_look(zeros, file->tensors[tensor].name, start, piece, count);
    }
    return ok;
}

bool model_weights_check_finite(const ModelWeights *weights, const char *folder, Error *error) {
    float *piece = (float *)alloc_or_exit(PIECE, sizeof *piece);
    ZeroRuns zeros;
    memset(&zeros, 0, sizeof zeros);
    bool ok = true;
    for (int i = 0; ok && i < weights->set.count; i++) {
        const TensorPlace *place = &weights->set.places[i];
        ok = tensor_check_finite(&weights->files[place->file], place->tensor, piece, &zeros, error);
    }
    if (ok) zero_runs_warn(&zeros, folder);
    free(piece);
    return ok;
}

void model_weights_close(ModelWeights *weights) {
    while (weights->n_files > 0) safetensors_close(&weights->files[--weights->n_files]);
    free(weights->files);
    weights->files = NULL;
    tensor_set_free(&weights->set);
}

// The engine's shape is the folder's: tensors of one shape can still mean different models.
static bool shape_check(const Engine *engine, const char *folder, Error *error) {
    ModelConfig found;
    int64_t context;
    if (!hf_config_read(folder, &found, &context, error)) return false;
    return hf_config_same(&found, &engine->config.model, folder, error);
}

bool model_folder_load(Engine *engine, const char *folder, Error *error) {
    ModelWeights weights;
    if (!shape_check(engine, folder, error) || !model_weights_open(folder, &engine->table, &weights, error))
        return false;
    ZeroRuns zeros;
    memset(&zeros, 0, sizeof zeros);
    bool ok = tensor_set_load(&weights.set, weights.files, engine, &zeros, error);
    if (ok) zero_runs_warn(&zeros, folder);
    model_weights_close(&weights);
    return ok;
}
