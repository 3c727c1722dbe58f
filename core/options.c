// Options: values from text and from the command line; see options.h.
#include "options.h"

#include "help.h"
#include "nearest.h"
#include "options_table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *option_field(const Options *options, int option) {
    return (char *)options + OPTION_TABLE[option].offset;
}

// ---- values from text

static int choice_index(const char *choices, const char *text) {
    int index = 0;
    size_t length = strlen(text);
    for (const char *start = choices;; index++) {
        const char *end = strchr(start, '|');
        size_t width = end ? (size_t)(end - start) : strlen(start);
        if (width == length && strncmp(start, text, width) == 0) return index;
        if (!end) return -1;
        start = end + 1;
    }
}

static void choice_name(const char *choices, int index, char *name, size_t size) {
    while (index-- > 0) choices = strchr(choices, '|') + 1;
    snprintf(name, size, "%.*s", (int)strcspn(choices, "|"), choices);
}

bool option_number(const OptionRow *row, const char *text, double *value, Error *error) {
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    if (end == text || *end || errno == ERANGE || !isfinite(*value)) {
        return error_set(error, STATUS_USAGE, "--%s %s: not a number", row->name, text);
    }
    if (row->type == OPTION_TYPE_INT && *value != floor(*value)) {
        return error_set(error, STATUS_USAGE, "--%s %s: must be a whole number", row->name, text);
    }
    if (*value < row->lowest || *value > row->highest) {
        return error_set(error, STATUS_USAGE, "--%s %s: must be from %.15g to %.15g", row->name, text,
                         row->lowest, row->highest);
    }
    return true;
}

// Whether JSON and the program's buffers can hold it.
static bool is_setting_text(const char *text) {
    json_t *json = strlen(text) < SETTING_SIZE ? json_string(text) : NULL;
    bool is = json != NULL;
    json_decref(json);
    return is;
}

bool options_set(Options *options, int option, const char *text, Source source, Error *error) {
    const OptionRow *row = &OPTION_TABLE[option];
    double number = 0;
    int choice = 0;
    bool flag = false;
    switch (row->type) {
    case OPTION_TYPE_INT:
    case OPTION_TYPE_REAL:
        if (!option_number(row, text, &number, error)) return false;
        break;
    case OPTION_TYPE_CHOICE:
        choice = choice_index(row->choices, text);
        if (choice < 0) {
            return error_set(error, STATUS_USAGE, "--%s %s: must be one of %s", row->name, text,
                             row->choices);
        }
        break;
    case OPTION_TYPE_FLAG:
        flag = strcmp(text, "true") == 0;
        if (!flag && strcmp(text, "false") != 0) {
            return error_set(error, STATUS_USAGE, "--%s %s: must be true or false", row->name, text);
        }
        break;
    case OPTION_TYPE_TEXT:
        if (option == OPTION_prompt) break; // any bytes, or none
        if (!row->standard && !text[0])     // a path or a name
            return error_set(error, STATUS_USAGE, "--%s: must not be empty", row->name);
        if (!is_setting_text(text)) {
            return error_set(error, STATUS_USAGE,
                             "--%s: must be UTF-8 of less than %d bytes, to be kept in JSON files", row->name,
                             SETTING_SIZE);
        }
        break;
    }
    if (source < options->source[option]) return true;
    options->source[option] = source;

    void *value = option_field(options, option);
    switch (row->type) {
    case OPTION_TYPE_INT: *(int64_t *)value = (int64_t)number; break;
    case OPTION_TYPE_REAL: *(double *)value = number; break;
    case OPTION_TYPE_CHOICE: *(int *)value = choice; break;
    case OPTION_TYPE_FLAG: *(bool *)value = flag; break;
    case OPTION_TYPE_TEXT:
        free(*(char **)value);
        *(char **)value = copy_or_exit(text);
        break;
    }
    return true;
}

void option_text(const Options *options, int option, char *text, size_t size) {
    const OptionRow *row = &OPTION_TABLE[option];
    const void *value = option_field(options, option);
    switch (row->type) {
    case OPTION_TYPE_INT: snprintf(text, size, "%lld", (long long)*(const int64_t *)value); break;
    case OPTION_TYPE_REAL: snprintf(text, size, "%.15g", *(const double *)value); break;
    case OPTION_TYPE_CHOICE: choice_name(row->choices, *(const int *)value, text, size); break;
    case OPTION_TYPE_FLAG: snprintf(text, size, "%s", *(const bool *)value ? "true" : "false"); break;
    case OPTION_TYPE_TEXT: {
        const char *string = *(char *const *)value;
        snprintf(text, size, "%s", string ? string : "");
        break;
    }
    }
}

