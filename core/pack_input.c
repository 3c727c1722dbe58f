// The files that `pack` reads: folders walked, formats told apart, sizes known before; see pack_input.h.
#include "pack_input.h"

#include "files.h"
#include "json_lines.h"
#include "text_source.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEEK_SIZE    8192      // first bytes of a file that tell its format
#define PEEK_TEXT    (1 << 20) // bytes of a .json file whose lines may tell it
#define SAMPLES      32        // of the files of a kind
#define SAMPLE_BYTES (1 << 17) // bytes on disk of one

// ---- One file

static bool ends_with(const char *name, size_t length, const char *ending) {
    size_t size = strlen(ending);
    return length >= size && strncasecmp(name + length - size, ending, size) == 0;
}

// Size and first bytes of a file; false when it is not one that can be read, with the error set.
static bool peek(const char *path, char *first, ssize_t *n_first, int64_t *size, Error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not make the program wait
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) {
        error_set_errno(error, STATUS_DATA, "cannot open input %s", path);
        if (file >= 0) close(file);
        return false;
    }
    bool ok = S_ISREG(info.st_mode) || error_set(error, STATUS_DATA, "input %s is no regular file", path);
    if (ok) *n_first = read(file, first, PEEK_SIZE);
    if (ok && *n_first < 0) ok = error_set_errno(error, STATUS_DATA, "cannot read input %s", path);
    *size = (int64_t)info.st_size;
    close(file);
    return ok;
}

static PackInput *grow(PackInputs *inputs) {
    // The array doubles whenever the count reaches a power of two.
    if ((inputs->count & (inputs->count - 1)) == 0) {
        size_t capacity = inputs->count ? 2 * (size_t)inputs->count : 1;
        PackInput *grown = (PackInput *)alloc_or_exit(capacity, sizeof *grown);
        if (inputs->count) memcpy(grown, inputs->files, (size_t)inputs->count * sizeof *grown);
        free(inputs->files);
        inputs->files = grown;
    }
    return &inputs->files[inputs->count++];
}

// Whether one of the first lines of a .json file is a document: in a folder of sources such a file may be
// anything.
static bool holds_json_lines(const PackInput *input, bool *found, Error *error) {
    TextFile file;
    if (!text_file_open(&file, input, error)) return false;
    ByteBuffer text = {NULL, 0, 0}, document = {NULL, 0, 0};
    char reason[256];
    size_t got = 1, start = 0; // start of the first line that was not tried
    bool ok = true;
    *found = false;
    while (ok && got > 0 && !*found && text.size < PEEK_TEXT) {
        size_t before = text.size;
        ok = text_file_read(&file, bytes_reserve(&text, 1 << 16), 1 << 16, &got, error);
        text.size += ok ? got : 0;
        for (size_t at = before; ok && !*found && at <= text.size; at++) {
            bool line_ends = at < text.size ? text.data[at] == '\n' : got == 0;
            if (!line_ends) continue;
            *found = json_line_text(text.data + start, at - start, &document, reason, sizeof reason);
            start = at + 1;
        }
    }
    text_file_close(&file);
    bytes_free(&text);
    bytes_free(&document);
    return ok;
}

// Refuses what is no plain array of ids.
static bool check_ids(const char *path, const char *first, ssize_t n_first, bool gzip, int64_t size,
                      int token_bytes, Error *error) {
    if (n_first >= 6 && memcmp(first, "\x93NUMPY", 6) == 0) {
        return error_set(error, STATUS_DATA, "input %s is a NumPy file; write plain ids with array.tofile",
                         path);
    }
    if (gzip || size % token_bytes == 0) return true;
    return error_set(error, STATUS_DATA,
                     "input %s has %lld bytes, no multiple of the %d of an id: see --tokens", path,
                     (long long)size, token_bytes);
}

// Refuses a shard, whether text or ids are wanted; in a folder of texts it is left out as binary.
static bool check_no_shard(const char *path, const char *first, ssize_t n_first, Error *error) {
    if (n_first < 8 || memcmp(first, "LHSHARD\n", 8) != 0) return true;
    return error_set(error, STATUS_DATA, "input %s is a shard already; train reads it with --data", path);
}

