// `export`: a model folder without what only training needs; see export.h.
#include "export.h"

#include "checkpoint.h"
#include "files.h"
#include "json_file.h"
#include "model_folder.h"
#include "open_engine.h"
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1 << 20) // elements that are in memory at a time

static bool export_config(const char *from, const char *to, bool bf16, Error *error) {
    char *source = path_join(from, "config.json"), *target = path_join(to, "config.json");
    json_t *config = json_file_read(source, error);
    bool ok = config != NULL;
    if (ok) {
        const char *type = bf16 ? "bfloat16" : "float32";
        json_object_set_new(config, "dtype", json_string(type)); // of transformers 5
        json_object_set_new(config, "torch_dtype", json_string(type));
        char *text = json_dumps(config, JSON_INDENT(2));
        ok = file_write(target, text, strlen(text), error);
        free(text);
    }
    json_decref(config);
    free(source);
    free(target);
    return ok;
}

// One tensor of the source, a piece at a time.
static bool export_tensor(const SafetensorsFile *file, int tensor, float *piece, SafetensorsWriter *writer,
                          Error *error) {
    int64_t size = file->tensors[tensor].count;
    for (int64_t start = 0; start < size; start += PIECE) {
        int64_t count = size - start < PIECE ? size - start : PIECE;
        if (!safetensors_read(file, tensor, start, count, piece, error)) return false;
        if (!safetensors_append(writer, piece, count, error)) return false;
    }
    return true;
}

static bool export_tensors(const SafetensorsFile *file, const char *path, bool bf16, Error *error) {
    SafetensorsSpec *specs = (SafetensorsSpec *)alloc_or_exit((size_t)file->count, sizeof *specs);
    for (int i = 0; i < file->count; i++) {
        const SafetensorsTensor *tensor = &file->tensors[i];
        specs[i].name = tensor->name;
        specs[i].n_dims = tensor->n_dims;
        memcpy(specs[i].dims, tensor->dims, sizeof specs[i].dims);
        if (tensor->type != SAFETENSORS_OTHER && tensor->n_dims >= 1 && tensor->n_dims <= 2) continue;
        free(specs);
        return error_set(error, STATUS_DATA, "%s: tensor '%.100s' is no vector or matrix of f32, bf16 or f16",
                         file->path, tensor->name);
    }
    SafetensorsWriter *writer =
        safetensors_create(path, specs, file->count, bf16 ? SAFETENSORS_BF16 : SAFETENSORS_F32, error);
    free(specs);
    if (!writer) return false;
    float *piece = (float *)alloc_or_exit(PIECE, sizeof *piece);
    bool ok = true;
    for (int i = 0; ok && i < file->count; i++) ok = export_tensor(file, i, piece, writer, error);
    free(piece);
    Digest digest;
    if (ok) return safetensors_finish(writer, &digest, error);
    safetensors_abandon(writer);
    return false;
}

static bool export_weights(const char *from, const char *to, bool bf16, Error *error) {
    char *source = path_join(from, "model.safetensors"), *target = path_join(to, "model.safetensors");
    SafetensorsFile file;
    bool ok = file_exists(source) ||
              error_set(error, STATUS_DATA,
                        "%s is missing: export takes a model whose weights are in that one file", source);
    ok = ok && safetensors_open(source, &file, error);
    if (ok) {
        ok = export_tensors(&file, target, bf16, error);
        safetensors_close(&file);
    }
    free(source);
    free(target);
    return ok;
}

// As they are, where they are.
static bool export_tokenizer(const char *from, const char *to, Error *error) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    bool ok = true;
    for (int i = 0; ok && i < 2; i++) {
        char *source = path_join(from, names[i]), *target = path_join(to, names[i]);
        if (file_exists(source)) {
            size_t size;
            char *bytes = file_read(source, SIZE_MAX, &size, error);
            ok = bytes && file_write(target, bytes, size, error);
            free(bytes);
        }
        free(source);
        free(target);
    }
    return ok;
}

// Where the folder is made, beside its place: "model" in ".model.tmp". One left there by a killed export
// goes.
static char *hidden_path(const char *to) {
    size_t room = strlen(path_name(to)) + sizeof "..tmp";
    char *parent = path_parent(to), *name = (char *)alloc_or_exit(room, 1);
    snprintf(name, room, ".%s.tmp", path_name(to));
    char *hidden = path_join(parent, name);
    free(name);
    free(parent);
    return hidden;
}

static bool export_folder(const char *from, const char *to, bool bf16, Error *error) {
    ModelConfig model;
    int64_t context;
    if (!model_folder_config(from, &model, &context, error)) return false; // a Llama, not anything
    if (model_is_checkpoint(from) && !checkpoint_verify_model(from, error)) return false;
    if (file_exists(to) || folder_exists(to)) {
        return error_set(error, STATUS_USAGE, "--out %s is there already; choose another folder", to);
    }
    char *hidden = hidden_path(to);
    Error ignored;
    bool ok = tree_remove(hidden, error) && folders_make(hidden, error) &&
              export_config(from, hidden, bf16, error) && export_weights(from, hidden, bf16, error) &&
              export_tokenizer(from, hidden, error) && folder_sync(hidden, error) &&
              path_rename(hidden, to, error);
    if (!ok) tree_remove(hidden, &ignored);
    free(hidden);
    return ok;
}

bool export_model(const Options *options, Error *error) {
    if (!options->export_out)
        return error_set(error, STATUS_USAGE, "--out is missing: the folder for the model");
    char *folder = model_find(options, error), *out = copy_or_exit(options->export_out);
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/') out[--length] = 0;
    bool ok = folder && export_folder(folder, out, options->bf16, error);
    if (ok) printf("%s: the model of %s in %s\n", out, folder, options->bf16 ? "bf16" : "float32");
    free(out);
    free(folder);
    return ok;
}
