// Choices: an enum and the words that stand for its values.
//
// A list `#define COLOURS(X) X(COLOUR_RED, "red") X(COLOUR_BLUE, "blue")` beside the enum is all there is of
// it: CHOICE_VALUE makes the enum of it, CHOICE_ROW the rows of a table that ends with CHOICE_END.
// CHOICE_NAME makes an array of the words alone, by value.
#ifndef CORE_BASE_CHOICE_H
#define CORE_BASE_CHOICE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name; // NULL in the row behind the last
    int value;
} Choice;

#define CHOICE_VALUE(value, name) value,
#define CHOICE_ROW(value, name)   {name, value},
#define CHOICE_NAME(value, name)  name,
#define CHOICE_END \
    { NULL, 0 }

// The value of a name; false where it is none of the table's.
bool choice_find(const Choice *table, const char *name, int *value);
// The name of a value of the table.
const char *choice_name(const Choice *table, int value);
// "norm|dilated|gla"
void choice_names(const Choice *table, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
