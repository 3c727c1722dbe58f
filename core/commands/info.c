// `info`: what a build, a shard, a checkpoint, a model folder or a run is; see info.h.
#include "core/commands/info.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/model/hf_config.h"
#include "core/base/json_file.h"
#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/run_folder.h"
#include "core/pack/pack_folder.h"
#include "core/ranks/network.h"
#include "core/data/shard.h"
#include "core/base/version.h"

#include <cblas.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <zlib.h>

#ifdef __clang__
#define COMPILER __VERSION__ // which names it
#else
#define COMPILER "gcc " __VERSION__
#endif

void info_build(FILE *out, const EngineApi *engine) {
    fprintf(out, "train_gpt_lighthouse %s, compiled by %s\n", LIGHTHOUSE_VERSION, COMPILER);
    unsigned xxhash = XXH_versionNumber();
    char device[128];
    double peak = engine->describe_device(device, sizeof device);
    fprintf(out, "engine      %s (chosen by --device auto): %s, %.1f GB of memory free", engine->name, device,
            (double)engine->memory_available(NULL) / 1e9);
    if (peak > 0) fprintf(out, ", %.0f TFLOP/s of dense bf16", peak * 1e-12);
    fprintf(out, "\n");
    fprintf(out, "libraries   %s; jansson %s; zlib %s; xxHash %u.%u.%u; %s\n", openblas_get_config(),
            jansson_version_str(), zlibVersion(), xxhash / 10000, xxhash / 100 % 100, xxhash % 100,
            ranks_library());
    char *network = network_variables();
    print_line(out, "network     %s",
               network[0] ? network
                          : "no variable of NCCL or Open MPI chooses links: they look for themselves");
    free(network);
}

// ---- shards

static bool info_shard(FILE *out, const char *path, bool verify, Error *error) {
    Shard shard;
    if (!shard_open(&shard, path, error)) return false;
    bool ok = !verify || shard_verify(&shard, INT64_MAX, error);
    print_line(out, "%s: shard of %lld tokens (%d bytes each%s) in %lld documents%s", path,
               (long long)shard.header.n_tokens, shard.header.token_bytes,
               shard.header.content == SHARD_IDS ? ", token ids" : "", (long long)shard.header.n_documents,
               verify && ok ? ": hash right" : "");
    shard_close(&shard);
    return ok;
}

typedef bool (*InfoFunction)(FILE *out, const char *path, bool verify, Error *error);

// Every one of a list; the first error is kept.
static bool info_each(FILE *out, const PathList *list, InfoFunction info, bool verify, Error *error) {
    bool ok = true;
    Error own;
    for (int64_t i = 0; i < list->count; i++) {
        if (info(out, list->paths[i], verify, &own)) continue;
        bool closed = strstr(own.message, strerror(EACCES)) != NULL;
        print_line(out, "%s: %s: %s", list->paths[i], closed ? "NOT READABLE" : "DAMAGED", own.message);
        if (ok) *error = own;
        ok = false;
    }
    return ok;
}

// ---- models, checkpoints, runs

static bool info_model(FILE *out, const char *folder, Error *error) {
    ModelConfig m;
    int64_t context;
    if (!model_folder_config(folder, &m, &context, error)) return false;
    ParamTable table = param_table_create(&m, false);
    print_line(out,
               "%s: %s of %lld parameters: %lld layers, dim %lld, %lld/%lld heads of %lld, ffn %lld, "
               "vocabulary %lld, "
               "context %lld",
               folder, m.family == FAMILY_LLAMA ? "Llama" : FAMILY_TABLE[m.family].name,
               (long long)table.n_trained, (long long)m.n_layers, (long long)m.dim, (long long)m.n_heads,
               (long long)m.n_kv_heads, (long long)m.head_dim, (long long)m.ffn_dim, (long long)m.vocab_size,
               (long long)context);
    param_table_free(&table);
    return true;
}

static void report_file(void *context, const char *file, const char *fault) {
    print_line((FILE *)context, "  %-32s %s", file, fault ? fault : "right");
}

// Where a run stands in each source of its mixture.
static void print_sources(FILE *out, const char *folder, const TrainerState *state) {
    for (int i = 0; i < state->n_sources; i++) {
        const SourceState *source = &state->sources[i];
        print_line(out, "%s: source %d of %d: %lld tokens taken, at cursor %lld of epoch %lld; hash %016llx",
                   folder, i + 1, state->n_sources, (long long)source->tokens,
                   (long long)source->place.cursor, (long long)source->place.epoch,
                   (unsigned long long)source->data.hash);
    }
}

static bool info_checkpoint(FILE *out, const char *folder, bool verify, Error *error) {
    TrainerState state;
    if (!checkpoint_read_state(folder, &state, error)) return false;
    print_line(out,
               "%s: checkpoint after %lld steps, %lld tokens, %s attention; data cursor %lld, epoch %lld",
               folder, (long long)state.step, (long long)state.tokens, attention_name(state.attention),
               (long long)state.cursor, (long long)state.epoch);
    if (state.data.shards > 0) {
        print_line(out, "%s: trained on %lld shards of %lld tokens, hash %016llx, at %s", folder,
                   (long long)state.data.shards, (long long)state.data.tokens,
                   (unsigned long long)state.data.hash,
                   json_string_value(json_object_get(state.settings, "data")));
    }
    print_sources(out, folder, &state);
    json_decref(state.settings);
    if (!info_model(out, folder, error)) return false;
    return !verify || checkpoint_verify(folder, report_file, out, error);
}

// What lies in a run under a name like a checkpoint's; else it is somebody's own.
static bool info_step(FILE *out, const char *path, bool verify, Error *error) {
    return checkpoint_name_step(path_name(path)) < 0 || info_checkpoint(out, path, verify, error);
}

