// Options: values from text and from the command line; see options.h.
#include "core/options/options.h"

#include "core/base/files.h"
#include "core/base/bytes.h"
#include "core/data/mixture.h"
#include "core/options/help.h"
#include "core/base/nearest.h"
#include "core/options/options_table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *option_field(const Options *options, int option) {
    return (char *)options + OPTION_TABLE[option].offset;
}

// ---- values from text

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

bool option_is_text(const char *text) {
    json_t *json = strlen(text) < SETTING_SIZE ? json_string(text) : NULL;
    bool is = json != NULL;
    json_decref(json);
    return is;
}

// Whether a text of some form has it.
static bool form_check(int option, const char *text, Error *error) {
    RopeScaling scaling;
    LayerSet layers;
    bool ok = (option != OPTION_rope_scaling || rope_scaling_parse(text, &scaling, error)) &&
              (option != OPTION_no_rope_layers || layer_set_parse(text, &layers, error));
    return ok || error_prefix(error, "--%s %.100s", OPTION_TABLE[option].name, text);
}

static bool choice_read(const OptionRow *row, const char *text, int *choice, Error *error) {
    char names[128];
    if (choice_find(row->choices, text, choice)) return true;
    choice_names(row->choices, names, sizeof names);
    return error_set(error, STATUS_USAGE, "--%s %s: must be one of %s", row->name, text, names);
}

static bool flag_read(const OptionRow *row, const char *text, bool *flag, Error *error) {
    *flag = strcmp(text, "true") == 0;
    return *flag || strcmp(text, "false") == 0 ||
           error_set(error, STATUS_USAGE, "--%s %s: must be true or false", row->name, text);
}

static bool text_check(int option, const char *text, Error *error) {
    const OptionRow *row = &OPTION_TABLE[option];
    if (option == OPTION_prompt) return true; // any bytes, or none
    if (!row->default_text && !text[0])       // a path or a name
        return error_set(error, STATUS_USAGE, "--%s: must not be empty", row->name);
    if (!option_is_text(text)) {
        return error_set(error, STATUS_USAGE,
                         "--%s: must be UTF-8 of less than %d bytes, to be kept in JSON files", row->name,
                         SETTING_SIZE);
    }
    return form_check(option, text, error);
}

// A value of the row's type.
typedef struct {
    double number;
    int choice;
    bool flag;
    const char *text;
} Value;

static bool value_read(int option, const char *text, Value *value, Error *error) {
    const OptionRow *row = &OPTION_TABLE[option];
    value->text = text;
    switch (row->type) {
    case OPTION_TYPE_INT:
    case OPTION_TYPE_REAL: return option_number(row, text, &value->number, error);
    case OPTION_TYPE_CHOICE: return choice_read(row, text, &value->choice, error);
    case OPTION_TYPE_FLAG: return flag_read(row, text, &value->flag, error);
    case OPTION_TYPE_TEXT: return text_check(option, text, error);
    }
    return false;
}

static void value_store(OptionType type, const Value *value, void *field) {
    switch (type) {
    case OPTION_TYPE_INT: *(int64_t *)field = (int64_t)value->number; break;
    case OPTION_TYPE_REAL: *(double *)field = value->number; break;
    case OPTION_TYPE_CHOICE: *(int *)field = value->choice; break;
    case OPTION_TYPE_FLAG: *(bool *)field = value->flag; break;
    case OPTION_TYPE_TEXT:
        free(*(char **)field);
        *(char **)field = copy_or_exit(value->text);
        break;
    }
}

bool options_set(Options *options, int option, const char *text, Source source, Error *error) {
    Value value = {0};
    if (!value_read(option, text, &value, error)) return false;
    if (source < options->source[option]) return true;
    options->source[option] = source;
    value_store(OPTION_TABLE[option].type, &value, option_field(options, option));
    return true;
}

