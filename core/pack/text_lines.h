// What the lines of a text are where a program has written them, one record a line: each would be packed with
// all its marks, as part of one long document.
#ifndef CORE_PACK_TEXT_LINES_H
#define CORE_PACK_TEXT_LINES_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether every line is a dictionary as Python prints it. Of a text that is not `whole`, the last line may be
// cut.
bool text_lines_python(const char *text, size_t size, bool whole);

// Whether every line is a string of JSON; three of them, or one that has an escape, are no chance.
bool text_lines_strings(const char *text, size_t size, bool whole);

// Whether nearly every line, and three of them, is a JSON object behind something else, as a key or a time.
bool text_lines_behind(const char *text, size_t size, bool whole);

// The character between the columns where eight records or more have equally many, two at least; 0 for no
// table. Within quotes a record may go over several lines.
char text_lines_table(const char *text, size_t size, bool whole);

// Whether the first lines, two at least, are addresses, or names of files that are there or in `folder`.
bool text_lines_of_files(const char *text, size_t size, const char *folder);

#ifdef __cplusplus
}
#endif
#endif
