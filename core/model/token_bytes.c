// Bytes of text by id; see token_bytes.h.
#include "core/model/token_bytes.h"

#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/base/names.h"

#include <stdlib.h>
#include <string.h>

#define SPACE    "\xe2\x96\x81" // "▁"
#define FALLBACK 6              // characters of "<0x0A>"

// ---- The decoder: how pieces become text.

typedef struct {
    bool byte_level;    // a character of a piece is a byte
    bool spaces;        // "▁" is a space
    bool byte_fallback; // "<0x0A>" is a byte
    bool strips;        // the space before a text is taken away
} Decoder;

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool decoder_byte_level(const json_t *step, Decoder *d) {
    (void)step;
    return d->byte_level = true;
}

static bool decoder_metaspace(const json_t *step, Decoder *d) {
    const json_t *prefix = json_object_get(step, "add_prefix_space"); // its form before prepend_scheme
    d->spaces = true;
    d->strips = strcmp(text_of(step, "prepend_scheme"), "never") != 0 && !json_is_false(prefix);
    return strcmp(text_of(step, "replacement"), SPACE) == 0;
}

static bool decoder_replace(const json_t *step, Decoder *d) {
    d->spaces = true;
    return strcmp(text_of(json_object_get(step, "pattern"), "String"), SPACE) == 0 &&
           strcmp(text_of(step, "content"), " ") == 0;
}

static bool decoder_byte_fallback(const json_t *step, Decoder *d) {
    (void)step;
    return d->byte_fallback = true;
}

static bool decoder_fuse(const json_t *step, Decoder *d) {
    (void)step, (void)d;
    return true;
}

static bool decoder_strip(const json_t *step, Decoder *d) {
    d->strips = json_integer_value(json_object_get(step, "start")) == 1;
    return d->strips && json_integer_value(json_object_get(step, "stop")) == 0 &&
           strcmp(text_of(step, "content"), " ") == 0;
}

// False where a step is none of these: what it makes of pieces is not known.
static bool decoder_read(const json_t *step, Decoder *d) {
    static const struct {
        const char *type;
        bool (*read)(const json_t *, Decoder *);
    } steps[] = {{"ByteLevel", decoder_byte_level},
                 {"Metaspace", decoder_metaspace},
                 {"Replace", decoder_replace},
                 {"ByteFallback", decoder_byte_fallback},
                 {"Fuse", decoder_fuse},
                 {"Strip", decoder_strip}};
    const char *type = text_of(step, "type");
    const json_t *all = json_object_get(step, "decoders"), *one;
    size_t i;
    if (strcmp(type, "Sequence") == 0) {
        json_array_foreach(all, i, one) if (!decoder_read(one, d)) return false;
        return true;
    }
    for (i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strcmp(type, steps[i].type) == 0) return steps[i].read(step, d);
    return false;
}

// ---- Pieces

// The character of valid UTF-8 that begins here, and its bytes.
static uint32_t character(const unsigned char *at, size_t *length) {
    *length = *at < 0x80 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    uint32_t code = *length == 1 ? *at : *at & (0x7f >> *length);
    for (size_t i = 1; i < *length; i++) code = code << 6 | (at[i] & 0x3f);
    return code;
}

// Whether the character stands for a byte, as GPT-2 writes bytes: printable ones of Latin-1 for themselves,
// the 68 others from U+0100 on.
static bool stands_for_byte(uint32_t code) {
    bool printable = (code >= 33 && code <= 126) || (code >= 161 && code <= 255 && code != 173);
    return printable || (code >= 256 && code < 256 + 68);
}

// Of a piece with a character that stands for no byte, its own bytes, as the decoder has it.
static int64_t byte_level_bytes(const char *piece) {
    size_t length, count = 0, size = strlen(piece);
    for (const char *at = piece; *at; at += length, count++)
        if (!stands_for_byte(character((const unsigned char *)at, &length))) return (int64_t)size;
    return (int64_t)count;
}

static bool is_fallback(const char *piece) {
    return strlen(piece) == FALLBACK && strncmp(piece, "<0x", 3) == 0 && piece[FALLBACK - 1] == '>' &&
           strspn(piece + 3, "0123456789ABCDEF") == 2;
}