void option_text(const Options *options, int option, char *text, size_t size) {
    const OptionRow *row = &OPTION_TABLE[option];
    const void *value = option_field(options, option);
    switch (row->type) {
    case OPTION_TYPE_INT: snprintf(text, size, "%lld", (long long)*(const int64_t *)value); break;
    case OPTION_TYPE_REAL: snprintf(text, size, "%.15g", *(const double *)value); break;
    case OPTION_TYPE_CHOICE:
        snprintf(text, size, "%s", choice_name(row->choices, *(const int *)value));
        break;
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
    ByteBuffer takers = {NULL, 0, 0};
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (option_find(COMMANDS[i].command, word + 2, length) < 0) continue;
        bytes_printf(&takers, " %s", COMMANDS[i].name);
    }
    const char *name = command_row(command)->name;
    if (takers.size > 0) {
        error_set(error, STATUS_USAGE, "%.*s is no option of %s but of:%.*s; see %s --help", (int)length + 2,
                  word, name, (int)takers.size, takers.data, name);
        bytes_free(&takers);
        return false;
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

// A path whose "~" the shell has left alone, as in --out=~/run or within quotes. NULL where there is no home;
// release with free().
static char *path_from_home(const OptionRow *row, const char *value, Error *error) {
    const char *home = getenv("HOME");
    bool from_home = (row->flags & OPTION_PATH) && value[0] == '~' && (value[1] == '/' || !value[1]);
    if (!from_home) return copy_or_exit(value);
    if (home && home[0]) return path_join(home, value + 1 + (value[1] == '/'));
    error_set(
        error, STATUS_USAGE,
        "--%s %s: ~ is the home folder, and HOME is not set; give the path, or ./~ for a folder of that name",
        row->name, value);
    return NULL;
}

// The next word as an option's value. One that is itself an option of the command means that the value was
// forgotten, where it would be taken as a text.
static bool next_value(const Options *options, const OptionRow *row, const char *word, const char **value,
                       Error *error) {
    if (!word) return error_set(error, STATUS_USAGE, "--%s needs a value", row->name);
    *value = word;
    if (row->type != OPTION_TYPE_TEXT || strncmp(word, "--", 2) != 0) return true;
    if (option_find(options->command, word + 2, strcspn(word + 2, "=")) < 0) return true;
    return error_set(error, STATUS_USAGE, "--%s needs a value, and %s is an option; --%s=%s if it is meant",
                     row->name, word, row->name, word);
}

static bool append_source(const OptionRow *row, const char *word, char **text, Error *error) {
    char *source = path_from_home(row, word, error);
    if (!source) return false;
    ByteBuffer whole = {NULL, 0, 0};
    bytes_printf(&whole, "%s %s", *text, source);
    bytes_append(&whole, "", 1);
    free(source);
    free(*text);
    *text = whole.data;
    return true;
}

// Further sources behind the first: words of which it or they have a weight, which all must have then. Others
// are no sources, but most often what the shell made of a pattern.
static bool add_sources(const OptionRow *row, int argc, char **argv, int *i, char **text, Error *error) {
    const char *missing = mixture_word_weighted(*text) ? NULL : argv[*i];
    bool weighted = !missing;
    while (*i + 1 < argc && argv[*i + 1][0] != '-') {
        const char *word = argv[*i + 1];
        bool has = mixture_word_weighted(word);
        if (!has && !weighted) break;
        if (!has) missing = word;
        weighted = true;
        if (!append_source(row, word, text, error)) return false;
        ++*i;
    }
    return !missing || !weighted || mixture_refuse_word(missing, error);
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
        const char *next = *i + 1 < argc ? argv[++*i] : NULL;
        if (!next_value(options, row, next, &value, error)) return false;
    }
    char *text = path_from_home(row, value, error);
    bool ok = text && (!(row->flags & OPTION_SOURCES) || add_sources(row, argc, argv, i, &text, error)) &&
              options_set(options, option, text, SOURCE_COMMAND_LINE, error);
    free(text);
    return ok;
}

static bool set_defaults(Options *options, Error *error) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *text = OPTION_TABLE[i].default_text;
        if (text && !options_set(options, i, text, SOURCE_DEFAULT, error)) return false;
    }
    return true;
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

// The option whose value stands before a word, or is that word; negative for none.
static int option_before(const CommandRow *command, char **argv, int i) {
    for (int at = i - 1; at >= 2 && at >= i - 2; at--) {
        if (strncmp(argv[at], "--", 2) != 0) continue;
        return option_find(command->command, argv[at] + 2, strcspn(argv[at] + 2, "="));
    }
    return -1;
}

// Whether a word is a source and what is to be its weight, as "short/*.bin:40%".
static bool means_weight(const char *word) {
    const char *colon = strrchr(word, ':');
    return colon && colon > word && colon[1] && !strchr(colon, '/');
}

