// JSON lines: the text of one line's document; see json_lines.h.
#include "core/pack/json_lines.h"

#include "core/base/utf8.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 1000 // of values within each other

typedef enum { NOTHING, NO_TEXT, EMPTY, TEXT } Found;

typedef struct {
    const char *start, *at, *end;
    const char *problem; // what is no JSON, at `at`; NULL so far
    bool cut;            // it is the end of the text that is the problem
    ByteBuffer *out;     // of the text that is looked for, behind its first `kept` bytes
    size_t kept;
    Found found;
    const char *field;       // the whole name that is looked for
    uint64_t way, found_way; // how it was cut into keys up to here, and where it was found; a bit for a place
    bool two_ways;           // "a.b" is a key, and b is within a
    ByteBuffer *names;       // where the fields that hold texts are wanted: them,
    ByteBuffer path;         // and the way to the present one
} Scan;

static bool fails(Scan *scan, const char *problem) {
    scan->problem = problem;
    scan->cut = scan->at == scan->end;
    return false;
}

static void skip_blanks(Scan *scan) {
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r' || *scan->at == '\n'))
        scan->at++;
}

// ---- Strings

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    char small = (char)(digit | 0x20);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

// The four digits behind "\u"; negative where there are none.
static int32_t hex_code(const Scan *scan, const char *at) {
    int32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = at + i < scan->end ? hex_digit(at[i]) : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

// A character as "\uXXXX", or as two of these, of which a lone one becomes the replacement.
static bool read_code(Scan *scan, ByteBuffer *out) {
    int32_t code = hex_code(scan, scan->at), low = -1;
    if (code < 0) {
        if (scan->end - scan->at < 4) scan->at = scan->end;
        return fails(scan, "wrong digits behind \\u");
    }
    scan->at += 4;
    bool high = code >= 0xd800 && code < 0xdc00 && scan->end - scan->at >= 6;
    if (high && scan->at[0] == '\\' && scan->at[1] == 'u') low = hex_code(scan, scan->at + 2);
    if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        scan->at += 6;
    }
    if (out) out->size += utf8_put(bytes_reserve(out, 4), (uint32_t)code);
    return true;
}

// What stands behind a backslash.
static bool read_escape(Scan *scan, ByteBuffer *out) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end) return fails(scan, "a string without an end");
    char name = *scan->at;
    if (name == 'u') {
        scan->at++;
        return read_code(scan, out);
    }
    const char *place = name ? strchr(names, name) : NULL;
    if (!place) return fails(scan, "a wrong escape");
    scan->at++;
    if (out) bytes_append(out, &values[place - names], 1);
    return true;
}

// The bytes up to the next one that does not stand for itself: a quote, a backslash, a control character.
static bool read_run(Scan *scan, ByteBuffer *out, bool strict) {
    const char *run = scan->at, *at = run;
    while (at < scan->end && *at != '"' && *at != '\\' && (unsigned char)*at >= ' ') at++;
    if (strict && !utf8_is_valid(run, (size_t)(at - run))) {
        for (size_t length; (length = utf8_length(scan->at, at)) > 0;) scan->at += length;
        return fails(scan, "text that is not UTF-8");
    }
    if (out) bytes_append(out, run, (size_t)(at - run));
    scan->at = at;
    return at < scan->end || fails(scan, "a string without an end");
}

// Reads a string, from behind its opening quote, into `out` where one is given. A strict one is UTF-8 without
// control characters but tabs.
static bool read_string(Scan *scan, ByteBuffer *out, bool strict) {
    while (read_run(scan, out, strict)) {
        const char *stop = scan->at;
        if (*stop == '\n') return fails(scan, "a string that goes over the end of a line");
        if (strict && (unsigned char)*stop < ' ' && *stop != '\t') {
            return fails(scan, "a control character in the text");
        }
        scan->at++;
        if (*stop == '"') return true;
        if (*stop != '\\' && out) bytes_append(out, stop, 1);
        if (*stop == '\\' && !read_escape(scan, out)) return false;
    }
    return false;
}

// ---- Values. `field` is what is looked for from here on: NULL nothing, "" this value.

static bool read_value(Scan *scan, const char *field, int depth);

