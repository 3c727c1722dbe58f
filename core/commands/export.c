// `export`: a model folder without what only training needs; see export.h.
#include "core/commands/export.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/model/hf_config.h"
#include "core/base/json_file.h"
#include "core/base/kept_files.h"
#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/open_engine.h"
#include "core/checkpoint/zero_runs.h"
#include "core/model/safetensors.h"
#include "core/pack/pack_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (1 << 20) // elements that are in memory at a time

static bool export_config(const char *from, const char *to, bool bf16, Error *error) {
    char *source = path_join(from, CONFIG_FILE), *target = path_join(to, CONFIG_FILE);
    json_t *config = json_file_read(source, error);
    bool ok = config != NULL;
    if (ok) {
        const char *type = bf16 ? "bfloat16" : "float32";
        json_object_set_new(config, "dtype", json_string(type)); // of transformers 5
        json_object_set_new(config, "torch_dtype", json_string(type));
        char *text = json_dumps(config, JSON_INDENT(2));
        size_t size = strlen(text);
        text[size] = '\n'; // in place of the final zero byte
        ok = file_write(target, text, size + 1, error);
        free(text);
    }
    json_decref(config);
    free(source);
    free(target);
    return ok;
}

// One tensor of the source, a piece at a time.
static bool export_tensor(const SafetensorsFile *file, int tensor, float *piece, SafetensorsWriter *writer,
                          bool bf16, ZeroRuns *zeros, Error *error) {
    int64_t size = file->tensors[tensor].count;
    for (int64_t start = 0; start < size; start += PIECE) {
        int64_t count = size - start < PIECE ? size - start : PIECE;
        if (!safetensors_read(file, tensor, start, count, piece, error)) return false;
        if (!model_values_check(file, tensor, piece, count, bf16, error)) return false;
        zero_runs_look(zeros, file->tensors[tensor].name, start, piece, count);
        if (!safetensors_append(writer, piece, count, error)) return false;
    }
    return true;
}

static bool export_tensors(const ModelWeights *weights, const char *from, const char *path, bool bf16,
                           Error *error) {
    int count = weights->set.count;
    SafetensorsSpec *specs = (SafetensorsSpec *)alloc_or_exit((size_t)count, sizeof *specs);
    for (int i = 0; i < count; i++) {
        const TensorPlace *place = &weights->set.places[i];
        const SafetensorsTensor *tensor = &weights->files[place->file].tensors[place->tensor];
        specs[i].name = tensor->name;
        specs[i].n_dims = tensor->n_dims;
        memcpy(specs[i].dims, tensor->dims, sizeof specs[i].dims);
    }
    SafetensorsWriter *writer =
        safetensors_create(path, specs, count, bf16 ? SAFETENSORS_BF16 : SAFETENSORS_F32, error);
    free(specs);
    if (!writer) return false;
    float *piece = (float *)alloc_or_exit(PIECE, sizeof *piece);
    ZeroRuns zeros;
    memset(&zeros, 0, sizeof zeros);
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        const TensorPlace *place = &weights->set.places[i];
        ok = export_tensor(&weights->files[place->file], place->tensor, piece, writer, bf16, &zeros, error);
    }
    if (ok) zero_runs_warn(&zeros, from);
    free(piece);
    Digest digest;
    if (ok) return safetensors_finish(writer, &digest, error);
    safetensors_abandon(writer);
    return false;
}

static bool export_weights(const char *from, const char *to, bool bf16, Error *error) {
    ModelConfig model;
    int64_t context;
    ModelWeights weights;
    if (!hf_config_read(from, &model, &context, error)) return false;
    ParamTable table = param_table_create(&model, false);
    char *target = path_join(to, WEIGHTS_FILE);
    bool ok = model_weights_open(from, &table, &weights, error);
    if (ok) {
        ok = export_tensors(&weights, from, target, bf16, error);
        model_weights_close(&weights);
    }
    param_table_free(&table);
    free(target);
    return ok;
}

