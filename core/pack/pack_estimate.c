// About how many tokens the inputs of `pack` make; see pack_estimate.h.
#include "core/pack/pack_estimate.h"

#include "core/pack/json_lines.h"
#include "core/pack/text_file.h"

#include <string.h>

#define SAMPLES      32        // of the files of a kind
#define SAMPLE_BYTES (1 << 17) // bytes on disk of one

// Tokens that the whole lines at the start of `text` make, a byte of text; 1 when there is no whole line.
static double tokens_per_json_byte(const ByteBuffer *text, const char *field) {
    ByteBuffer document = {NULL, 0, 0};
    char reason[256];
    const char *at = text->data, *end = at + text->size, *newline;
    double tokens = 0;
    while (at < end && (newline = (const char *)memchr(at, '\n', (size_t)(end - at))) != NULL) {
        document.size = 0;
        JsonLine line = json_line_text(at, (size_t)(newline - at), field, &document, reason, sizeof reason);
        if (line == JSON_LINE_TEXT) tokens += (double)document.size + 2;
        at = newline + 1;
    }
    bytes_free(&document);
    return at == text->data ? 1.0 : tokens / (double)(at - text->data);
}

// Tokens that a byte on disk makes, about, from some `wanted` bytes at the start of a file.
static bool sample_file(const PackInput *input, const PackConfig *config, int64_t wanted, double *tokens,
                        Error *error) {
    TextFile file;
    if (!text_file_open(&file, input, error)) return false;
    ByteBuffer text = {NULL, 0, 0};
    bool ok = true;
    size_t got = 1;
    while (ok && got > 0 && text_file_position(&file) < wanted && (int64_t)text.size < 16 * wanted) {
        char *room = bytes_reserve(&text, 1 << 16);
        ok = config->id_bytes > 0 ? text_file_read_bytes(&file, room, 1 << 16, &got, error)
                                  : text_file_read(&file, room, 1 << 16, &got, error);
        text.size += ok ? got : 0;
    }
    double disk_bytes = (double)text_file_position(&file);
    *tokens = text.size == 0 ? 0 : (double)text.size / disk_bytes;
    if (input->json_lines && text.size > 0) *tokens *= tokens_per_json_byte(&text, config->field);
    text_file_close(&file);
    bytes_free(&text);
    return ok;
}

// Files of one kind are alike in how many tokens a byte of them makes. Kind 0 needs no samples.
static int kind_of(const PackInput *file) {
    return (file->packing == FILE_GZIP   ? 1
            : file->packing == FILE_ZSTD ? 2
                                         : 0) +
           3 * file->json_lines + 6 * file->encoded;
}
#define KINDS 12

// Adds the estimate for all files of one kind. Samples stand at even distances in the bytes of all files, one
// behind the other: each is for as many bytes, whether these are of one large file or of many small ones.
static bool estimate_kind(const PackInputs *inputs, const PackConfig *config, int kind, double *total,
                          Error *error) {
    int64_t bytes = 0, end = 0, taken = 0; // end: of the files so far
    for (int64_t i = 0; i < inputs->count; i++) {
        if (kind_of(&inputs->files[i]) == kind) bytes += inputs->files[i].size;
    }
    for (int64_t i = 0; i < inputs->count; i++) {
        const PackInput *file = &inputs->files[i];
        if (kind_of(file) != kind) continue;
        int64_t here = -taken;
        end += file->size;
        while (taken < SAMPLES && ((double)taken + 0.5) / SAMPLES * (double)bytes < (double)end) taken++;
        here += taken;
        double tokens = 0; // a byte
        if (here > 0 && !sample_file(file, config, here * SAMPLE_BYTES, &tokens, error)) return false;
        *total += (double)here / SAMPLES * (double)bytes * tokens;
    }
    return true;
}

bool pack_estimate(const PackInputs *inputs, const PackConfig *config, int64_t *tokens, Error *error) {
    double total = 0;
    for (int64_t i = 0; i < inputs->count; i++) {
        const PackInput *file = &inputs->files[i];
        if (kind_of(file) == 0) total += (double)file->size + 2;
    }
    bool ok = true;
    for (int kind = 1; ok && kind < KINDS; kind++) ok = estimate_kind(inputs, config, kind, &total, error);
    *tokens = (int64_t)(config->id_bytes > 0 ? total / config->id_bytes : total);
    return ok;
}
