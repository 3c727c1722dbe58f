// The rows of the option table, for the parser and the help.
#ifndef CORE_OPTIONS_TABLE_H
#define CORE_OPTIONS_TABLE_H

#include "options.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    OPTION_TYPE_INT,
    OPTION_TYPE_REAL,
    OPTION_TYPE_TEXT,
    OPTION_TYPE_CHOICE,
    OPTION_TYPE_FLAG
} OptionType;
enum { OPTION_STEERS = 1, OPTION_FIXED = 2 };

typedef struct {
    OptionType type;
    size_t offset; // in Options
    const char *name;
    unsigned commands;
    const char *standard; // default, as text
    double lowest, highest;
    const char *choices;
    unsigned flags;
    const char *group, *value, *help;
} OptionRow;

extern const OptionRow OPTION_TABLE[OPTION_COUNT];

typedef struct {
    const char *name, *summary;
    const char *settings; // "layers=30 dim=1024 ..."
} PresetRow;

#define PRESET_COUNT 6
extern const PresetRow PRESETS[PRESET_COUNT];

#ifdef __cplusplus
}
#endif
#endif