int option_find(Command command, const char *name, size_t length) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionRow *row = &OPTION_TABLE[i];
        if ((row->commands & command) && strlen(row->name) == length &&
            strncmp(row->name, name, length) == 0) {
            return i;
        }
    }
    return -1;
}

// ---- the command line

static bool unknown_option(Command command, const char *word, Error *error) {
    size_t length = strcspn(word + 2, "=");
    char takers[64] = "";
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (option_find(COMMANDS[i].command, word + 2, length) < 0) continue;
        snprintf(takers + strlen(takers), sizeof takers - strlen(takers), " %s", COMMANDS[i].name);
    }
    const char *name = command_row(command)->name;
    if (takers[0]) {
        return error_set(error, STATUS_USAGE, "%.*s is no option of %s but of:%s; see %s --help",
                         (int)length + 2, word, name, takers, name);
    }
    Nearest nearest;
    char meant[64] = "";
    nearest_begin(&nearest, word + 2, length);
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (OPTION_TABLE[i].commands & command) nearest_offer(&nearest, OPTION_TABLE[i].name);
    }
    if (nearest.best) snprintf(meant, sizeof meant, " did you mean --%s?", nearest.best);
    return error_set(error, STATUS_USAGE, "unknown option %.*s;%s %s --help lists those there are",
                     (int)length + 2, word, meant, name);
}

// Takes argv[*i], and its value from the next word where it needs one and has no "=value".
static bool parse_option(Options *options, int argc, char **argv, int *i, Error *error) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    int option = option_find(options->command, word + 2, strcspn(word + 2, "="));
    if (option < 0) return unknown_option(options->command, word, error);
    const OptionRow *row = &OPTION_TABLE[option];
    if (options->source[option] == SOURCE_COMMAND_LINE) {
        return error_set(error, STATUS_USAGE, "--%s is given twice", row->name);
    }
    const char *value = equals ? equals + 1 : NULL;
    if (row->type == OPTION_TYPE_FLAG) {
        if (!value) value = "true";
    } else if (!value) {
        if (*i + 1 >= argc) return error_set(error, STATUS_USAGE, "--%s needs a value", row->name);
        value = argv[++*i];
    }
    return options_set(options, option, value, SOURCE_COMMAND_LINE, error);
}

static bool set_defaults(Options *options, Error *error) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *text = OPTION_TABLE[i].standard;
        if (text && !options_set(options, i, text, SOURCE_DEFAULT, error)) return false;
    }
    return true;
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

bool options_parse(Options *options, int argc, char **argv, bool *done, Error *error) {
    memset(options, 0, sizeof *options);
    *done = true;
    const char *first = argc < 2 ? "" : argv[1];
    if (is_help(first) || strcmp(first, "help") == 0) {
        help_program(stdout);
        return true;
    }
    if (strcmp(first, "--version") == 0) {
        help_version(stdout);
        return true;
    }
    const CommandRow *command = command_find(first);
    if (!command) return help_unknown_command(first, error);
    options->command = command->command;
    if (!set_defaults(options, error)) return false;
    options->inputs = (char **)alloc_or_exit((size_t)argc, sizeof *options->inputs);
    for (int i = 2; i < argc; i++) {
        if (is_help(argv[i])) {
            help_command(stdout, command);
            return true;
        }
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
            if (!parse_option(options, argc, argv, &i, error)) return false;
        } else if (argv[i][0] == '-' && argv[i][1]) {
            return error_set(error, STATUS_USAGE, "unknown option %s; options begin with two dashes",
                             argv[i]);
        } else if (options->n_inputs == command->max_inputs) {
            return error_set(error, STATUS_USAGE, "'%s' is one word too many for %s; see %s --help", argv[i],
                             command->name, command->name);
        } else {
            options->inputs[options->n_inputs++] = argv[i];
        }
    }
    *done = false;
    return true;
}

void options_free(Options *options) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (OPTION_TABLE[i].type == OPTION_TYPE_TEXT) free(*(char **)option_field(options, i));
    }
    free(options->inputs);
    memset(options, 0, sizeof *options);
}

bool options_apply_preset(Options *options, Error *error) {
    if (!options->preset) return true;
    char names[128] = "", settings[512];
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", PRESETS[i].name);
        if (strcmp(PRESETS[i].name, options->preset) != 0) continue;
        snprintf(settings, sizeof settings, "%s", PRESETS[i].settings);
        char *rest = NULL;
        for (char *word = strtok_r(settings, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
            char *equals = strchr(word, '=');
            int option = option_find(COMMAND_TRAIN, word, (size_t)(equals - word));
            if (!options_set(options, option, equals + 1, SOURCE_PRESET, error)) return false;
        }
        return true;
    }
    return error_set(error, STATUS_USAGE, "--preset %s: there are %s", options->preset, names);
}