static int64_t piece_bytes(const Decoder *d, const char *piece) {
    if (d->byte_level) return byte_level_bytes(piece);
    if (d->byte_fallback && is_fallback(piece)) return 1;
    int64_t bytes = (int64_t)strlen(piece);
    for (const char *at = piece; (at = strstr(at, SPACE)) != NULL; at += strlen(SPACE))
        bytes -= (int64_t)strlen(SPACE) - 1;
    return bytes;
}

// ---- The table

static bool put(TokenBytes *t, const Decoder *d, int64_t id, int64_t bytes, const char *piece) {
    if (id < 0 || id >= t->count) return id >= 0; // beyond the model's vocabulary: no target can be it
    t->bytes[id] = (int32_t)bytes;
    t->spaced[id] = bytes > 0 && d->strips && strncmp(piece, SPACE, strlen(SPACE)) == 0;
    return true;
}

// Tokens beside the vocabulary, as marks are, and some of its own told anew. A byte-level tokenizer has their
// text as it is.
static bool put_added(TokenBytes *t, const Decoder *d, const json_t *added) {
    const json_t *token;
    size_t i;
    json_array_foreach(added, i, token) {
        const char *piece = text_of(token, "content");
        int64_t bytes = json_is_true(json_object_get(token, "special")) ? TOKEN_MARK
                        : d->byte_level                                 ? (int64_t)strlen(piece)
                                                                        : piece_bytes(d, piece);
        const json_t *id = json_object_get(token, "id");
        if (!json_is_integer(id) || !put(t, d, json_integer_value(id), bytes, piece)) return false;
    }
    return true;
}

// What is wrong, or NULL.
static const char *fill(TokenBytes *t, const json_t *file) {
    json_t *vocabulary = json_object_get(json_object_get(file, "model"), "vocab"), *id;
    Decoder decoder = {false, false, false, false};
    const char *piece;
    if (!json_is_object(vocabulary) || !decoder_read(json_object_get(file, "decoder"), &decoder) ||
        decoder.byte_level == decoder.spaces)
        return "its tokenizer.json is neither byte-level nor one that writes spaces as \"" SPACE "\"";
    bool right = true;
    json_object_foreach(vocabulary, piece, id) {
        right = right && json_is_integer(id) &&
                put(t, &decoder, json_integer_value(id), piece_bytes(&decoder, piece), piece);
    }
    return right && put_added(t, &decoder, json_object_get(file, "added_tokens"))
               ? NULL
               : "its tokenizer.json has ids that are no numbers";
}

void token_bytes_read(TokenBytes *t, const char *folder, int64_t vocabulary) {
    Error error;
    memset(t, 0, sizeof *t);
    char *path = path_join(folder, TOKENIZER_FILE);
    if (file_exists(path)) {
        json_t *file = json_file_read(path, &error);
        t->count = vocabulary;
        t->bytes = (int32_t *)alloc_or_exit((size_t)vocabulary, sizeof *t->bytes);
        t->spaced = (bool *)alloc_or_exit((size_t)vocabulary, sizeof *t->spaced);
        for (int64_t i = 0; i < vocabulary; i++) t->bytes[i] = TOKEN_UNKNOWN;
        const char *wrong = file ? fill(t, file) : error.message;
        if (wrong) t->count = 0;
        t->why = wrong ? copy_or_exit(wrong) : NULL;
        json_decref(file);
    }
    free(path);
}

void token_bytes_free(TokenBytes *t) {
    free(t->bytes);
    free(t->spaced);
    free(t->why);
    memset(t, 0, sizeof *t);
}

int64_t token_bytes_of(const TokenBytes *t, int64_t before, int64_t token) {
    if (token < 0 || token >= t->count || t->bytes[token] == TOKEN_UNKNOWN) return TOKEN_UNKNOWN;
    if (t->bytes[token] == TOKEN_MARK) return 0;
    bool begins = before >= 0 && before < t->count && t->bytes[before] == TOKEN_MARK;
    return t->bytes[token] - (begins && t->spaced[token] ? 1 : 0);
}
