// Tensor sets: an engine's tensors under their names in files; see tensor_set.h.
#include "core/checkpoint/tensor_set.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1 << 20) // elements that are in host memory at a time

static TensorSet set_create(const ParamTable *table, int capacity) {
    TensorSet set;
    set.table = table;
    set.places = (TensorPlace *)alloc_or_exit((size_t)capacity, sizeof(TensorPlace));
    set.count = 0;
    return set;
}

static void set_add(TensorSet *set, int param, TensorKind kind, const char *suffix) {
    TensorPlace *place = &set->places[set->count++];
    snprintf(place->name, sizeof place->name, "%s%s", set->table->params[param].name, suffix);
    place->param = param;
    place->kind = kind;
}

TensorSet tensor_set_weights(const ParamTable *table) {
    TensorSet set = set_create(table, table->count);
    for (int i = 0; i < table->count; i++)
        if (table->params[i].trained) set_add(&set, i, TENSOR_WEIGHT, "");
    return set;
}

TensorSet tensor_set_moments(const ParamTable *table) {
    TensorSet set = set_create(table, 2 * table->count);
    for (int i = 0; i < table->count; i++) {
        if (!table->params[i].trained) continue;
        set_add(&set, i, TENSOR_MOMENT1, ".exp_avg");
        set_add(&set, i, TENSOR_MOMENT2, ".exp_avg_sq");
    }
    return set;
}

TensorSet tensor_set_frozen(const ParamTable *table) {
    TensorSet set = set_create(table, table->count);
    for (int i = 0; i < table->count; i++)
        if (!table->params[i].trained) set_add(&set, i, TENSOR_WEIGHT, "");
    return set;
}

void tensor_set_free(TensorSet *set) {
    free(set->places);
    set->places = NULL;
    set->count = 0;
}

// ---- Writing

// The set as the format describes it; release with free().
static SafetensorsSpec *set_specs(const TensorSet *set) {
    SafetensorsSpec *specs = (SafetensorsSpec *)alloc_or_exit((size_t)set->count, sizeof *specs);
    for (int i = 0; i < set->count; i++) {
        const Param *param = &set->table->params[set->places[i].param];
        specs[i].name = set->places[i].name;
        specs[i].n_dims = param->n_dims;
        specs[i].dims[0] = param->n_dims == 1 ? param->cols : param->rows;
        specs[i].dims[1] = param->cols;
    }
    return specs;
}

bool tensor_set_save(const TensorSet *set, Snapshot *snapshot, const char *path, Digest *digest,
                     Error *error) {
    SafetensorsSpec *specs = set_specs(set);
    SafetensorsWriter *writer = safetensors_create(path, specs, set->count, SAFETENSORS_F32, error);
    free(specs);
    if (!writer) return false;

    bool ok = true;
    for (int i = 0; ok && i < set->count; i++) {
        const TensorPlace *place = &set->places[i];
        int64_t size = param_size(&set->table->params[place->param]), count;
        for (int64_t start = 0; ok && start < size; start += count) {
            count = size - start;
            const float *values = snapshot_read(snapshot, place->kind, place->param, start, &count);
            ok = safetensors_append(writer, values, count, error);
        }
    }
    if (ok) return safetensors_finish(writer, digest, error);
    safetensors_abandon(writer);
    return false;
}

bool tensor_set_reserve(const TensorSet *set, const char *path, Error *error) {
    SafetensorsSpec *specs = set_specs(set);
    bool ok = safetensors_reserve(path, specs, set->count, error);
    free(specs);
    return ok;
}

static bool share_write(const TensorSet *set, Snapshot *snapshot, const SafetensorsFile *file, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < set->count; i++) {
        const TensorPlace *place = &set->places[i];
        int tensor = safetensors_find(file, place->name);
        int64_t first, size, count;
        snapshot_share(snapshot, &set->table->params[place->param], &first, &size);
        for (int64_t start = first; ok && start < first + size; start += count) {
            count = first + size - start;
            const float *values = snapshot_read(snapshot, place->kind, place->param, start, &count);
            ok = safetensors_write(file, tensor, start, count, values, error);
        }
    }
    return ok && safetensors_sync(file, error);
}

bool tensor_set_save_share(const TensorSet *set, Snapshot *snapshot, const char *path, Error *error) {
    SafetensorsFile file;
    if (!safetensors_open_reserved(path, &file, error)) return false;
    bool ok = share_write(set, snapshot, &file, error);
    safetensors_close(&file);
    return ok;
}

// ---- Reading

