// What a file holds, told by its content; see pack_look.h.
#include "core/pack/pack_look.h"

#include "core/base/files.h"
#include "core/base/foreign.h"
#include "core/pack/json_lines.h"
#include "core/pack/text_escapes.h"
#include "core/pack/text_file.h"
#include "core/pack/text_lines.h"
#include "core/pack/text_pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW     ((size_t)1 << 16) // bytes of text that tell what it is,
#define MAX_WINDOW ((size_t)1 << 20) // and of JSON, whose lines may be long

typedef struct {
    TextFile file;
    ByteBuffer text;
    bool whole; // the file ends here
} Window;

// Reads on until there are so many bytes, or the file ends.
static bool widen(Window *window, size_t wanted, Error *error) {
    while (!window->whole && window->text.size < wanted) {
        size_t got = 0;
        if (!text_file_read(&window->file, bytes_reserve(&window->text, WINDOW), WINDOW, &got, error))
            return false;
        window->text.size += got;
        window->whole = got == 0;
    }
    return true;
}

// ---- Other kinds

static const char *packing_name(const PackInput *file) {
    return file->packing == FILE_GZIP ? "gzip" : file->packing == FILE_ZSTD ? "zstd" : "";
}

static void refuse_kind(const PackInput *file, const FileKind *kind, PackRefusal *refusal) {
    const char *packing = packing_name(file), *command = kind->command;
    char within[48] = "", unpack[64], text[700];
    if (*packing) snprintf(within, sizeof within, " within %s", packing);
    if (*packing && kind->reader != FILE_TAR && kind->reader != FILE_WARC) {
        snprintf(unpack, sizeof unpack, "%s -dc FILE > FILE.unpacked", packing);
        command = unpack;
    }
    file_kind_command(file->copy ? NULL : command, file->path, text, sizeof text);
    if (strcmp(kind->name, "shard") == 0)
        pack_refuse(refusal, kind->name, "is a shard already%s: train reads it with --data%s%s%s", within,
                    *packing ? ", once `" : "", packing, *packing ? " -d` has decompressed it" : "");
    else if (text[0])
        pack_refuse(refusal, kind->name, "is no text but %s %s%s: `%s` makes it readable",
                    file_kind_article(kind), kind->name, within, text);
    else
        pack_refuse(refusal, kind->name, "is no text but %s %s%s", file_kind_article(kind), kind->name,
                    within);
}

static void refuse_pickle(const PackInput *file, PackRefusal *refusal) {
    pack_refuse(
        refusal, "pickle",
        "is no text but a pickle of Python%s%s: if you trust it, load it there and write its texts as JSON "
        "lines",
        file->packing == FILE_OTHER ? "" : " within ", packing_name(file));
}

// Bytes that texts do not have, unless their documents are parted by them.
static size_t count_controls(const ByteBuffer *text, const Separator *separator) {
    size_t count = 0;
    for (size_t i = 0; i < text->size; i++) {
        unsigned char byte = (unsigned char)text->data[i];
        bool control = byte < ' ' && (byte < '\b' || byte > '\r') && byte != 0x1b;
        count += control && !memchr(separator->bytes, byte, separator->size);
    }
    return count;
}

void pack_refuse_binary(const PackInput *file, bool zero, PackRefusal *refusal) {
    char command[600];
    file_kind_command("tr -d '\\000' < FILE > FILE.txt", file->path, command, sizeof command);
    if (!zero)
        pack_refuse(refusal, "binary file", "is binary: it is full of control characters");
    else if (file->packing != FILE_OTHER || file->copy)
        pack_refuse(refusal, "binary file", "holds a zero byte: it is binary, or UTF-16 without its mark");
    else
        pack_refuse(refusal, "binary file",
                    "holds a zero byte: it is binary, or UTF-16 without its mark, or a text that `%s` mends",
                    command);
}

// Whether all of it is characters of four bytes.
static bool is_utf32(const ByteBuffer *text, bool big) {
    const unsigned char *bytes = (const unsigned char *)text->data;
    for (size_t i = 0; i + 4 <= text->size; i += 4) {
        const unsigned char *at = bytes + i;
        uint32_t code = big ? (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]
                            : (uint32_t)at[3] << 24 | at[2] << 16 | at[1] << 8 | at[0];
        if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    }
    return text->size >= 8;
}

