// trainer/state.json of a checkpoint; see trainer_state.h.
#include "core/checkpoint/trainer_state.h"
#include "core/base/files.h"
#include "core/base/names.h"
#include "core/base/json_file.h"
#include "core/base/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const char *const checkpoint_file_names[CHECKPOINT_FILES] = {CHECKPOINT_FILE_LIST(CHOICE_NAME)};

void manifest_begin(Manifest *manifest) {
    memset(manifest, 0, sizeof *manifest);
    manifest->count = CHECKPOINT_FILES;
    for (int i = 0; i < CHECKPOINT_FILES; i++)
        snprintf(manifest->names[i], KEPT_NAME_SIZE, "%s", checkpoint_file_names[i]);
}

int manifest_add(Manifest *manifest, const char *name) {
    if (manifest->count == MANIFEST_MAX || !kept_name(name)) return -1;
    for (int i = 0; i < manifest->count; i++)
        if (strcmp(manifest->names[i], name) == 0) return -1;
    snprintf(manifest->names[manifest->count], KEPT_NAME_SIZE, "%s", name);
    manifest->present[manifest->count] = true;
    return manifest->count++;
}

// How the file ends: the hash of all bytes before its digits, and nothing behind it.
#define HASH_DIGITS 16
static const char hash_member[] = ",\n  \"xxh3\": \"";
static const char hash_end[] = "\"\n}\n";

void checkpoint_name(int64_t step, char *name, size_t size) {
    snprintf(name, size, "step_%08lld", (long long)step);
}

int64_t checkpoint_name_step(const char *name) {
    long long step;
    char printed[64];
    // NOLINTNEXTLINE(cert-err34-c) 18 digits always fit, and the name must come out again as it was
    if (sscanf(name, "step_%18lld", &step) != 1 || step < 0) return -1;
    checkpoint_name(step, printed, sizeof printed);
    return strcmp(name, printed) == 0 ? step : -1;
}

static void hash_print(uint64_t hash, char text[HASH_DIGITS + 1]) {
    snprintf(text, HASH_DIGITS + 1, "%016llx", (unsigned long long)hash);
}

// ---- Writing

json_t *data_mark_json(const DataMark *mark) {
    char hash[HASH_DIGITS + 1];
    hash_print(mark->hash, hash);
    return mark->shards == 0 ? NULL
                             : json_pack("{s:s, s:I, s:I}", "xxh3", hash, "shards", (json_int_t)mark->shards,
                                         "tokens", (json_int_t)mark->tokens);
}

// NULL without a mixture.
static json_t *sources_json(const TrainerState *state) {
    json_t *sources = state->n_sources > 0 ? json_array() : NULL;
    for (int i = 0; i < state->n_sources; i++) {
        const SourceState *source = &state->sources[i];
        json_array_append_new(
            sources, json_pack("{s:I, s:I, s:I, s:I, s:o}", "weight", (json_int_t)source->weight, "cursor",
                               (json_int_t)source->place.cursor, "epoch", (json_int_t)source->place.epoch,
                               "tokens", (json_int_t)source->tokens, "data", data_mark_json(&source->data)));
    }
    return sources;
}

static json_t *state_json(const TrainerState *state, const Manifest *manifest) {
    json_t *files = json_object();
    for (int i = 0; i < manifest->count; i++) {
        if (!manifest->present[i]) continue;
        char hash[HASH_DIGITS + 1];
        hash_print(manifest->digest[i].xxh3, hash);
        json_object_set_new(
            files, manifest->names[i],
            json_pack("{s:I, s:s}", "size", (json_int_t)manifest->digest[i].size, "xxh3", hash));
    }
    const SpikeWindow *spikes = &state->spikes;
    return json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I, s:s, s:O, s:o*, s:o*, s:o*, s:o*, s:o}", "software",
                     "train_gpt_lighthouse " LIGHTHOUSE_VERSION, "run", state->run[0] ? state->run : NULL,
                     "step", (json_int_t)state->step, "cursor", (json_int_t)state->cursor, "epoch",
                     (json_int_t)state->epoch, "tokens", (json_int_t)state->tokens, "attention",
                     attention_name(state->attention), "settings", state->settings, "spikes",
                     spikes->count || spikes->skipped ? spikes_json(spikes) : NULL, "data",
                     data_mark_json(&state->data), "sources", sources_json(state), "val",
                     data_mark_json(&state->val), "files", files);
}

