// Help that is written from the tables of commands and options.
#ifndef CORE_OPTIONS_HELP_H
#define CORE_OPTIONS_HELP_H

#include "core/options/command_table.h"

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

void help_program(FILE *out);
void help_command(FILE *out, const CommandRow *command);
void help_version(FILE *out);
// The error for a word that is no command.
bool help_unknown_command(const char *word, Error *error);

#ifdef __cplusplus
}
#endif
#endif