// Its settings, and every checkpoint.
static bool info_run(FILE *out, const char *run, const PathList *checkpoints, bool verify, Error *error) {
    RunOrigin origin;
    if (run_folder_is_run(run)) {
        if (!run_origin_of(run, &origin, error)) return false;
        char *settings = json_dumps(origin.settings, JSON_REAL_PRECISION(6));
        print_line(out, "%s: run with the settings %s", run, settings ? settings : "");
        free(settings);
        if (origin.parent) print_line(out, "%s: branched off from %s", run, origin.parent);
        run_origin_free(&origin);
    } else {
        print_line(out, "%s: run without a run.json of this program", run);
    }
    if (checkpoints->count == 0) print_line(out, "%s: no checkpoint", run);
    return info_each(out, checkpoints, info_step, verify, error);
}

// A plain model has no hashes; whether it can be loaded, and is of use, shows all the same.
static bool info_tensors(FILE *out, const char *folder, Error *error) {
    ModelConfig model;
    ModelWeights weights;
    int64_t context;
    if (!hf_config_read(folder, &model, &context, error)) return false;
    ParamTable table = param_table_create(&model, false);
    bool ok = model_weights_open(folder, &table, &weights, error);
    if (ok) {
        ok = model_weights_check_finite(&weights, folder, error);
        model_weights_close(&weights);
    }
    if (ok) {
        fprintf(out,
                "  every tensor is there, and finite; no hashes to verify: only checkpoints and shards have "
                "them\n");
    }
    param_table_free(&table);
    return ok;
}

static bool has_file(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

// What an ended `pack` has left in a folder of shards, or one that is at work.
static bool info_left(FILE *out, const char *folder) {
    PackLeft left;
    if (!pack_folder_left(folder, &left)) return false;
    print_line(out, "%s/%s: %lld files, %.1f MB; %s", folder, SHARD_WORK_FOLDER, (long long)left.files,
               (double)left.bytes * 1e-6,
               left.running ? "a `pack` is at work"
                            : "left by a `pack` that was ended; the next one removes it");
    return true;
}

// A file of a run, checkpoint or model is told by the whole of it.
static bool info_file(FILE *out, const char *path, bool verify, Error *error) {
    static const char *const marks[] = {STATE_FILE_NAME, CONFIG_FILE, RUN_FILE, LOG_FILE};
    char *folder = path_parent(path);
    bool part = false, ok;
    if (strcmp(path_name(folder), "trainer") == 0 &&
        has_file(folder, path_name(STATE_FILE_NAME))) { // of a checkpoint
        char *above = path_parent(folder);
        free(folder);
        folder = above;
    }
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) part = part || has_file(folder, marks[i]);
    if (part && file_exists(path) && !shard_has_magic(path))
        ok = error_set(error, STATUS_DATA, "%s is one of the files of %s: `info %s` tells what that is", path,
                       folder, folder);
    else
        ok = info_shard(out, path, verify, error);
    free(folder);
    return ok;
}

// A pattern in quotes: all that it matches.
static bool info_pattern(FILE *out, const char *pattern, bool verify, Error *error) {
    PathList list;
    if (!paths_glob(pattern, &list, error)) return false;
    bool ok = list.count > 0 ? info_paths(out, list.paths, list.count, verify, error)
                             : error_set(error, STATUS_DATA, "no file matches %s", pattern);
    paths_free(&list);
    return ok;
}

// A model's folder may have shards too.
static bool info_shards_beside(FILE *out, const char *folder, bool verify, Error *error) {
    PathList all, shards = {NULL, 0};
    if (!folder_match(folder, "*.bin", &all, error)) return false;
    for (int64_t i = 0; i < all.count; i++)
        if (shard_has_magic(all.paths[i])) paths_add(&shards, all.paths[i]);
    bool ok = info_each(out, &shards, info_shard, verify, error);
    paths_free(&shards);
    paths_free(&all);
    return ok;
}

bool info_path(FILE *out, const char *path, bool verify, Error *error) {
    if (!path[0])
        return error_set(error, STATUS_USAGE, "the path is empty: info PATH, or info alone for this build");
    struct stat info;
    if (lstat(path, &info) != 0 && strpbrk(path, "*?[")) return info_pattern(out, path, verify, error);
    if (!folder_exists(path)) return info_file(out, path, verify, error);
    if (has_file(path, STATE_FILE_NAME)) return info_checkpoint(out, path, verify, error);
    bool model = has_file(path, CONFIG_FILE);
    if (model && !(info_model(out, path, error) && (!verify || info_tensors(out, path, error)))) return false;
    if (model && !run_folder_is_run(path)) return info_shards_beside(out, path, verify, error);
    PathList list;
    bool run = run_folder_is_run(path) || checkpoint_newest(path) >= 0 ||
               (has_file(path, LOG_FILE) && run_folder_has_updates(path)),
         ok;
    if (!folder_match(path, run ? "step_*" : "*.bin", &list, error)) return false;
    bool left = !run && info_left(out, path);
    if (run) {
        ok = info_run(out, path, &list, verify, error);
    } else if (list.count > 0) {
        ok = info_each(out, &list, info_shard, verify, error);
    } else {
        ok = left || error_set(error, STATUS_DATA, "%s holds no shard, checkpoint, model or run", path);
    }
    paths_free(&list);
    return ok;
}

bool info_paths(FILE *out, char *const *paths, int64_t count, bool verify, Error *error) {
    bool ok = true;
    for (int64_t i = 0; i < count; i++) {
        Error own;
        if (info_path(out, paths[i], verify, &own)) continue;
        if (count > 1) print_line(out, "%s", own.message);
        if (ok) *error = own; // the first
        ok = false;
    }
    return ok;
}
