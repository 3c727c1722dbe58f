// Options: the table of options.def at work; see options.h.
#include "options.h"

#include "help.h"
#include "nearest.h"
#include "options_table.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SETTING_SIZE 4096 // bytes of a setting as text, its end included

// ---- the table

const OptionRow OPTION_TABLE[OPTION_COUNT] = {
#define TRAIN    COMMAND_TRAIN
#define PACK     COMMAND_PACK
#define EVAL     COMMAND_EVAL
#define GENERATE COMMAND_GENERATE
#define INFO     COMMAND_INFO
#define BENCH    COMMAND_BENCH
#define NIAH     COMMAND_NIAH
#define EXPORT   COMMAND_EXPORT
#define REPORT   COMMAND_REPORT
#define STEERS   OPTION_STEERS
#define FIXED    OPTION_FIXED
#define OPTION(type, field, name, commands, standard, lowest, highest, choices, flags, group, value, help) \
    {OPTION_TYPE_##type,                                                                                   \
     offsetof(Options, field),                                                                             \
     name,                                                                                                 \
     commands,                                                                                             \
     standard,                                                                                             \
     (double)(lowest),                                                                                     \
     (double)(highest),                                                                                    \
     choices,                                                                                              \
     flags,                                                                                                \
     group,                                                                                                \
     value,                                                                                                \
     help},
#include "options.def"
#undef OPTION
#undef TRAIN
#undef PACK
#undef EVAL
#undef GENERATE
#undef INFO
#undef BENCH
#undef NIAH
#undef EXPORT
#undef REPORT
#undef STEERS
#undef FIXED
};

// Shape, context and recipe of a name, as settings of the table.
const PresetRow PRESETS[PRESET_COUNT] = {
    {"530m", "the paper's model: a byte model under a 128,256-row vocabulary",
     "layers=30 dim=1024 heads=8 kv-heads=8 head-dim=128 ffn=1536 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
    {"270m", "the same body under a byte vocabulary",
     "layers=30 dim=1024 heads=8 kv-heads=8 head-dim=128 ffn=1536 vocab=320 seq-len=98304 topk=1536 pool=4 "
     "levels=3"},
    {"small", "27 M parameters: minutes on one GPU",
     "layers=12 dim=512 heads=4 kv-heads=4 head-dim=128 ffn=768 vocab=320 seq-len=16384 topk=256 pool=4 "
     "levels=3 "
     "global-batch=4 steps=1600 lr=1e-3 warmup=200"},
    {"tiny", "1 M parameters: a minute on a CPU",
     "layers=6 dim=128 heads=2 kv-heads=2 head-dim=64 ffn=256 vocab=320 seq-len=2048 topk=256 pool=2 "
     "levels=3 global-batch=1 steps=400 lr=3e-3 warmup=20 val-every=100 val-batches=16 checkpoint-every=100 "
     "log-every=10"},
    {"2b", "24 layers of 2,048, 32 heads of 64",
     "layers=24 dim=2048 heads=32 kv-heads=32 head-dim=64 ffn=8192 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
    {"8b", "the shape of Llama 3 8B",
     "layers=32 dim=4096 heads=32 kv-heads=8 head-dim=128 ffn=14336 vocab=128256 seq-len=98304 topk=1536 "
     "pool=4 levels=3"},
};

static void *field(const Options *options, int option) {
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

static bool parse_number(const OptionRow *row, const char *text, double *value, Error *error) {
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
        if (!parse_number(row, text, &number, error)) return false;
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

    void *value = field(options, option);
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

// The value as options_set would take it; "" for an unset text.
static void value_text(const Options *options, int option, char *text, size_t size) {
    const OptionRow *row = &OPTION_TABLE[option];
    const void *value = field(options, option);
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

uint64_t options_hash(const Options *options) {
    char text[SETTING_SIZE];
    uint64_t hash = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(OPTION_TABLE[i].commands & options->command)) continue;
        value_text(options, i, text, sizeof text);
        hash = XXH3_64bits_withSeed(text, strlen(text), hash);
    }
    return hash;
}

static int find_option(Command command, const char *name, size_t length) {
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
        if (find_option(COMMANDS[i].command, word + 2, length) < 0) continue;
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
    int option = find_option(options->command, word + 2, strcspn(word + 2, "="));
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
        if (OPTION_TABLE[i].type == OPTION_TYPE_TEXT) free(*(char **)field(options, i));
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
            int option = find_option(COMMAND_TRAIN, word, (size_t)(equals - word));
            if (!options_set(options, option, equals + 1, SOURCE_PRESET, error)) return false;
        }
        return true;
    }
    return error_set(error, STATUS_USAGE, "--preset %s: there are %s", options->preset, names);
}

// ---- settings as JSON

json_t *options_settings(const Options *options) {
    json_t *settings = json_object();
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionRow *row = &OPTION_TABLE[i];
        const void *value = field(options, i);
        char text[SETTING_SIZE];
        json_t *json = NULL;
        if (!(row->flags & OPTION_STEERS)) continue;
        switch (row->type) {
        case OPTION_TYPE_INT: json = json_integer(*(const int64_t *)value); break;
        case OPTION_TYPE_REAL: json = json_real(*(const double *)value); break;
        case OPTION_TYPE_FLAG: json = json_boolean(*(const bool *)value); break;
        case OPTION_TYPE_CHOICE:
        case OPTION_TYPE_TEXT:
            value_text(options, i, text, sizeof text);
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
        int option = find_option(COMMAND_TRAIN, key, strlen(key));
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
    value_text(options, option, mine, size);
    if (value && !json_is_null(value)) json_text(value, theirs, size);
    if (row->type == OPTION_TYPE_REAL && parse_number(row, theirs, &number, &ignored)) {
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

void options_describe_changes(const Options *options, const json_t *settings, const char *group, char *text,
                              size_t size) {
    char mine[SETTING_SIZE], theirs[SETTING_SIZE];
    text[0] = 0;
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(OPTION_TABLE[i].flags & OPTION_STEERS)) continue;
        if (group && strcmp(OPTION_TABLE[i].group, group) != 0) continue;
        if (same_setting(options, i, settings, mine, theirs, sizeof mine)) continue;
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s %s -> %s", used ? ", " : "", OPTION_TABLE[i].name,
                 theirs[0] ? theirs : "none", mine[0] ? mine : "none");
    }
}

// ---- what the settings mean

ModelConfig options_model(const Options *options) {
    ModelConfig model = {options->layers,   options->dim,        options->heads,
                         options->kv_heads, options->head_dim,   options->ffn,
                         options->vocab,    options->rope_theta, options->norm_eps};
    return model;
}

void options_set_model(Options *options, const ModelConfig *model, Source source) {
    const int64_t integers[] = {model->n_layers, model->dim,     model->n_heads,   model->n_kv_heads,
                                model->head_dim, model->ffn_dim, model->vocab_size};
    const int names[] = {OPTION_layers,   OPTION_dim, OPTION_heads, OPTION_kv_heads,
                         OPTION_head_dim, OPTION_ffn, OPTION_vocab};
    char text[64];
    Error ignored; // values that the table refuses are refused again, and reported, by model_config_check
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, "%lld", (long long)integers[i]);
        options_set(options, names[i], text, source, &ignored);
    }
    snprintf(text, sizeof text, "%.17g", model->rope_theta);
    options_set(options, OPTION_rope_theta, text, source, &ignored);
    snprintf(text, sizeof text, "%.17g", model->norm_eps);
    options_set(options, OPTION_norm_eps, text, source, &ignored);
}

