// The commands, and help that is written from the tables of commands and options.
#ifndef CORE_HELP_H
#define CORE_HELP_H

#include "options.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    Command command;
    const char *name, *inputs; // how the words that are no options show in the help
    int max_inputs;
    const char *summary;
    const char *details; // what to know before using it, and an example
} CommandRow;

#define COMMAND_COUNT 9
extern const CommandRow COMMANDS[COMMAND_COUNT];

const CommandRow *command_row(Command command);
const CommandRow *command_find(const char *name); // NULL when there is none

void help_program(FILE *out);
void help_command(FILE *out, const CommandRow *command);
void help_version(FILE *out);
// The error for a word that is no command.
bool help_unknown_command(const char *word, Error *error);

#ifdef __cplusplus
}
#endif
#endif