// Whether zero bytes are parts of characters: "UTF-16LE", "UTF-32BE", …, or NULL.
static const char *unmarked_encoding(const ByteBuffer *text, size_t controls) {
    if (is_utf32(text, false)) return "UTF-32LE";
    if (is_utf32(text, true)) return "UTF-32BE";
    size_t zeros[2] = {0, 0};
    for (size_t i = 0; i < text->size; i++) zeros[i & 1] += text->data[i] == 0;
    size_t all = zeros[0] + zeros[1];
    if (all < 8 || all < text->size / 32 || (zeros[0] > 0 && zeros[1] > 0)) return NULL;
    if (controls - all > text->size / 32) return NULL;
    return zeros[0] > 0 ? "UTF-16BE" : "UTF-16LE";
}

// The command that gives a file, or what is piped in, to a tool.
static void give_to(const PackInput *file, const char *tool, const char *ending, char *command, size_t size) {
    char pattern[400];
    if (file->copy)
        snprintf(pattern, sizeof pattern, "%s", tool);
    else if (file->packing == FILE_OTHER)
        snprintf(pattern, sizeof pattern, "%s FILE > FILE%s", tool, ending);
    else
        snprintf(pattern, sizeof pattern, "%s -dc FILE | %s > FILE%s", packing_name(file), tool, ending);
    file_kind_command(pattern, file->path, command, size);
}

static void refuse_unmarked(const PackInput *file, const char *encoding, PackRefusal *refusal) {
    char tool[64], command[700];
    snprintf(tool, sizeof tool, "iconv -f %s -t UTF-8", encoding);
    give_to(file, tool, ".txt", command, sizeof command);
    bool wide = strstr(encoding, "32") != NULL;
    pack_refuse(refusal, wide ? "file* of UTF-32 without its mark" : "file* of UTF-16 without its mark",
                "is %s without its mark: `%s` makes it readable", wide ? "UTF-32" : "UTF-16", command);
}

static void refuse_escapes(const PackInput *file, const char *encoding, PackRefusal *refusal) {
    char tool[64], command[700];
    snprintf(tool, sizeof tool, "iconv -f %s -t UTF-8", encoding);
    give_to(file, tool, ".txt", command, sizeof command);
    pack_refuse(refusal, "file* in an encoding of ASCII escapes", "is %s, not UTF-8: `%s` makes it readable",
                encoding, command);
}

static void judge_bytes(const PackInput *file, const ByteBuffer *text, const Separator *separator,
                        PackRefusal *refusal) {
    bool zero = text->size > 0 && memchr(text->data, 0, text->size);
    size_t controls = count_controls(text, separator);
    const char *escapes = zero ? NULL : text_escapes_encoding(text->data, text->size);
    if (escapes) refuse_escapes(file, escapes, refusal);
    if (escapes || (!zero && controls * 16 <= text->size)) return;
    const char *encoding = zero ? unmarked_encoding(text, controls) : NULL;
    const FileKind *named = file_kind_named(file->path);
    if (named && named->reader == FILE_OTHER && file->packing == FILE_OTHER)
        refuse_kind(file, named, refusal);
    else if (encoding)
        refuse_unmarked(file, encoding, refusal);
    else
        pack_refuse_binary(file, zero, refusal);
}

// ---- JSON

static bool is_named_json(const char *path) {
    return strcasestr(path_name(path), ".json") || strcasestr(path_name(path), ".ndjson");
}

// What the whole lines of the window are.
typedef struct {
    int64_t objects, texts, other;
    char reason[256]; // why the first has no text
} Lines;

