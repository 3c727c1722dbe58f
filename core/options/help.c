// Help: written from the tables; see help.h.
#include "core/options/help.h"

#include "core/base/nearest.h"
#include "core/options/options_table.h"
#include "core/base/version.h"

#include <string.h>

bool help_unknown_command(const char *word, Error *error) {
    char names[256] = "";
    for (int i = 0; i < COMMAND_COUNT; i++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                 COMMANDS[i].name);
    }
    if (!word[0]) return error_set(error, STATUS_USAGE, "no command; there are %s, and --help", names);
    Nearest nearest;
    char meant[64] = "";
    nearest_begin(&nearest, word, strlen(word));
    for (int i = 0; i < COMMAND_COUNT; i++) nearest_offer(&nearest, COMMANDS[i].name);
    if (nearest.best) snprintf(meant, sizeof meant, " did you mean %s?", nearest.best);
    return error_set(error, STATUS_USAGE, "unknown command '%s';%s there are %s, and --help", word, meant,
                     names);
}

// ---- Lines of 80 columns

#define HELP_WIDTH  80
#define HELP_INDENT 31 // of what an option means

// Text on a line that has `column` columns already; further ones begin with `indent` blanks.
static void put_wrapped(FILE *out, const char *text, int column, int indent) {
    for (const char *word = text; *word;) {
        int size = (int)strcspn(word, " ");
        if (word != text && column + 1 + size > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (word != text) {
            column += fprintf(out, " ");
        }
        column += fprintf(out, "%.*s", size, word);
        word += size;
        word += *word == ' ';
    }
    fprintf(out, "\n");
}

// Paragraphs are wrapped; lines that begin with blanks stay as they are.
static void put_details(FILE *out, const char *details) {
    char line[2048];
    for (const char *end; (end = strchr(details, '\n')) != NULL; details = end + 1) {
        snprintf(line, sizeof line, "%.*s", (int)(end - details), details);
        if (line[0] == ' ') {
            fprintf(out, "%s\n", line);
        } else {
            put_wrapped(out, line, 0, 0);
        }
    }
}

void help_program(FILE *out) {
    fprintf(out, "train_gpt_lighthouse: pretrains language models at very long context.\n\n"
                 "usage: train_gpt_lighthouse COMMAND [options]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
    fprintf(out, "\n  COMMAND --help   its options, with defaults and an example\n"
                 "  --version        the version\n\n");
    fprintf(out, "Exit status\n"
                 "  0   done\n"
                 "  2   usage\n"
                 "  3   bad data or checkpoint\n"
                 "  4   not enough memory, or a BLAS that is wrong on this processor\n"
                 "  5   loss or weights not finite\n"
                 "  6   a rank of the job is gone or hangs\n"
                 "  75  preempted after saving\n");
}

static void help_option(FILE *out, const OptionRow *row) {
    char names[64] = "";
    if (row->choices) choice_names(row->choices, names, sizeof names);
    const char *value = row->type == OPTION_TYPE_FLAG ? ""
                        : row->value                  ? row->value
                        : row->choices                ? names
                                                      : "N";
    int column = fprintf(out, "  --%s%s%s", row->name, value[0] ? " " : "", value);
    if (column >= HELP_INDENT) column = fprintf(out, "\n") - 1;
    fprintf(out, "%*s", HELP_INDENT - column, "");
    char text[512];
    bool has_default = row->default_text && row->default_text[0] && row->type != OPTION_TYPE_FLAG;
    snprintf(text, sizeof text, "%s%s%s%s", row->help, has_default ? " [" : "",
             has_default ? row->default_text : "", has_default ? "]" : "");
    put_wrapped(out, text, HELP_INDENT, HELP_INDENT);
}

void help_command(FILE *out, const CommandRow *command) {
    fprintf(out, "train_gpt_lighthouse %s%s [options]\n\n", command->name, command->inputs);
    fprintf(out, "%s\n\n", command->summary);
    put_details(out, command->details);
    const char *seen[OPTION_COUNT]; // each option may have a group of its own
    int n_seen = 0;
    for (int first = 0; first < OPTION_COUNT; first++) { // groups in the order of their first option
        const char *group = OPTION_TABLE[first].group;
        bool known = !(OPTION_TABLE[first].commands & command->command);
        for (int i = 0; i < n_seen; i++) known = known || strcmp(seen[i], group) == 0;
        if (known) continue;
        seen[n_seen++] = group;
        fprintf(out, "\n%s\n", group);
        for (int i = first; i < OPTION_COUNT; i++) {
            const OptionRow *row = &OPTION_TABLE[i];
            if ((row->commands & command->command) && strcmp(row->group, group) == 0) help_option(out, row);
        }
    }
    if (command->command == COMMAND_TRAIN || command->command == COMMAND_BENCH) {
        fprintf(out, "\nPresets\n");
        for (int i = 0; i < PRESET_COUNT; i++) {
            fprintf(out, "  %-6s %s\n         ", PRESETS[i].name, PRESETS[i].summary);
            put_wrapped(out, PRESETS[i].settings, 9, 9);
        }
    }
    fprintf(out, "\n  A default stands in brackets. --name=value works too.\n");
}

void help_version(FILE *out) {
    fprintf(out, "train_gpt_lighthouse %s\n", LIGHTHOUSE_VERSION);
}