// A word that no command takes. Behind the value of a pattern it is most often what the shell made of that.
static bool one_too_many(const CommandRow *command, char **argv, int i, Error *error) {
    int option = option_before(command, argv, i);
    const OptionRow *row = option < 0 ? NULL : &OPTION_TABLE[option];
    bool pattern = row && row->value && strcmp(row->value, "GLOB") == 0;
    if (pattern && means_weight(argv[i])) {
        bool sources = (row->flags & OPTION_SOURCES) != 0;
        return error_set(error, STATUS_USAGE, "'%s' is one word too many: --%s of %s takes %s", argv[i],
                         row->name, command->name,
                         sources ? "several sources where a number stands behind each, as 'long/*.bin:0.6' "
                                   "'short/*.bin:0.4'"
                                 : "a single source, without a weight");
    }
    if (pattern) {
        return error_set(error, STATUS_USAGE,
                         "'%s' is one word too many: the shell has expanded the pattern of --%s; put it in "
                         "quotes, as --%s 'data/train_*.bin'",
                         argv[i], row->name, row->name);
    }
    return error_set(error, STATUS_USAGE, "'%s' is one word too many for %s; see %s --help", argv[i],
                     command->name, command->name);
}

// What `help` and the words like it print: of the program, or of the command whose name follows.
static bool print_help(int argc, char **argv, Error *error) {
    const CommandRow *asked = argc > 2 ? command_find(argv[2]) : NULL;
    if (argc > 2 && !asked) return help_unknown_command(argv[2], error);
    if (asked)
        help_command(stdout, asked);
    else
        help_program(stdout);
    return true;
}

// The words behind the command. `done`: help was asked for, and printed.
static bool parse_words(Options *options, const CommandRow *command, int argc, char **argv, bool *done,
                        Error *error) {
    bool names = false; // behind a lone "--" no word is an option
    for (int i = 2; i < argc; i++) {
        if (!names && is_help(argv[i])) {
            help_command(stdout, command);
            *done = true;
            return true;
        }
        if (!names && strcmp(argv[i], "--") == 0) {
            names = true;
        } else if (!names && strncmp(argv[i], "--", 2) == 0) {
            if (!parse_option(options, argc, argv, &i, error)) return false;
        } else if (!names && argv[i][0] == '-' && argv[i][1]) {
            return error_set(error, STATUS_USAGE, "unknown option %s; options begin with two dashes",
                             argv[i]);
        } else if (options->n_inputs == command->max_inputs) {
            return one_too_many(command, argv, i, error);
        } else {
            options->inputs[options->n_inputs++] = argv[i];
        }
    }
    return true;
}

bool options_parse(Options *options, int argc, char **argv, bool *done, Error *error) {
    memset(options, 0, sizeof *options);
    *done = true;
    const char *first = argc < 2 ? "" : argv[1];
    if (is_help(first) || strcmp(first, "help") == 0) return print_help(argc, argv, error);
    if (strcmp(first, "--version") == 0) {
        help_version(stdout);
        return true;
    }
    const CommandRow *command = command_find(first);
    if (!command) return help_unknown_command(first, error);
    options->command = command->command;
    if (!set_defaults(options, error)) return false;
    options->inputs = (char **)alloc_or_exit((size_t)argc, sizeof *options->inputs);
    *done = false;
    return parse_words(options, command, argc, argv, done, error);
}

void options_free(Options *options) {
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (OPTION_TABLE[i].type == OPTION_TYPE_TEXT) free(*(char **)option_field(options, i));
    }
    free(options->inputs);
    memset(options, 0, sizeof *options);
}

// Whether a preset that the command line names has another value than --config, which goes before it.
static bool config_differs(const Options *options, int option, const char *text) {
    const void *field = option_field(options, option);
    if (options->source[OPTION_preset] != SOURCE_COMMAND_LINE || options->source[option] != SOURCE_CONFIG)
        return false;
    return OPTION_TABLE[option].type == OPTION_TYPE_REAL ? *(const double *)field != strtod(text, NULL)
                                                         : *(const int64_t *)field != strtoll(text, NULL, 10);
}

bool options_apply_preset(Options *options, Error *error) {
    if (!options->preset) return true;
    char names[128] = "", settings[512];
    bool told = false;
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", PRESETS[i].name);
        if (strcmp(PRESETS[i].name, options->preset) != 0) continue;
        snprintf(settings, sizeof settings, "%s", PRESETS[i].settings);
        char *rest = NULL;
        for (char *word = strtok_r(settings, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
            char *equals = strchr(word, '=');
            int option = option_find(COMMAND_TRAIN, word, (size_t)(equals - word));
            if (!told && config_differs(options, option, equals + 1)) {
                told = true;
                warn("--preset %s has --%s %s, but --config %s another, which is taken, as is all else that "
                     "it "
                     "says; give what is to change by its name",
                     options->preset, OPTION_TABLE[option].name, equals + 1, options->config);
            }
            if (!options_set(options, option, equals + 1, SOURCE_PRESET, error)) return false;
        }
        return true;
    }
    return error_set(error, STATUS_USAGE, "--preset %s: there are %s", options->preset, names);
}