bool trainer_state_write(const char *folder, const TrainerState *state, const Manifest *manifest,
                         Error *error) {
    json_t *object = state_json(state, manifest);
    char *text = json_dumps(object, JSON_INDENT(2));
    json_decref(object);

    // The hash goes in before the closing brace.
    size_t length = strlen(text) - strlen("\n}");
    size_t room = length + sizeof hash_member + HASH_DIGITS + sizeof hash_end;
    char *file = (char *)alloc_or_exit(room, 1);
    size_t hashed = (size_t)snprintf(file, room, "%.*s%s", (int)length, text, hash_member);
    char hash[HASH_DIGITS + 1];
    hash_print(XXH3_64bits(file, hashed), hash);
    size_t size = hashed + (size_t)snprintf(file + hashed, room - hashed, "%s%s", hash, hash_end);

    char *path = path_join(folder, STATE_FILE_NAME);
    bool ok = file_write(path, file, size, error);
    free(path);
    free(file);
    free(text);
    return ok;
}

// ---- Reading

// Checks the file's last member against the bytes before it.
static bool own_hash_right(const char *text, size_t size) {
    size_t tail = HASH_DIGITS + strlen(hash_end), member = strlen(hash_member);
    if (size < tail + member || strlen(text) != size) return false;
    size_t hashed = size - tail;
    char hash[HASH_DIGITS + 1];
    hash_print(XXH3_64bits(text, hashed), hash);
    return memcmp(text + hashed - member, hash_member, member) == 0 &&
           memcmp(text + hashed, hash, HASH_DIGITS) == 0 &&
           strcmp(text + hashed + HASH_DIGITS, hash_end) == 0;
}

static bool hash_parse(const json_t *entry, uint64_t *value) {
    const char *hash = json_string_value(json_object_get(entry, "xxh3"));
    if (!hash || strlen(hash) != HASH_DIGITS || strspn(hash, "0123456789abcdef") != HASH_DIGITS) return false;
    *value = strtoull(hash, NULL, 16);
    return true;
}

static bool digest_parse(const json_t *entry, Digest *digest) {
    return json_member_int(entry, "size", 0, INT64_MAX, &digest->size) && hash_parse(entry, &digest->xxh3);
}

bool data_mark_parse(const json_t *entry, DataMark *mark) {
    return !entry ||
           (json_member_int(entry, "shards", 1, INT64_MAX, &mark->shards) &&
            json_member_int(entry, "tokens", 0, INT64_MAX, &mark->tokens) && hash_parse(entry, &mark->hash));
}

// False when a file that every checkpoint has is not listed, or one that none has is.
static bool manifest_parse(json_t *files, Manifest *manifest) {
    manifest_begin(manifest);
    const char *name;
    json_t *entry;
    json_object_foreach(files, name, entry) {
        int at = 0;
        while (at < CHECKPOINT_FILES && strcmp(name, checkpoint_file_names[at]) != 0) at++;
        if (at == CHECKPOINT_FILES) at = manifest_add(manifest, name);
        if (at < 0 || !digest_parse(entry, &manifest->digest[at])) return false;
        manifest->present[at] = true;
    }
    return manifest->present[FILE_CONFIG] && manifest->present[FILE_MODEL] &&
           manifest->present[FILE_OPTIMIZER];
}

// More than any run sees; a run can go on from it and still count.
#define MAX_COUNT INT64_C(1000000000000000000)

