// The commands, as commands.def has them; see command_table.h.
#include "core/options/command_table.h"

#include <string.h>

const CommandRow COMMANDS[COMMAND_COUNT] = {
#define MANY   (1 << 20)
#define RANKS  COMMAND_RANKS
#define WRITES COMMAND_WRITES
#define COMMAND(ID, name_, inputs_, max_inputs_, flags_, summary_, details_) \
    {                                                                        \
        .command = COMMAND_##ID,                                             \
        .name = #name_,                                                      \
        .inputs = (inputs_),                                                 \
        .max_inputs = (max_inputs_),                                         \
        .flags = (flags_),                                                   \
        .summary = (summary_),                                               \
        .details = (details_),                                               \
    },
#include "core/options/commands.def"
#undef COMMAND
#undef MANY
#undef RANKS
#undef WRITES
};

const CommandRow *command_row(Command command) {
    const CommandRow *row = COMMANDS;
    while (row->command != command) row++;
    return row;
}

const CommandRow *command_find(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(COMMANDS[i].name, name) == 0) return &COMMANDS[i];
    }
    return NULL;
}