// "(2, 3)" for messages.
static void shape_text(char *text, size_t size, int n_dims, const int64_t *dims) {
    size_t used = (size_t)snprintf(text, size, "(");
    for (int d = 0; d < n_dims && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", d ? ", " : "", (long long)dims[d]);
    if (used < size) snprintf(text + used, size - used, ")");
}

static bool tensor_check(const SafetensorsFile *file, const SafetensorsTensor *tensor, const Param *param,
                         Error *error) {
    assert(param->n_dims == 1 || param->n_dims == 2);
    int64_t dims[2] = {param->n_dims == 1 ? param->cols : param->rows, param->cols};
    bool same = tensor->n_dims == param->n_dims && tensor->dims[0] == dims[0] &&
                (param->n_dims == 1 || tensor->dims[1] == dims[1]);
    if (!same) {
        char found[200], wanted[64];
        shape_text(found, sizeof found, tensor->n_dims, tensor->dims);
        shape_text(wanted, sizeof wanted, param->n_dims, dims);
        return error_set(error, STATUS_DATA, "%s: tensor '%s' has shape %s, the model's is %s", file->path,
                         tensor->name, found, wanted);
    }
    if (tensor->type == SAFETENSORS_OTHER) {
        return error_set(error, STATUS_DATA,
                         "%s: tensor '%s' is not of float32, bfloat16 or float16; convert it", file->path,
                         tensor->name);
    }
    return true;
}

// Finds one tensor in exactly one of the files.
static bool place_find(TensorPlace *place, const SafetensorsFile *files, int n_files, Error *error) {
    place->file = -1;
    for (int f = 0; f < n_files; f++) {
        int tensor = safetensors_find(&files[f], place->name);
        if (tensor < 0) continue;
        if (place->file >= 0) {
            return error_set(error, STATUS_DATA, "tensor '%s' lies both in %s and in %s; remove one",
                             place->name, files[place->file].path, files[f].path);
        }
        place->file = f;
        place->tensor = tensor;
    }
    if (place->file >= 0) return true;
    return error_set(error, STATUS_DATA, "%s%s: tensor '%s' is missing; is this the same model?",
                     files[0].path, n_files > 1 ? " and the files beside it" : "", place->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const TensorPlace *)a)->name, ((const TensorPlace *)b)->name);
}

// Refuses tensors of the files that the set does not name.
static bool unknown_refuse(const TensorSet *set, const SafetensorsFile *files, int n_files,
                           bool (*harmless)(const char *name), Error *error) {
    TensorSet sorted = set_create(set->table, set->count);
    memcpy(sorted.places, set->places, (size_t)set->count * sizeof *set->places);
    qsort(sorted.places, (size_t)set->count, sizeof *sorted.places, by_name);
    bool ok = true;
    for (int f = 0; ok && f < n_files; f++) {
        for (int t = 0; ok && t < files[f].count; t++) {
            const char *name = files[f].tensors[t].name;
            TensorPlace key;
            snprintf(key.name, sizeof key.name, "%s", name);
            bool known = strlen(name) < sizeof key.name &&
                         bsearch(&key, sorted.places, (size_t)set->count, sizeof key, by_name);
            if (known || (harmless && harmless(name))) continue;
            ok = error_set(error, STATUS_DATA,
                           "%s: tensor '%.100s' is not one of the model's; is this the same model?",
                           files[f].path, name);
        }
    }
    tensor_set_free(&sorted);
    return ok;
}

bool tensor_set_match(TensorSet *set, const SafetensorsFile *files, int n_files,
                      bool (*harmless)(const char *name), Error *error) {
    for (int i = 0; i < set->count; i++) {
        TensorPlace *place = &set->places[i];
        if (!place_find(place, files, n_files, error)) return false;
        const SafetensorsFile *file = &files[place->file];
        if (!tensor_check(file, &file->tensors[place->tensor], &set->table->params[place->param], error))
            return false;
    }
    return unknown_refuse(set, files, n_files, harmless, error);
}

bool tensor_set_load(const TensorSet *set, const SafetensorsFile *files, Engine *engine, ZeroRuns *zeros,
                     Error *error) {
    float *piece = (float *)alloc_or_exit(PIECE, sizeof *piece);
    bool ok = true;
    for (int i = 0; ok && i < set->count; i++) {
        const TensorPlace *place = &set->places[i];
        const Param *param = &set->table->params[place->param];
        int64_t first = 0, size = param_size(param);
        if (place->kind != TENSOR_WEIGHT && ranks_many(engine->config.ranks))
            param_share(set->table, param, engine->config.ranks->rank, &first, &size);
        for (int64_t start = first; ok && start < first + size; start += PIECE) {
            int64_t left = first + size - start, count = left < PIECE ? left : PIECE;
            ok = safetensors_read(&files[place->file], place->tensor, start, count, piece, error);
            if (ok) engine_write(engine, place->kind, place->param, start, count, piece);
            if (ok && zeros) zero_runs_look(zeros, place->name, start, piece, count);
        }
    }
    free(piece);
    return ok;
}