// As they are.
static bool export_kept(const char *from, const char *to, Error *error) {
    KeptFiles kept;
    if (!kept_files_read(from, &kept, error)) return false;
    bool ok = true;
    for (int i = 0; ok && i < kept.count; i++) {
        char *target = path_join(to, kept.files[i].name), *folder = path_parent(target);
        ok = folders_make(folder, error) && file_write(target, kept.files[i].text, kept.files[i].size, error);
        free(folder);
        free(target);
    }
    kept_files_free(&kept);
    return ok;
}

// ---- The folder

// Where the model lies until it is whole: hidden, and of one export alone, which holds its lock.
typedef struct {
    const char *out;
    char *hidden;
    int lock;
    PackGuard guard;
} ExportFolder;

static void remove_hidden(void *what) {
    Error ignored;
    tree_remove(((const ExportFolder *)what)->hidden, &ignored);
}

static bool refuse_there(const char *out, Error *error) {
    struct stat info;
    return lstat(out, &info) != 0 ||
           error_set(error, STATUS_USAGE, "--out %s is there already; choose another %s", out,
                     S_ISLNK(info.st_mode) ? "name, as a link is not replaced" : "folder");
}

static void folder_close(ExportFolder *folder) {
    if (folder->lock >= 0) close(folder->lock);
    free(folder->hidden);
}

static bool folder_begin(const char *out, ExportFolder *folder, Error *error) {
    folder->out = out;
    folder->hidden = path_hidden(out);
    folder->lock = -1;
    bool ok = folders_make(folder->hidden, error);
    if (ok) folder->lock = open(folder->hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    ok = ok && (folder->lock >= 0 ||
                error_set_errno(error, STATUS_DATA, "cannot open the folder %s", folder->hidden));
    if (ok && flock(folder->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        ok = error_set(error, STATUS_USAGE,
                       "another `export` is writing to %s: wait for it or choose another --out", out);
    }
    // The other may have ended just now. What lies in the folder was left by one that was killed.
    ok = ok && refuse_there(out, error) && folder_empty(folder->hidden, error) &&
         pack_guard_start(&folder->guard, remove_hidden, folder, "no model is made", error);
    if (!ok && folder->lock >= 0) rmdir(folder->hidden); // where it is empty
    if (!ok) folder_close(folder);
    return ok;
}

// Whole, it gets its name; else nothing stays.
static bool folder_end(ExportFolder *folder, bool ok, Error *error) {
    pack_guard_hold(&folder->guard);
    ok = ok && refuse_there(folder->out, error) && path_rename(folder->hidden, folder->out, error);
    if (!ok) remove_hidden(folder);
    pack_guard_release(&folder->guard, true);
    pack_guard_end(&folder->guard);
    folder_close(folder);
    return ok;
}

static bool export_folder(const char *from, const char *to, bool bf16, Error *error) {
    ModelConfig model;
    int64_t context;
    if (!model_folder_config(from, &model, &context, error)) return false; // a Llama, not anything
    if (model_is_checkpoint(from) && !checkpoint_verify_model(from, error)) return false;
    if (!checkpoint_check_out(to, error)) return false;
    if (!refuse_there(to, error)) return false;
    ExportFolder folder;
    if (!folder_begin(to, &folder, error)) return false;
    bool ok = export_config(from, folder.hidden, bf16, error) &&
              export_weights(from, folder.hidden, bf16, error) && export_kept(from, folder.hidden, error) &&
              folder_sync(folder.hidden, error);
    return folder_end(&folder, ok, error);
}

bool export_model(const Options *options, Error *error) {
    if (!options->out) return error_set(error, STATUS_USAGE, "--out is missing: the folder for the model");
    char *folder = model_find(options, error), *out = copy_or_exit(options->out);
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/') out[--length] = 0;
    bool ok = folder && export_folder(folder, out, options->bf16, error);
    if (ok) print_line(stdout, "%s: the model of %s in %s", out, folder, options->bf16 ? "bf16" : "float32");
    free(out);
    free(folder);
    return ok;
}
