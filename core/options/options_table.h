// The rows of the option table, for the parser, the settings of a run and the help.
#ifndef CORE_OPTIONS_OPTIONS_TABLE_H
#define CORE_OPTIONS_OPTIONS_TABLE_H

#include "core/options/options_fields.h"

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
enum { OPTION_STEERS = 1, OPTION_FIXED = 2, OPTION_PATH = 4, OPTION_SOURCES = 8 };

typedef struct {
    OptionType type;
    size_t offset; // in Options
    const char *name;
    unsigned commands;
    const char *default_text;
    double lowest, highest;
    const Choice *choices; // of type CHOICE
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

// ---- Values

#define SETTING_SIZE 4096 // bytes of a setting as text, its end included

// The option of a command with this name, -1 for none.
int option_find(Command command, const char *name, size_t length);
// Where its value lies.
void *option_field(const Options *options, int option);
// The value as options_set would take it; "" for an unset text.
void option_text(const Options *options, int option, char *text, size_t size);
// Whether JSON and the program's buffers can hold a text.
bool option_is_text(const char *text);
// A number of the row's type and range from text.
bool option_number(const OptionRow *row, const char *text, double *value, Error *error);

#ifdef __cplusplus
}
#endif
#endif
