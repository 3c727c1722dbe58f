// The commands, as commands.def has them.
#ifndef CORE_OPTIONS_COMMAND_TABLE_H
#define CORE_OPTIONS_COMMAND_TABLE_H

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
#define COMMAND(ID, ...) COMMAND_INDEX_##ID,
#include "core/options/commands.def"
#undef COMMAND
    COMMAND_COUNT
};
// Bits, of which the rows of options.def name several.
typedef enum {
#define COMMAND(ID, ...) COMMAND_##ID = 1 << COMMAND_INDEX_##ID,
#include "core/options/commands.def"
#undef COMMAND
} Command;

enum { COMMAND_RANKS = 1, COMMAND_WRITES = 2 };

// A row of commands.def, which says what its columns mean.
typedef struct {
    Command command;
    const char *name, *inputs;
    int max_inputs;
    unsigned flags;
    const char *summary, *details;
} CommandRow;

extern const CommandRow COMMANDS[COMMAND_COUNT];

const CommandRow *command_row(Command command);
const CommandRow *command_find(const char *name); // NULL when there is none

#ifdef __cplusplus
}
#endif
#endif
