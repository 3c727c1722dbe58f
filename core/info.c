// `info`: what a build, a shard, a checkpoint, a model folder or a run is; see info.h.
#include "info.h"

#include "checkpoint.h"
#include "files.h"
#include "json_file.h"
#include "model_folder.h"
#include "shard.h"
#include "version.h"

#include <cblas.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
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
}

// ---- shards

static bool info_shard(FILE *out, const char *path, bool verify, Error *error) {
    Shard shard;
    if (!shard_open(&shard, path, error)) return false;
    fprintf(out, "%s: shard of %lld tokens (%d bytes each%s) in %lld documents", path,
            (long long)shard.header.n_tokens, shard.header.token_bytes,
            shard.header.content == SHARD_IDS ? ", ready ids" : "", (long long)shard.header.n_documents);
    bool ok = !verify || shard_verify(&shard, INT64_MAX, error);
    fprintf(out, "%s\n", verify && ok ? ": hash right" : "");
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
        fprintf(out, "%s: DAMAGED: %s\n", list->paths[i], own.message);
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
    fprintf(out, "%s: Llama of %lld parameters: %lld layers, dim %lld, %lld/%lld heads of %lld, ffn %lld, ",
            folder, (long long)table.n_trained, (long long)m.n_layers, (long long)m.dim, (long long)m.n_heads,
            (long long)m.n_kv_heads, (long long)m.head_dim, (long long)m.ffn_dim);
    fprintf(out, "vocabulary %lld, context %lld\n", (long long)m.vocab_size, (long long)context);
    param_table_free(&table);
    return true;
}

static void report_file(void *context, const char *file, const char *fault) {
    fprintf((FILE *)context, "  %-32s %s\n", file, fault ? fault : "right");
}

static bool info_checkpoint(FILE *out, const char *folder, bool verify, Error *error) {
    TrainerState state;
    if (!checkpoint_read_state(folder, &state, error)) return false;
    fprintf(out, "%s: checkpoint after %lld steps, %lld tokens, %s attention; data cursor %lld, epoch %lld\n",
            folder, (long long)state.step, (long long)state.tokens, attention_name(state.attention),
            (long long)state.cursor, (long long)state.epoch);
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
    char *path = path_join(run, "run.json");
    json_t *json = json_file_read(path, error);
    free(path);
    if (!json) return false;
    fprintf(out, "%s: run with the settings ", run);
    json_dumpf(json_object_get(json, "settings"), out, JSON_REAL_PRECISION(6));
    fprintf(out, "\n");
    json_decref(json);
    return info_each(out, checkpoints, info_step, verify, error);
}

static bool has_file(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

bool info_path(FILE *out, const char *path, bool verify, Error *error) {
    if (!folder_exists(path)) return info_shard(out, path, verify, error);
    if (has_file(path, "trainer/state.json")) return info_checkpoint(out, path, verify, error);
    if (has_file(path, "config.json")) {
        if (!info_model(out, path, error)) return false;
        if (verify) fprintf(out, "  no hashes to verify: only checkpoints and shards have them\n");
        return true;
    }
    PathList list;
    bool run = has_file(path, "run.json"), ok;
    if (!folder_match(path, run ? "step_*" : "*.bin", &list, error)) return false;
    if (run) {
        ok = info_run(out, path, &list, verify, error);
    } else if (list.count > 0) {
        ok = info_each(out, &list, info_shard, verify, error);
    } else {
        ok = error_set(error, STATUS_DATA, "%s holds no shard, checkpoint, model or run", path);
    }
    paths_free(&list);
    return ok;
}
