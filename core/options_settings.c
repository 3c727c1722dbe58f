// Options as the settings of a run, in JSON: written, read, compared; see options.h.
#include "options_table.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

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
            option_text(options, i, text, sizeof text);
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
            return error_set(error, STATUS_USAGE, "%s: unknown setting \"%s\"; remove it", what, key);
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
    option_text(options, option, mine, size);
    if (value && !json_is_null(value)) json_text(value, theirs, size);
    if (row->type == OPTION_TYPE_REAL && option_number(row, theirs, &number, &ignored)) {
        snprintf(theirs, size, "%.15g", number);
    }
    return strcmp(mine, theirs) == 0;
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
