// Options: one table that parses, validates, documents, writes and reads every setting (core/options.def).
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H

#include "engine.h"
#include "error.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    COMMAND_PACK = 1,
    COMMAND_TRAIN = 2,
    COMMAND_EVAL = 4,
    COMMAND_GENERATE = 8,
    COMMAND_INFO = 16,
    COMMAND_BENCH = 32,
    COMMAND_NIAH = 128,
    COMMAND_EXPORT = 256,
    COMMAND_REPORT = 64,
} Command;

enum { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_WSD };
enum { DEVICE_AUTO, DEVICE_CUDA, DEVICE_CPU };
enum { RECOMPUTE_NONE, RECOMPUTE_BLOCK };

// Where a value came from; a later source replaces an earlier one.
typedef enum {
    SOURCE_DEFAULT,
    SOURCE_INIT,
    SOURCE_RESUME,
    SOURCE_PRESET,
    SOURCE_CONFIG,
    SOURCE_COMMAND_LINE
} Source;

// The C type of each type of option.
#define OPTION_C_INT    int64_t
#define OPTION_C_REAL   double
#define OPTION_C_TEXT   char *
#define OPTION_C_CHOICE int
#define OPTION_C_FLAG   bool

enum {
#define OPTION(type, field, ...) OPTION_##field,
#include "options.def"
#undef OPTION
    OPTION_COUNT
};

typedef struct {
    Command command;
#define OPTION(type, field, ...) OPTION_C_##type field;
#include "options.def"
#undef OPTION
    Source source[OPTION_COUNT];
    char **inputs; // words that are no options: INPUT… of pack, PATH of info
    int n_inputs;
} Options;

// Parses a command line, argv[1] being the command. `--help` and `--version` print and set *done.
bool options_parse(Options *options, int argc, char **argv, bool *done, Error *error);
void options_free(Options *options);

// Sets one option from text, unless a later source has set it already.
bool options_set(Options *options, int option, const char *text, Source source, Error *error);
// Sets every option that --preset names, where there is one.
bool options_apply_preset(Options *options, Error *error);

// The settings that steer a run as an object {"lr": 0.002, …}; a new reference.
json_t *options_settings(const Options *options);
// Takes settings of such an object. `what` names it in errors. Unknown keys and impossible values are errors.
bool options_read_settings(Options *options, const json_t *settings, Source source, const char *what,
                           Error *error);
// Says which FIXED options differ from the settings of the run to resume (status 2).
bool options_check_fixed(const Options *options, const json_t *settings, Error *error);
// A text "lr 0.002 -> 0.001, …" of the settings that differ, empty when none does; `group`: of those alone
// that --help lists under it, NULL for all. Release with free().
char *options_describe_changes(const Options *options, const json_t *settings, const char *group);
// A hash of the values of all options that the command takes.
uint64_t options_hash(const Options *options);

// ---- what the settings mean

ModelConfig options_model(const Options *options);
void options_set_model(Options *options, const ModelConfig *model, Source source);
LighthouseConfig options_lighthouse(const Options *options);
// Of an engine that trains: its model, hierarchy, recomputation, determinism, batch and context.
void options_engine(const Options *options, EngineConfig *config);
// Refuses (status 2) what the command line asks of Lighthouse attention and nothing would heed: all where
// there is none, and --dilation with a scorer that has none.
bool options_check_lighthouse(const Options *options, bool lighthouse, Error *error);
// Parses --dense-layers "0,1,-2,-1", "none" or "all".
bool options_dense_layers(const char *list, int64_t n_layers, bool dense_layer[MODEL_MAX_LAYERS],
                          Error *error);

// Refuses (status 4) sizes far beyond any machine, whose products would not fit 64 bits: no plan can be made
// of them.
bool options_check_sizes(const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
