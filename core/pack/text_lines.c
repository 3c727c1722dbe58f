// Lines that programs have written; see text_lines.h.
#include "core/pack/text_lines.h"

#include "core/base/files.h"
#include "core/pack/json_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SURE_STRINGS 3
#define SURE_OBJECTS 3
#define SURE_RECORDS 8
#define SURE_FILES   2
#define SEEN_FILES   8 // of a long list

// ---- One line after the other

typedef struct {
    const char *next, *end;
    bool whole;       // the text ends at `end`
    const char *line; // the present one, without blanks around it
    size_t size;
    bool cut; // it goes on behind the end
} Lines;

static Lines lines_of(const char *text, size_t size, bool whole) {
    Lines lines = {text, text + size, whole, text, 0, false};
    return lines;
}

// Moves on to a line that is not blank; false behind the last.
static bool next_line(Lines *lines) {
    while (lines->next < lines->end) {
        const char *start = lines->next;
        const char *newline = (const char *)memchr(start, '\n', (size_t)(lines->end - start));
        const char *stop = newline ? newline : lines->end;
        lines->next = newline ? newline + 1 : lines->end;
        while (start < stop && memchr(" \t\r", *start, 3)) start++;
        while (stop > start && memchr(" \t\r", stop[-1], 3)) stop--;
        lines->line = start;
        lines->size = (size_t)(stop - start);
        lines->cut = !newline && !lines->whole;
        if (lines->size > 0) return true;
    }
    return false;
}

// ---- Python

static bool is_dictionary(const Lines *at) {
    return at->size > 5 && memcmp(at->line, "{'", 2) == 0 && memmem(at->line, at->size, "':", 2) &&
           (at->cut || at->line[at->size - 1] == '}');
}

bool text_lines_python(const char *text, size_t size, bool whole) {
    Lines lines = lines_of(text, size, whole);
    bool any = false;
    while (next_line(&lines)) {
        if (!is_dictionary(&lines)) return false;
        any = true;
    }
    return any;
}

// ---- JSON

static bool is_string(const Lines *at) {
    if (*at->line != '"') return false;
    JsonShape shape = json_shape(at->line, at->size);
    return shape.state == JSON_WHOLE ? shape.size == at->size : shape.state == JSON_CUT && at->cut;
}

bool text_lines_strings(const char *text, size_t size, bool whole) {
    Lines lines = lines_of(text, size, whole);
    size_t count = 0;
    bool escapes = false;
    while (next_line(&lines)) {
        if (!is_string(&lines)) return false;
        escapes = escapes || memchr(lines.line, '\\', lines.size);
        count++;
    }
    return count >= SURE_STRINGS || (count > 0 && escapes);
}

// An object up to the line's end, with something before it that is no mark of a sequence or of UTF-8.
static bool is_behind(const Lines *at) {
    const char *object = (const char *)memchr(at->line, '{', at->size);
    if (!object || object == at->line || *at->line == JSON_SEQUENCE_MARK || *at->line == '\xef') return false;
    size_t size = at->size - (size_t)(object - at->line);
    JsonShape shape = json_shape(object, size);
    return size > 2 && (shape.state == JSON_WHOLE ? shape.size == size : shape.state == JSON_CUT && at->cut);
}

bool text_lines_behind(const char *text, size_t size, bool whole) {
    Lines lines = lines_of(text, size, whole);
    size_t count = 0, others = 0;
    while (next_line(&lines)) {
        if (is_behind(&lines))
            count++;
        else if (++others > 1 + count / 8)
            return false;
    }
    return count >= SURE_OBJECTS && others <= count / 8 + 1;
}

// ---- Tables

// Passes a field in quotes, where two of them stand for one; NULL where it does not end here.
static const char *pass_quoted(const char *at, const char *end) {
    for (at++; at < end; at++) {
        if (*at != '"') continue;
        if (at + 1 == end || at[1] != '"') return at + 1;
        at++;
    }
    return NULL;
}

// Columns of the record from *at on, which moves behind it; 0 where it does not end here.
static size_t count_columns(const char **at, const char *end, bool whole, char delimiter) {
    size_t columns = 1;
    bool begins = true;
    while (*at < end && **at != '\n') {
        if (begins && **at == '"') {
            *at = pass_quoted(*at, end);
            if (!*at) return 0;
            begins = false;
            continue;
        }
        begins = **at == delimiter;
        columns += begins;
        ++*at;
    }
    if (*at == end) return whole ? columns : 0;
    ++*at;
    return columns;
}

static bool is_table(const char *text, size_t size, bool whole, char delimiter) {
    const char *at = text, *end = text + size;
    size_t records = 0, wanted = 0;
    while (at && at < end) {
        size_t columns = count_columns(&at, end, whole, delimiter);
        if (columns == 0) break; // cut
        if (records++ == 0) wanted = columns;
        if (columns != wanted || columns < 2) return false;
    }
    return records >= SURE_RECORDS;
}

char text_lines_table(const char *text, size_t size, bool whole) {
    static const char delimiters[] = "\t,;";
    for (const char *at = delimiters; *at; at++)
        if (is_table(text, size, whole, *at)) return *at;
    return 0;
}

// ---- Lists of files

static bool is_address(const Lines *at) {
    const char *sign = (const char *)memmem(at->line, at->size, "://", 3);
    return sign && sign - at->line <= 5 && !memchr(at->line, ' ', at->size);
}

static bool is_file(const Lines *at, const char *folder) {
    char name[1024];
    if (at->size >= sizeof name) return false;
    snprintf(name, sizeof name, "%.*s", (int)at->size, at->line);
    char *beside = path_join(folder, name);
    bool is = file_exists(name) || file_exists(beside);
    free(beside);
    return is;
}

bool text_lines_of_files(const char *text, size_t size, const char *folder) {
    Lines lines = lines_of(text, size, true);
    int count = 0;
    while (count < SEEN_FILES && next_line(&lines)) {
        if (!is_address(&lines) && !is_file(&lines, folder)) return false;
        count++;
    }
    return count >= SURE_FILES;
}