static bool add_file(PackInputs *inputs, const char *path, bool from_folder, int token_bytes, Error *error) {
    char first[PEEK_SIZE];
    ssize_t n_first = 0;
    int64_t size = 0;
    if (!peek(path, first, &n_first, &size, error)) return false;
    if ((!from_folder || token_bytes > 0) && !check_no_shard(path, first, n_first, error)) return false;
    bool gzip = n_first >= 2 && first[0] == '\x1f' && first[1] == '\x8b';
    size_t length = strlen(path);
    if (ends_with(path, length, ".gz")) {
        length -= 3;
        if (!gzip) {
            return error_set(error, STATUS_DATA,
                             "input %s is named .gz but is not gzip: fetch it again or rename it", path);
        }
    }
    bool named_gzip = path[length] != 0;
    if (token_bytes > 0) {
        // What an id happens to look like tells nothing.
        gzip = gzip && named_gzip;
        from_folder = false;
        if (!check_ids(path, first, n_first, gzip, size, token_bytes, error)) return false;
        length = 0;
    }
    bool json_lines = ends_with(path, length, ".json") || ends_with(path, length, ".jsonl") ||
                      ends_with(path, length, ".ndjson");
    if (from_folder && !gzip && !json_lines && memchr(first, 0, (size_t)n_first)) {
        inputs->binary_files++;
        return true;
    }
    PackInput *file = grow(inputs);
    file->path = copy_or_exit(path);
    file->index = inputs->count - 1;
    file->json_lines = json_lines;
    file->gzip = gzip;
    file->from_folder = from_folder;
    file->size = size;
    inputs->bytes += size;
    bool doubtful = from_folder && ends_with(path, length, ".json");
    return !doubtful || holds_json_lines(file, &file->json_lines, error);
}

// ---- Folders

// Adds the files that a walk comes to; false on an error.
static bool collect_entry(FTS *walk, FTSENT *entry, PathList *found, Error *error) {
    bool hidden = entry->fts_level > 0 && entry->fts_name[0] == '.';
    switch (entry->fts_info) {
    case FTS_D:
        if (hidden) fts_set(walk, entry, FTS_SKIP);
        return true;
    case FTS_F:
        if (!hidden) paths_add(found, entry->fts_path);
        return true;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        errno = entry->fts_errno;
        return error_set_errno(error, STATUS_DATA, "cannot read input %s", entry->fts_path);
    default: // leaving a folder, a loop of links, a link to nothing, a pipe or a device
        return true;
    }
}

