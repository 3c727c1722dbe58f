// The values of all options: a field for each row of options.def, and where it came from.
#ifndef CORE_OPTIONS_OPTIONS_FIELDS_H
#define CORE_OPTIONS_OPTIONS_FIELDS_H

#include "core/options/choices.h"
#include "core/engine/engine.h"
#include "core/options/command_table.h"

#include <stdint.h>

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
#include "core/options/options.def"
#undef OPTION
    OPTION_COUNT
};

typedef struct {
    Command command;
#define OPTION(type, field, ...) OPTION_C_##type field;
#include "core/options/options.def"
#undef OPTION
    Source source[OPTION_COUNT];
    char **inputs; // words that are no options: INPUT… of pack, PATH of info
    int n_inputs;
} Options;

#endif
