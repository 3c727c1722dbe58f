// trainer/state.json of a checkpoint: read as every command does that comes upon one, and its settings taken.
#include "harness.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/commands/info.h"
#include "core/options/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define STEP_FOLDER "step_00000007"

static const char config[] =
    "{\"model_type\": \"llama\", \"num_hidden_layers\": 1, \"hidden_size\": 8, \"num_attention_heads\": 1, "
    "\"head_dim\": 64, \"intermediate_size\": 8, \"vocab_size\": 8}";

static void take_settings(const TrainerState *state) {
    static char program[] = "train_gpt_lighthouse", command[] = "train";
    char *words[] = {program, command, NULL};
    Options options;
    Error error;
    memset(&error, 0, sizeof error);
    bool done;
    fuzz_must(options_parse(&options, 2, words, &done, &error), "the standard options are refused");
    if (!options_read_settings(&options, state->settings, SOURCE_RESUME, "state.json", &error))
        fuzz_refused(&error);
    if (!options_check_fixed(&options, state->settings, &error)) fuzz_refused(&error);
    free(options_describe_changes(&options, state->settings, NULL));
    options_free(&options);
}

void fuzz_state(const char *run, const uint8_t *data, size_t size) {
    fuzz_write(run, STEP_FOLDER "/" STATE_FILE_NAME, data, size);
    fuzz_write(run, STEP_FOLDER "/config.json", config, strlen(config));
    char *folder = path_join(run, STEP_FOLDER), *latest = NULL;
    TrainerState state;
    Error error;
    memset(&error, 0, sizeof error);
    if (checkpoint_read_state(folder, &state, &error)) {
        fuzz_must(state.step == 7, "a state of another step than its folder's");
        take_settings(&state);
        json_decref(state.settings);
    } else {
        fuzz_refused(&error);
    }
    if (!checkpoint_verify(folder, NULL, NULL, &error)) fuzz_refused(&error);
    if (!checkpoint_verify_model(folder, &error)) fuzz_refused(&error);
    if (!checkpoint_latest(run, &latest, &error)) fuzz_refused(&error);
    free(latest);
    FILE *null = fopen("/dev/null", "w");
    if (!info_path(null, folder, true, &error)) fuzz_refused(&error);
    fclose(null);
    free(folder);
}

// The last member is the hash of all before its digits.
size_t fuzz_state_mend(uint8_t *data, size_t size, size_t room, unsigned choice) {
    static const char member[] = ",\n  \"xxh3\": \"", end[] = "\"\n}\n";
    const size_t digits = 16, tail = digits + strlen(end);
    (void)choice;
    if (size < tail || memcmp(data + size - strlen(end), end, strlen(end)) != 0) {
        // The end is gone: a whole one goes in place of the last brace.
        while (size > 0 && isspace(data[size - 1])) size--;
        if (size > 0 && data[size - 1] == '}') size--;
        while (size > 0 && isspace(data[size - 1])) size--;
        if (size + strlen(member) + tail > room) return size;
        memcpy(data + size, member, strlen(member));
        size += strlen(member) + tail;
        memcpy(data + size - strlen(end), end, strlen(end));
    }
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)XXH3_64bits(data, size - tail));
    memcpy(data + size - tail, hash, digits);
    return size;
}

char *fuzz_state_text(json_t *state, size_t *size) {
    json_object_del(state, "xxh3");
    char *plain = json_dumps(state, JSON_INDENT(2));
    size_t length = strlen(plain), room = length + 64;
    char *text = (char *)alloc_or_exit(room, 1);
    memcpy(text, plain, length);
    *size = fuzz_state_mend((uint8_t *)text, length, room, 0);
    free(plain);
    return text;
}