static bool add_folder(PackInputs *inputs, const char *folder, int token_bytes, Error *error) {
    char *root = copy_or_exit(folder);
    char *roots[] = {root, NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    bool ok = walk != NULL || error_set_errno(error, STATUS_DATA, "cannot read input %s", folder);
    PathList found = {NULL, 0};
    while (ok) {
        errno = 0;
        FTSENT *entry = fts_read(walk);
        if (!entry) {
            ok = errno == 0 || error_set_errno(error, STATUS_DATA, "cannot read input %s", folder);
            break;
        }
        ok = collect_entry(walk, entry, &found, error);
    }
    paths_sort(&found);
    for (int64_t i = 0; ok && i < found.count; i++)
        ok = add_file(inputs, found.paths[i], true, token_bytes, error);
    if (walk) fts_close(walk);
    paths_free(&found);
    free(root);
    return ok;
}

bool pack_inputs_list(const char **names, int n_names, int token_bytes, PackInputs *inputs, Error *error) {
    memset(inputs, 0, sizeof *inputs);
    bool ok = true;
    for (int i = 0; ok && i < n_names; i++) {
        ok = folder_exists(names[i]) ? add_folder(inputs, names[i], token_bytes, error)
                                     : add_file(inputs, names[i], false, token_bytes, error);
    }
    if (ok && inputs->count == 0) {
        ok = error_set(error, STATUS_DATA, "no text file in %s%s", n_names > 0 ? names[0] : "the inputs",
                       n_names > 1 ? " and the other inputs" : "");
    }
    if (!ok) pack_inputs_free(inputs);
    return ok;
}

void pack_inputs_free(PackInputs *inputs) {
    for (int64_t i = 0; i < inputs->count; i++) free(inputs->files[i].path);
    free(inputs->files);
    memset(inputs, 0, sizeof *inputs);
}

// ---- Estimate

// Tokens that the whole lines at the start of `text` make, a byte of text; 1 when there is no whole line.
static double tokens_per_json_byte(const ByteBuffer *text) {
    ByteBuffer document = {NULL, 0, 0};
    char reason[256];
    const char *at = text->data, *end = at + text->size, *newline;
    double tokens = 0;
    while (at < end && (newline = (const char *)memchr(at, '\n', (size_t)(end - at))) != NULL) {
        document.size = 0;
        if (json_line_text(at, (size_t)(newline - at), &document, reason, sizeof reason)) {
            tokens += (double)document.size + 2;
        }
        at = newline + 1;
    }
    bytes_free(&document);
    return at == text->data ? 1.0 : tokens / (double)(at - text->data);
}

// Tokens that a byte on disk makes, about, from some `wanted` bytes at the start of a file.
static bool sample_file(const PackInput *input, int64_t wanted, double *tokens, Error *error) {
    TextFile file;
    if (!text_file_open(&file, input, error)) return false;
    ByteBuffer text = {NULL, 0, 0};
    bool ok = true;
    size_t got = 1;
    while (ok && got > 0 && text_file_position(&file) < wanted && (int64_t)text.size < 16 * wanted) {
        ok = text_file_read(&file, bytes_reserve(&text, 1 << 16), 1 << 16, &got, error);
        text.size += ok ? got : 0;
    }
    double disk_bytes = (double)text_file_position(&file);
    *tokens = text.size == 0 ? 0 : (double)text.size / disk_bytes;
    if (input->json_lines && text.size > 0) *tokens *= tokens_per_json_byte(&text);
    text_file_close(&file);
    bytes_free(&text);
    return ok;
}

static bool is_kind(const PackInput *file, bool json_lines, bool gzip) {
    return file->json_lines == json_lines && file->gzip == gzip;
}

// Adds the estimate for all files of one kind. Samples stand at even distances in the bytes of all files, one
// behind the other: each is for as many bytes, whether these are of one large file or of many small ones.
static bool estimate_kind(const PackInputs *inputs, bool json_lines, bool gzip, double *total, Error *error) {
    int64_t bytes = 0, end = 0, taken = 0; // end: of the files so far
    for (int64_t i = 0; i < inputs->count; i++) {
        if (is_kind(&inputs->files[i], json_lines, gzip)) bytes += inputs->files[i].size;
    }
    for (int64_t i = 0; i < inputs->count; i++) {
        const PackInput *file = &inputs->files[i];
        if (!is_kind(file, json_lines, gzip)) continue;
        int64_t here = -taken;
        end += file->size;
        while (taken < SAMPLES && ((double)taken + 0.5) / SAMPLES * (double)bytes < (double)end) taken++;
        here += taken;
        double tokens = 0; // a byte
        if (here > 0 && !sample_file(file, here * SAMPLE_BYTES, &tokens, error)) return false;
        *total += (double)here / SAMPLES * (double)bytes * tokens;
    }
    return true;
}

bool pack_inputs_estimate(const PackInputs *inputs, int token_bytes, int64_t *tokens, Error *error) {
    double total = 0;
    for (int64_t i = 0; i < inputs->count; i++) {
        const PackInput *file = &inputs->files[i];
        if (!file->json_lines && !file->gzip) total += (double)file->size + 2;
    }
    bool ok = estimate_kind(inputs, false, true, &total, error) &&
              estimate_kind(inputs, true, false, &total, error) &&
              estimate_kind(inputs, true, true, &total, error);
    *tokens = (int64_t)(token_bytes > 0 ? total / token_bytes : total);
    return ok;
}