static bool source_parse(const json_t *entry, SourceState *source) {
    const json_t *data = json_object_get(entry, "data");
    return json_member_int(entry, "weight", 1, MAX_COUNT, &source->weight) &&
           json_member_int(entry, "cursor", 0, MAX_COUNT, &source->place.cursor) &&
           json_member_int(entry, "epoch", 0, MAX_COUNT, &source->place.epoch) &&
           json_member_int(entry, "tokens", 0, MAX_COUNT / MIXTURE_MAX, &source->tokens) && data &&
           data_mark_parse(data, &source->data);
}

// There are none without a mixture.
static bool sources_parse(const json_t *list, TrainerState *state) {
    size_t count = json_array_size(list);
    if (!list) return true;
    if (!json_is_array(list) || count < 2 || count > MIXTURE_MAX) return false;
    state->n_sources = (int)count;
    for (size_t i = 0; i < count; i++)
        if (!source_parse(json_array_get(list, i), &state->sources[i])) return false;
    return true;
}

// Checkpoints of older versions do not tell their run.
static bool run_parse(const json_t *entry, TrainerState *state) {
    const char *run = json_string_value(entry);
    if (entry && (!run || strlen(run) >= sizeof state->run)) return false;
    snprintf(state->run, sizeof state->run, "%s", run ? run : "");
    return true;
}

static bool state_parse(const json_t *object, TrainerState *state, Manifest *manifest) {
    const char *attention = json_string_value(json_object_get(object, "attention"));
    const json_t *spikes = json_object_get(object, "spikes");
    state->settings = json_object_get(object, "settings");
    return json_member_int(object, "step", 0, MAX_COUNT, &state->step) &&
           json_member_int(object, "cursor", 0, MAX_COUNT, &state->cursor) &&
           json_member_int(object, "epoch", 0, MAX_COUNT, &state->epoch) &&
           json_member_int(object, "tokens", 0, MAX_COUNT, &state->tokens) && attention &&
           attention_parse(attention, &state->attention) && json_is_object(state->settings) &&
           (!spikes || spikes_parse(spikes, &state->spikes)) &&
           run_parse(json_object_get(object, "run"), state) &&
           data_mark_parse(json_object_get(object, "data"), &state->data) &&
           data_mark_parse(json_object_get(object, "val"), &state->val) &&
           sources_parse(json_object_get(object, "sources"), state) &&
           manifest_parse(json_object_get(object, "files"), manifest);
}

// Step in the name of the checkpoint's folder, trailing slashes aside.
static int64_t folder_step(const char *folder) {
    char *copy = copy_or_exit(folder);
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/') copy[--length] = 0;
    int64_t step = checkpoint_name_step(path_name(copy));
    free(copy);
    return step;
}

static bool text_parse(const char *folder, const char *path, const char *text, size_t size,
                       TrainerState *state, Manifest *manifest, Error *error) {
    if (!own_hash_right(text, size)) {
        return error_set(error, STATUS_DATA, "%s: damaged: its own hash does not fit; use another checkpoint",
                         path);
    }
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    Manifest ignored;
    bool ok = state_parse(object, state, manifest ? manifest : &ignored);
    json_incref(state->settings);
    json_decref(object);
    if (!ok) {
        error_set(error, STATUS_DATA,
                  "%s: not the state of a checkpoint, or of another version of the program", path);
    } else if (folder_step(folder) >= 0 && folder_step(folder) != state->step) {
        ok = error_set(error, STATUS_DATA, "%s: of step %lld, but its folder is named after step %lld", path,
                       (long long)state->step, (long long)folder_step(folder));
    }
    if (ok) return true;
    json_decref(state->settings);
    state->settings = NULL;
    return false;
}

bool trainer_state_read(const char *folder, TrainerState *state, Manifest *manifest, Error *error) {
    memset(state, 0, sizeof *state);
    char *path = path_join(folder, STATE_FILE_NAME);
    size_t size;
    char *text = file_read(path, 64 << 20, &size, error);
    bool ok = text && text_parse(folder, path, text, size, state, manifest, error);
    free(text);
    free(path);
    return ok;
}
