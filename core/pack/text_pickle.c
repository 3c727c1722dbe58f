// Pickles that are text; see text_pickle.h.
#include "core/pack/text_pickle.h"

#include <ctype.h>
#include <string.h>

// Whether a letter is one of these; 0 is none.
static bool is_one(char letter, const char *letters) {
    return letter && strchr(letters, letter);
}

static bool are_all(const char *at, size_t size, bool (*right)(char letter)) {
    for (size_t i = 0; i < size; i++)
        if (!right(at[i])) return false;
    return size > 0;
}

static bool of_number(char letter) {
    return isdigit((unsigned char)letter) || is_one(letter, "+-.einfaL");
}

static bool of_name(char letter) {
    return isalnum((unsigned char)letter) || is_one(letter, "_.<>");
}

// Whether a line can be what follows an opcode: a number, a name, a string within quotes, or any text.
static bool line_fits(char opcode, const char *line, size_t size) {
    if (size > 0 && line[size - 1] == '\r') size--;
    if (is_one(opcode, "FILgp")) return are_all(line, size, of_number);
    if (is_one(opcode, "ci")) return are_all(line, size, of_name);
    return opcode != 'S' || (size > 1 && is_one(line[0], "'\"") && line[size - 1] == line[0]);
}

static int lines_behind(char opcode) {
    return is_one(opcode, "ci") ? 2 : is_one(opcode, "FILPSVgp") ? 1 : 0;
}

// Opcodes in a row. '(' begins whatever holds something, 'p' notes an object for others to name: texts have
// neither where they would have to stand.
bool text_pickle(const char *text, size_t size) {
    const char *at = text, *end = text + size;
    bool holds = false, notes = false;
    while (at < end) {
        char opcode = *at++;
        if (opcode == '.' && (notes || (holds && at == end))) return true;
        int lines = lines_behind(opcode);
        if (lines == 0 && !is_one(opcode, ".(012NRabdlost")) return false;
        holds = holds || is_one(opcode, "(c");
        notes = notes || opcode == 'p';
        for (; lines > 0; lines--) {
            const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at));
            if (!newline) return holds && notes; // the text is cut here
            if (!line_fits(opcode, at, (size_t)(newline - at))) return false;
            at = newline + 1;
        }
    }
    return holds && notes;
}