LighthouseConfig options_lighthouse(const Options *options) {
    LighthouseConfig config = {(Scorer)options->scorer, options->levels, options->pool, options->topk,
                               options->dilation};
    return config;
}

bool options_check_scorer(const Options *options, Error *error) {
    if (options->scorer != SCORER_NORM || options->source[OPTION_dilation] != SOURCE_COMMAND_LINE)
        return true;
    return error_set(
        error, STATUS_USAGE,
        "--dilation has no meaning with --scorer norm; leave it out, or take --scorer dilated or gla");
}

bool options_dense_layers(const char *list, int64_t n_layers, bool dense_layer[MODEL_MAX_LAYERS],
                          Error *error) {
    bool all = strcmp(list, "all") == 0;
    for (int i = 0; i < MODEL_MAX_LAYERS; i++) dense_layer[i] = all;
    if (all || strcmp(list, "none") == 0) return true;
    for (const char *start = list;;) {
        char *end;
        long long layer = strtoll(start, &end, 10);
        if (end == start || (*end && *end != ',')) {
            return error_set(
                error, STATUS_USAGE,
                "--dense-layers %s: must be numbers with commas between, as 0,1,-2,-1, or none, or all",
                list);
        }
        if (layer < -n_layers || layer >= n_layers) {
            return error_set(error, STATUS_USAGE,
                             "--dense-layers %s: there is no layer %lld; layers go from %lld to %lld", list,
                             layer, (long long)-n_layers, (long long)n_layers - 1);
        }
        dense_layer[layer < 0 ? layer + n_layers : layer] = true;
        if (!*end) return true;
        start = end + 1;
    }
}

bool options_check_sizes(const Options *options, Error *error) {
    double width = (double)options->dim + (double)options->ffn + (double)(options->heads * options->head_dim);
    double kept = (double)options->batch * (double)options->seq_len * (double)options->layers * width;
    return kept < 1e15 ||
           error_set(error, STATUS_MEMORY,
                     "--batch %lld sequences of --seq-len %lld tokens through %lld layers fit no machine",
                     (long long)options->batch, (long long)options->seq_len, (long long)options->layers);
}
