// Options as the settings of a run, in JSON: written, read, compared; see options.h.
#include "core/options/options.h"
#include "core/options/options_table.h"

#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/data/mixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static char *absolute_text(const OptionRow *row, const char *text) {
    return row->flags & OPTION_SOURCES ? mixture_absolute(text) : path_absolute(text);
}

// The value as a run keeps it: a path so that it leads to the same place from any folder.
static void kept_text(const Options *options, int option, char *text, size_t size) {
    option_text(options, option, text, size);
    if (!(OPTION_TABLE[option].flags & OPTION_PATH) || !text[0]) return;
    char *absolute = absolute_text(&OPTION_TABLE[option], text);
    snprintf(text, size, "%s", absolute);
    free(absolute);
}

bool options_check_paths(const Options *options, Error *error) {
    const unsigned kept = OPTION_PATH | OPTION_STEERS;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if ((OPTION_TABLE[i].flags & kept) != kept) continue;
        const char *path = *(char *const *)option_field(options, i);
        if (!path) continue;
        char *absolute = absolute_text(&OPTION_TABLE[i], path);
        bool ok = option_is_text(absolute);
        if (!ok) {
            error_set(error, STATUS_USAGE,
                      "--%s %s: its absolute path must be UTF-8 of less than %d bytes, to be kept in JSON "
                      "files: %s",
                      OPTION_TABLE[i].name, path, SETTING_SIZE, absolute);
        }
        free(absolute);
        if (!ok) return false;
    }
    return true;
}

json_t *options_settings(const Options *options) {
    json_t *settings = json_object();
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionRow *row = &OPTION_TABLE[i];
        const void *value = option_field(options, i);
        char text[SETTING_SIZE];
        json_t *json = NULL;
        if (!(row->flags & OPTION_STEERS)) continue;
        switch (row->type) {
        case OPTION_TYPE_INT: json = json_integer(*(const int64_t *)value); break;
        case OPTION_TYPE_REAL: json = json_real(*(const double *)value); break;
        case OPTION_TYPE_FLAG: json = json_boolean(*(const bool *)value); break;
        case OPTION_TYPE_CHOICE:
        case OPTION_TYPE_TEXT:
            kept_text(options, i, text, sizeof text);
            json = row->type == OPTION_TYPE_TEXT && !text[0] ? json_null() : json_string(text);
            break;
        }
        json_object_set_new(settings, row->name, json);
    }
    return settings;
}

// A JSON value as options_set takes it; false for a type that no option has.
static bool json_text(const json_t *value, char *text, size_t size) {
    if (json_is_integer(value)) {
        snprintf(text, size, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(text, size, "%.17g", json_real_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(text, size, "%s", json_is_true(value) ? "true" : "false");
    } else if (json_is_string(value)) {
        snprintf(text, size, "%s", json_string_value(value));
    } else {
        return false;
    }
    return true;
}

bool options_read_settings(Options *options, const json_t *settings, Source source, const char *what,
                           Error *error) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)settings, key, value) {
        char text[SETTING_SIZE];
        int option = option_find(COMMAND_TRAIN, key, strlen(key));
        if (option < 0 || !(OPTION_TABLE[option].flags & OPTION_STEERS)) {
            return error_set(error, STATUS_USAGE, "%s: unknown setting \"%s\"; %s", what, key,
                             source == SOURCE_RESUME
                                 ? "another version of this program has saved it: go on with that one, or "
                                   "start a new run from the weights with --init"
                                 : "remove it");
        }
        if (json_is_null(value)) continue;
        if (!json_text(value, text, sizeof text)) {
            return error_set(error, STATUS_USAGE, "%s: \"%s\" must be a number, a string, true or false",
                             what, key);
        }
        if (!options_set(options, option, text, source, error)) return error_prefix(error, "%s", what);
    }
    return true;
}

// Whether an option's value is that of the settings, both as text.
static bool same_setting(const Options *options, int option, const json_t *settings, char *mine, char *theirs,
                         size_t size) {
    const OptionRow *row = &OPTION_TABLE[option];
    const json_t *value = json_object_get(settings, row->name);
    double number;
    Error ignored;
    theirs[0] = 0;
    kept_text(options, option, mine, size);
    if (value && !json_is_null(value)) json_text(value, theirs, size);
    if ((row->flags & OPTION_PATH) && theirs[0] && theirs[0] != '/') { // of an older version
        char *absolute = path_absolute(theirs);
        snprintf(theirs, size, "%s", absolute);
        free(absolute);
    }
    if (row->type == OPTION_TYPE_REAL && option_number(row, theirs, &number, &ignored)) {
        snprintf(theirs, size, "%.15g", number);
    }
    return strcmp(mine, theirs) == 0;
}

void options_complete_settings(json_t *settings) {
    static const struct {
        int option;
        const char *meant;
    } later[] = {{OPTION_data_order, "packed"},    {OPTION_family, "llama"},
                 {OPTION_sliding_window, "0"},     {OPTION_rope_scaling, "none"},
                 {OPTION_tie_embeddings, "false"}, {OPTION_decay, "all"},
                 {OPTION_no_rope_layers, "none"},  {OPTION_matmul, "bf16"}};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        const char *key = OPTION_TABLE[later[i].option].name;
        if (!json_object_get(settings, key)) json_object_set_new(settings, key, json_string(later[i].meant));
    }
}

bool options_keeps(const Options *options, int option, const json_t *settings) {
    char mine[SETTING_SIZE], theirs[SETTING_SIZE];
    return same_setting(options, option, settings, mine, theirs, sizeof mine);
}

bool options_check_fixed(const Options *options, const json_t *settings, Error *error) {
    char mine[SETTING_SIZE], theirs[SETTING_SIZE];
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(OPTION_TABLE[i].flags & OPTION_FIXED)) continue;
        if (same_setting(options, i, settings, mine, theirs, sizeof mine)) continue;
        return error_set(
            error, STATUS_USAGE,
            "--%s %s: the run to resume has %s, and a resumed run cannot change it; leave it out, or "
            "start a new run with --init",
            OPTION_TABLE[i].name, mine, theirs);
    }
    return true;
}

char *options_describe_changes(const Options *options, const json_t *settings, const char *group) {
    char mine[SETTING_SIZE], theirs[SETTING_SIZE];
    ByteBuffer text = {NULL, 0, 0};
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(OPTION_TABLE[i].flags & OPTION_STEERS)) continue;
        if (group && strcmp(OPTION_TABLE[i].group, group) != 0) continue;
        if (same_setting(options, i, settings, mine, theirs, sizeof mine)) continue;
        bytes_printf(&text, "%s%s %s -> %s", text.size ? ", " : "", OPTION_TABLE[i].name,
                     theirs[0] ? theirs : "none", mine[0] ? mine : "none");
    }
    bytes_append(&text, "", 1);
    return text.data;
}

uint64_t options_hash(const Options *options) {
    char text[SETTING_SIZE];
    uint64_t hash = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(OPTION_TABLE[i].commands & options->command)) continue;
        option_text(options, i, text, sizeof text);
        hash = XXH3_64bits_withSeed(text, strlen(text), hash);
    }
    return hash;
}
