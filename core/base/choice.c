// Tables of choices; see choice.h.
#include "core/base/choice.h"

#include <stdio.h>
#include <string.h>

bool choice_find(const Choice *table, const char *name, int *value) {
    for (; table->name; table++) {
        if (strcmp(table->name, name) != 0) continue;
        *value = table->value;
        return true;
    }
    return false;
}

const char *choice_name(const Choice *table, int value) {
    while (table->name && table->value != value) table++;
    return table->name ? table->name : "";
}

void choice_names(const Choice *table, char *text, size_t size) {
    text[0] = '\0';
    for (const Choice *row = table; row->name; row++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", used ? "|" : "", row->name);
    }
}