static Lines read_lines(const Window *window, const char *field) {
    Lines lines = {0, 0, 0, ""};
    ByteBuffer document = {NULL, 0, 0};
    char reason[sizeof lines.reason];
    const char *at = window->text.data, *end = at + window->text.size;
    while (at < end) {
        const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at)),
                   *stop = newline ? newline : end;
        size_t size = (size_t)(stop - at);
        if (!newline && !window->whole) break;
        document.size = 0;
        if (!json_line_is_blank(at, size)) {
            JsonLine line = json_line_text(at, size, field, &document, reason, sizeof reason);
            lines.texts += line == JSON_LINE_TEXT;
            lines.objects += line != JSON_LINE_MALFORMED;
            lines.other += line == JSON_LINE_MALFORMED;
            if (line != JSON_LINE_TEXT && !lines.reason[0]) memcpy(lines.reason, reason, sizeof reason);
        }
        at = stop + 1;
    }
    bytes_free(&document);
    return lines;
}

// Records of another shape than JSON lines, which a tool gives them.
static void refuse_shape(const PackInput *file, const char *what, const char *tool, PackRefusal *refusal) {
    char command[700];
    size_t head = strcspn(what, "*"); // the place of its plural's ending
    give_to(file, tool, ".jsonl", command, sizeof command);
    pack_refuse(refusal, what, "is a %.*s%s, where one JSON object a line is wanted: `%s` makes it so",
                (int)head, what, what + head + (what[head] == '*'), command);
}

// The first character of an array's first element.
static char first_element(const Window *window) {
    const char *bracket = (const char *)memchr(window->text.data, '[', window->text.size);
    const char *end = window->text.data + window->text.size, *at = bracket + 1;
    while (at < end && strchr(" \t\r\n", *at)) at++;
    return (char)(at < end ? *at : 0);
}

// Whether nothing follows the first value on its line, as more would behind brackets in a text.
static bool ends_line(const Window *window, const JsonShape *shape) {
    const char *at = window->text.data + shape->size, *end = window->text.data + window->text.size;
    while (at < end && memchr(" \t\r", *at, 3)) at++;
    return at == end || *at == '\n';
}

// An array of objects or texts, as text in brackets is none.
static bool judge_array(const PackInput *file, const Window *window, const JsonShape *shape, bool named,
                        PackRefusal *refusal) {
    char element = first_element(window);
    bool texts = element == '"';
    if (!named && element != '{' && !(texts && ends_line(window, shape))) return false;
    refuse_shape(file, "JSON array", texts ? "jq -c '.[] | {text: .}'" : "jq -c '.[]'", refusal);
    return true;
}

#define ARRAY_OF "jq -Rsc '\"[\" + sub(\",?\\\\s*$\"; \"\") + \"]\" | fromjson | .[]'"

// JSON objects, one behind the other and not one a line, or in another encoding.
static bool judge_objects(const PackInput *file, const Window *window, const JsonShape *shape,
                          const char *reason, PackRefusal *refusal) {
    const char *at = window->text.data + shape->size, *end = window->text.data + window->text.size;
    if (shape->first != '{' || shape->state != JSON_WHOLE || shape->size < 3) return false;
    const char *line = (const char *)memchr(at, '\n', (size_t)(end - at));
    while (at < end && memchr(" \t\r\n", *at, 4)) at++;
    bool comma = at < end && *at == ',';
    at += comma;
    while (at < end && memchr(" \t\r\n", *at, 4)) at++;
    if (at < end && *at != '{') return false;
    bool row = at < end && (comma || !line || at < line);
    char command[700];
    if (strstr(reason, "not UTF-8")) {
        give_to(file, "iconv -f WINDOWS-1252 -t UTF-8", ".jsonl", command, sizeof command);
        pack_refuse(refusal, "JSON file* not in UTF-8",
                    "is a JSON file not in UTF-8: `%s` mends it where that is its encoding", command);
    } else if (row) {
        refuse_shape(file, "file* of JSON objects in a row", comma ? ARRAY_OF : "jq -c .", refusal);
    }
    return refusal->what != NULL;
}

typedef enum { LOOK_DONE, LOOK_FURTHER } Look;