static bool read_text(Scan *scan, const char *field) {
    scan->at++;
    if (scan->names && scan->path.size > 0) {
        bytes_printf(scan->names, "%s\"%.*s\"", scan->names->size ? ", " : "", (int)scan->path.size,
                     scan->path.data);
    }
    if (!field || *field) return read_string(scan, NULL, false);
    scan->found = TEXT;
    return read_string(scan, scan->out, true);
}

static bool is_word(const char *word, size_t size) {
    static const char *const words[] = {"true", "false", "null", "NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i]) == size && memcmp(words[i], word, size) == 0) return true;
    }
    bool digits = false;
    for (size_t i = 0; i < size; i++) {
        if (!strchr("0123456789+-.eE", word[i])) return false;
        digits = digits || (word[i] >= '0' && word[i] <= '9');
    }
    return digits;
}

static bool is_word_byte(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '+' || byte == '-' || byte == '.';
}

// A number, or a word that stands for a value.
static bool read_word(Scan *scan, const char *field) {
    const char *word = scan->at;
    while (scan->at < scan->end && is_word_byte(*scan->at)) scan->at++;
    size_t size = (size_t)(scan->at - word);
    if (field && !*field && size == 4 && memcmp(word, "null", 4) == 0) scan->found = EMPTY;
    if (is_word(word, size) && scan->at < scan->end) return true;
    if (scan->at < scan->end) scan->at = word;
    return fails(scan, "no value");
}

// What is looked for within the value of a key: NULL nothing.
static const char *field_below(const char *field, const char *key, size_t size) {
    if (!field || !*field || strncmp(field, key, size) != 0) return NULL;
    return field[size] == 0 ? field + size : field[size] == '.' ? field + size + 1 : NULL;
}

// Reads a key and the colon behind it, and gives what is looked for in the key's value.
static bool read_key(Scan *scan, const char **field) {
    if (scan->at == scan->end || *scan->at != '"') return fails(scan, "no key");
    const char *key = ++scan->at;
    if (!read_string(scan, NULL, false)) return false;
    size_t size = (size_t)(scan->at - 1 - key);
    ByteBuffer plain = {NULL, 0, 0};
    if ((*field || scan->names) && memchr(key, '\\', size)) { // it has to be read to be compared
        const char *behind = scan->at;
        scan->at = key;
        read_string(scan, &plain, false);
        scan->at = behind;
        key = plain.data;
        size = plain.size;
    }
    *field = field_below(*field, key, size);
    if (scan->names) bytes_printf(&scan->path, "%s%.*s", scan->path.size ? "." : "", (int)size, key);
    bytes_free(&plain);
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != ':') return fails(scan, "no colon");
    scan->at++;
    return true;
}

// An object on the way that comes twice: what was found in the first does not count.
static void forget_first(Scan *scan, uint64_t place) {
    if (scan->found == NOTHING || (scan->found_way & (2 * place - 1)) != scan->way) return;
    scan->found = NOTHING;
    if (scan->out) scan->out->size = scan->kept;
}

static bool read_member(Scan *scan, const char *field, int depth) {
    size_t path = scan->path.size;
    uint64_t way = scan->way;
    if (!read_key(scan, &field)) return false;
    uint64_t place = field ? UINT64_C(1) << ((field - scan->field) & 63) : 0;
    scan->way |= place;
    if (field && *field) forget_first(scan, place);
    if (field && !*field) { // the last of a name counts
        scan->two_ways = scan->two_ways || (scan->found != NOTHING && scan->found_way != scan->way);
        scan->found_way = scan->way;
        scan->found = NO_TEXT;
        if (scan->out) scan->out->size = scan->kept;
    }
    if (!read_value(scan, field, depth)) return false;
    scan->path.size = path;
    scan->way = way;
    return true;
}

// Reads the members of an object or the values of an array, from its opening bracket on.
static bool read_many(Scan *scan, char close, const char *field, int depth) {
    if (depth == MAX_DEPTH) return fails(scan, "values nested too deeply");
    scan->at++;
    skip_blanks(scan);
    bool any = false;
    while (any || scan->at == scan->end || *scan->at != close) {
        if (!(close == '}' ? read_member(scan, field, depth + 1) : read_value(scan, NULL, depth + 1)))
            return false;
        any = true;
        skip_blanks(scan);
        if (scan->at < scan->end && *scan->at == close) break;
        if (scan->at == scan->end || *scan->at != ',') return fails(scan, "neither a comma nor an end");
        scan->at++;
        skip_blanks(scan);
    }
    scan->at++;
    return true;
}

