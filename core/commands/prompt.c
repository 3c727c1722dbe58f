// The prompt of `generate`; see prompt.h.
#include "core/commands/prompt.h"

#include "core/base/files.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES ((size_t)1 << 30)

static bool read_stream(FILE *stream, const char *path, ByteBuffer *prompt, Error *error) {
    char piece[1 << 16];
    for (size_t got; (got = fread(piece, 1, sizeof piece, stream)) > 0;) {
        if (prompt->size + got > MAX_BYTES)
            return error_set(error, STATUS_DATA, "--prompt-file %s: more than %zu bytes", path, MAX_BYTES);
        bytes_append(prompt, piece, got);
    }
    return !ferror(stream) || error_set_errno(error, STATUS_DATA, "--prompt-file %s: cannot be read", path);
}

// What a shell makes of <(command), and /dev/stdin.
static bool is_pipe(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
}

static bool read_pipe(const char *path, ByteBuffer *prompt, Error *error) {
    FILE *stream = fopen(path, "rbe");
    if (!stream) return error_set_errno(error, STATUS_DATA, "--prompt-file %s: cannot be opened", path);
    bool ok = read_stream(stream, path, prompt, error);
    fclose(stream);
    return ok;
}

static bool read_file(const char *path, ByteBuffer *prompt, Error *error) {
    if (is_pipe(path)) return read_pipe(path, prompt, error);
    size_t size;
    char *text = file_read(path, MAX_BYTES, &size, error);
    if (!text) return error_prefix(error, "--prompt-file");
    bytes_append(prompt, text, size);
    free(text);
    return true;
}

static bool is_utf8(const ByteBuffer *prompt) {
    json_t *text = json_stringn(prompt->data, prompt->size);
    bool is = text != NULL;
    json_decref(text);
    return is;
}

static void warn_of_oddities(const ByteBuffer *prompt, bool file) {
    size_t zeros = 0;
    for (size_t i = 0; i < prompt->size; i++) zeros += prompt->data[i] == 0;
    if (file && prompt->size == 0) warn("the prompt is empty: a document begins from nothing");
    if (zeros > 0) warn("the prompt has NUL bytes, %zu among its %zu: is it text?", zeros, prompt->size);
    if (file && prompt->size >= 3 && memcmp(prompt->data, "\xef\xbb\xbf", 3) == 0)
        warn("the prompt begins with a byte order mark, which `pack` takes off: remove it");
    if (zeros == 0 && prompt->size > 0 && !is_utf8(prompt))
        warn("the prompt is not UTF-8: its bytes are taken as they are");
}

bool prompt_read(const Options *options, ByteBuffer *prompt, Error *error) {
    memset(prompt, 0, sizeof *prompt);
    const char *path = options->prompt_file;
    bool ok = true;
    if (path && options->source[OPTION_prompt] == SOURCE_COMMAND_LINE) {
        ok = error_set(error, STATUS_USAGE, "--prompt and --prompt-file: give one of them");
    } else if (!path) {
        bytes_append(prompt, options->prompt, strlen(options->prompt));
    } else {
        ok =
            strcmp(path, "-") == 0 ? read_stream(stdin, path, prompt, error) : read_file(path, prompt, error);
    }
    if (ok) warn_of_oddities(prompt, path != NULL);
    return ok;
}

// ---- Token ids

static bool refuse_id(const char *word, size_t length, int64_t V, Error *error) {
    return error_set(error, STATUS_USAGE,
                     "--prompt-ids: '%.*s' is no id from 0 to %lld; ids stand with commas or blanks between",
                     (int)length, word, (long long)V - 1);
}

// Ids as text into ids as numbers. The text ends in a zero byte.
static bool parse_ids(const char *text, int64_t V, ByteBuffer *ids, Error *error) {
    static const char between[] = ", \t\r\n";
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        size_t length = strcspn(text, between);
        bool digits = strspn(text, "0123456789") == length && length < 12;
        long long id = digits ? strtoll(text, NULL, 10) : -1;
        if (id < 0 || id >= V) return refuse_id(text, length < 40 ? length : 40, V, error);
        int32_t token = (int32_t)id;
        bytes_append(ids, &token, sizeof token);
        text += length;
    }
    return ids->size > 0 ||
           error_set(error, STATUS_USAGE, "--prompt-ids: no id is given; a document begins with its mark");
}

bool prompt_read_ids(const Options *options, int64_t V, ByteBuffer *ids, Error *error) {
    ByteBuffer text = {NULL, 0, 0};
    memset(ids, 0, sizeof *ids);
    if (options->prompt_file || options->source[OPTION_prompt] == SOURCE_COMMAND_LINE)
        return error_set(error, STATUS_USAGE, "--prompt-ids: leave out --prompt and --prompt-file");
    bool piped = strcmp(options->prompt_ids, "-") == 0;
    bool ok = !piped || read_stream(stdin, "-", &text, error);
    if (!piped) bytes_append(&text, options->prompt_ids, strlen(options->prompt_ids));
    bytes_append(&text, "", 1);
    if (ok && strlen(text.data) + 1 != text.size)
        ok = error_set(error, STATUS_USAGE,
                       "--prompt-ids: a zero byte is no text; ids are written as numbers");
    ok = ok && parse_ids(text.data, V, ids, error);
    bytes_free(&text);
    if (!ok) bytes_free(ids);
    return ok;
}