// Text that begins as JSON does, or is named so.
static Look judge_json(PackInput *file, const Window *window, const PackConfig *config,
                       PackRefusal *refusal) {
    bool named = is_named_json(file->path), full = window->whole || window->text.size >= MAX_WINDOW;
    bool sequence = window->text.data[0] == JSON_SEQUENCE_MARK;
    JsonShape shape = json_shape(window->text.data, window->text.size);
    bool right = shape.state == JSON_WHOLE || (shape.state == JSON_CUT && !window->whole);
    if (right && shape.first == '[' && judge_array(file, window, &shape, named, refusal)) return LOOK_DONE;
    if (right && shape.first == '{' && shape.state == JSON_CUT && !full) return LOOK_FURTHER;
    if (right && shape.first == '{' && shape.in_lines) {
        refuse_shape(file, "pretty-printed JSON file", sequence ? "jq --seq -c ." : "jq -c .", refusal);
        return LOOK_DONE;
    }
    Lines lines = read_lines(window, config->field);
    if (right && lines.texts < lines.other && judge_objects(file, window, &shape, lines.reason, refusal))
        return LOOK_DONE;
    bool long_line = right && shape.first == '{' && shape.state == JSON_CUT;
    if (long_line || (lines.texts > 0 && (named || lines.texts >= lines.other))) {
        file->json_lines = true;
        return LOOK_DONE;
    }
    if (!named && lines.objects <= lines.other) return LOOK_DONE; // a text
    if (!full) return LOOK_FURTHER;
    if (lines.objects + lines.other == 0)
        pack_refuse(refusal, "blank file", "holds nothing but blanks");
    else if (lines.objects > 0)
        pack_refuse(refusal, "JSON file* without the field", "has %s: %s", lines.reason,
                    strstr(lines.reason, "texts are in") ? "name another with --field"
                                                         : "write it with jq, a text in each line");
    else
        pack_refuse(refusal, "broken JSON file",
                    "is no JSON, one object a line (%s); rename plain text to .txt", lines.reason);
    return LOOK_DONE;
}

// A line before the first object is what a tool has said, most often.
static bool may_be_json(const PackInput *file, const ByteBuffer *text) {
    const char *at = text->data, *end = at + text->size;
    while (at < end && (strchr(" \t\r\n", *at) || *at == JSON_SEQUENCE_MARK)) at++;
    if (is_named_json(file->path) || (at < end && (*at == '{' || *at == '['))) return true;
    const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at));
    return newline && newline + 1 < end && newline[1] == '{';
}

// ---- What other programs write

#define PYTHON "python3 -c \"import sys, json, "
#define OPEN   "open(sys.argv[1] if sys.argv[1:] else 0"

// Dictionaries and strings, a line each, would be one document with all their marks.
static bool judge_lines(const PackInput *file, const Window *window, PackRefusal *refusal) {
    const ByteBuffer *text = &window->text;
    if (text->size == 0) return false;
    if (text_lines_python(text->data, text->size, window->whole))
        refuse_shape(file, "file* of Python dictionaries",
                     PYTHON "ast; [print(json.dumps(ast.literal_eval(s))) for s in " OPEN
                            ", encoding='utf-8-sig') if s.strip()]\"",
                     refusal);
    else if (text_lines_strings(text->data, text->size, window->whole))
        refuse_shape(file, "file* of JSON strings", "jq -c '{text: .}'", refusal);
    else if (text_lines_behind(text->data, text->size, window->whole))
        refuse_shape(file, "file* of JSON behind something else", "sed 's/^[^{]*//'", refusal);
    return refusal->what != NULL;
}

// Whether the name has such an ending, maybe with that of compression or of a browser's copy behind it.
static bool is_named(const char *path, const char *ending) {
    static const char *const more[] = {".gz", ".zst", ".1", "?"};
    const char *at = strcasestr(path_name(path), ending);
    if (!at) return false;
    at += strlen(ending);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (strncmp(at, more[i], strlen(more[i])) == 0) return true;
    return *at == 0;
}

// Of a table whose lines are not of one width.
static char header_delimiter(const ByteBuffer *text, bool tabs) {
    if (tabs) return '\t';
    const char *newline = (const char *)memchr(text->data, '\n', text->size);
    size_t size = newline ? (size_t)(newline - text->data) : text->size;
    return memchr(text->data, ';', size) && !memchr(text->data, ',', size) ? ';' : ',';
}

// A web page where the name promises none: what a failed download leaves, most often.
static bool is_hidden_page(const PackInput *file, const ByteBuffer *text) {
    return foreign_is_page(text->data, text->size) && !strcasestr(path_name(file->path), "htm") &&
           !strcasestr(path_name(file->path), "xml") && !path_has_ending(file->path, ".svg");
}