static bool read_array(Scan *scan, int depth) {
    ByteBuffer *names = scan->names; // of fields within arrays, which cannot be asked for
    scan->names = NULL;
    bool ok = read_many(scan, ']', NULL, depth);
    scan->names = names;
    return ok;
}

static bool read_value(Scan *scan, const char *field, int depth) {
    skip_blanks(scan);
    if (scan->at == scan->end) return fails(scan, "no value");
    switch (*scan->at) {
    case '{': return read_many(scan, '}', field, depth);
    case '[': return read_array(scan, depth);
    case '"': return read_text(scan, field);
    default: return read_word(scan, field);
    }
}

// ---- Lines

static void begin(Scan *scan, const char *text, size_t size) {
    memset(scan, 0, sizeof *scan);
    scan->start = scan->at = text;
    scan->end = text + size;
}

static void pass_mark(Scan *scan) {
    if (scan->at < scan->end && *scan->at == JSON_SEQUENCE_MARK) scan->at++;
}

// Says that there is no such field, and which there are.
static void name_fields(const char *line, size_t size, const char *field, bool there, char *reason,
                        size_t reason_size) {
    Scan scan;
    ByteBuffer names = {NULL, 0, 0};
    begin(&scan, line, size);
    pass_mark(&scan);
    scan.names = &names;
    read_value(&scan, NULL, 0);
    snprintf(reason, reason_size, "%s \"%s\"%s%.*s", there ? "no text in field" : "no field", field,
             names.size ? "; texts are in " : ", and no other with a text", (int)names.size,
             names.data ? names.data : "");
    bytes_free(&names);
    bytes_free(&scan.path);
}

JsonLine json_line_text(const char *line, size_t size, const char *field, ByteBuffer *out, char *reason,
                        size_t reason_size) {
    Scan scan;
    begin(&scan, line, size);
    scan.out = out;
    scan.field = field;
    scan.kept = out->size;
    if (size >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) scan.at += 3; // of a file put behind another
    pass_mark(&scan);
    skip_blanks(&scan);
    bool ok = (scan.at < scan.end && *scan.at == '{') || fails(&scan, "no JSON object");
    ok = ok && read_value(&scan, field, 0);
    if (ok) skip_blanks(&scan);
    ok = ok && (scan.at == scan.end || fails(&scan, "more behind the JSON object"));
    if (ok && scan.found >= EMPTY && !scan.two_ways) return JSON_LINE_TEXT;
    out->size = scan.kept;
    if (ok && scan.two_ways)
        snprintf(reason, reason_size, "two fields that \"%s\" names: a key with dots, and one within others",
                 field);
    else if (ok)
        name_fields(line, size, field, scan.found == NO_TEXT, reason, reason_size);
    else
        snprintf(reason, reason_size, "%s at byte %zu", scan.problem, (size_t)(scan.at - line) + 1);
    return ok ? JSON_LINE_NO_FIELD : JSON_LINE_MALFORMED;
}

bool json_field_is_path(const char *field) {
    size_t size = strlen(field);
    return size > 0 && field[0] != '.' && field[size - 1] != '.' && !strstr(field, "..");
}

bool json_line_is_blank(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != JSON_SEQUENCE_MARK)
            return false;
    }
    return true;
}

JsonShape json_shape(const char *text, size_t size) {
    Scan scan;
    begin(&scan, text, size);
    pass_mark(&scan);
    skip_blanks(&scan);
    const char *first = scan.at;
    bool whole = read_value(&scan, NULL, 0);
    JsonShape shape = {whole      ? JSON_WHOLE
                       : scan.cut ? JSON_CUT
                                  : JSON_BROKEN,
                       (char)(first < scan.end ? *first : 0),
                       memchr(first, '\n', (size_t)(scan.at - first)) != NULL, (size_t)(scan.at - text)};
    return shape;
}