// A table by its name is no text; one by its lines alone is said, unless its documents are parted.
static void judge_table(PackInput *file, const Window *window, bool parted, PackRefusal *refusal) {
    char delimiter = text_lines_table(window->text.data, window->text.size, window->whole), tool[350],
         sign[4];
    bool tabs = is_named(file->path, ".tsv");
    file->table = delimiter != 0 && !parted;
    file->page = is_hidden_page(file, &window->text);
    if (!tabs && !is_named(file->path, ".csv")) return;
    if (!delimiter) delimiter = header_delimiter(&window->text, tabs);
    snprintf(sign, sizeof sign, delimiter == '\t' ? "\\t" : "%c", delimiter);
    snprintf(tool, sizeof tool,
             PYTHON
             "csv; csv.field_size_limit(2**31 - 1); [print(json.dumps(r)) for r in csv.DictReader(" OPEN
             ", newline='', encoding='%s', errors='replace'), delimiter='%s')]\"",
             file->encoded ? "utf-16" : "utf-8-sig", sign);
    refuse_shape(file, "table", tool, refusal);
    size_t used = strlen(refusal->why);
    snprintf(refusal->why + used, sizeof refusal->why - used, "; named .txt it is taken as a text");
}

static bool look_for_json(PackInput *file, Window *window, const PackConfig *config, PackRefusal *refusal,
                          Error *error) {
    if (window->text.size == 0 || !may_be_json(file, &window->text)) return true;
    while (judge_json(file, window, config, refusal) == LOOK_FURTHER) {
        size_t before = window->text.size;
        if (!widen(window, 4 * before, error)) return false;
    }
    return true;
}

// ---- The whole

// A name that claims what the content is not: of a download that went wrong, most often.
static void judge_name(const PackInput *file, PackRefusal *refusal) {
    const FileKind *named = file_kind_named(file->path);
    if (!named || file->json_lines || file->packing != FILE_OTHER) return;
    if (named->size == 0) { // it has no magic number to be missed
        refuse_kind(file, named, refusal);
        return;
    }
    pack_refuse(refusal, "misnamed file", "is named %s but is no %s: fetch it again or rename it",
                strrchr(file->path, '.'), named->name);
}

static bool look_at_text(PackInput *file, Window *window, const PackConfig *config, PackRefusal *refusal,
                         Error *error) {
    if (!widen(window, WINDOW, error)) return false;
    const ByteBuffer *text = &window->text;
    file->encoded = window->file.decoder.encoding > TEXT_UTF8;
    const FileKind *kind = file->packing == FILE_OTHER ? NULL : file_kind_of(text->data, text->size);
    if (kind)
        refuse_kind(file, kind, refusal);
    else if (text_pickle(text->data, text->size))
        refuse_pickle(file, refusal);
    else
        judge_bytes(file, text, &config->separator, refusal);
    if (refusal->what || judge_lines(file, window, refusal)) return true;
    if (!look_for_json(file, window, config, refusal, error)) return false;
    if (!refusal->what && !file->json_lines && text->size > 0) {
        judge_table(file, window, config->separator.size > 0, refusal);
        char *folder = path_parent(file->path);
        file->list = text_lines_of_files(text->data, text->size, folder);
        free(folder);
    }
    if (!refusal->what) judge_name(file, refusal);
    return true;
}

bool pack_look(PackInput *file, const PackConfig *config, const char *first, size_t n_first,
               PackRefusal *refusal, Error *error) {
    const FileKind *kind = file_kind_of(first, n_first);
    if (kind && (kind->reader == FILE_GZIP || kind->reader == FILE_ZSTD)) {
        file->packing = kind->reader;
    } else if (kind) {
        refuse_kind(file, kind, refusal);
        return true;
    }
    Window window;
    memset(&window, 0, sizeof window);
    if (!text_file_open(&window.file, file, error)) return false;
    bool ok = look_at_text(file, &window, config, refusal, error);
    text_file_close(&window.file);
    bytes_free(&window.text);
    return ok;
}
