// Inputs of `pack` that another one is a copy of; see pack_copies.h.
#include "core/pack/pack_copies.h"

#include "core/pack/text_file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#define COPY      "file* with the content of another"
#define CHUNK     ((size_t)1 << 16)  // bytes compared at a time
#define LONG_TEXT ((int64_t)1 << 16) // bytes of a text that nobody writes twice

typedef struct {
    int64_t index;
    const char *path;
    size_t stem;     // bytes of the path without the ending of its compression
    int64_t size;    // on disk
    uint64_t begins; // hash of its first bytes on disk
} Candidate;

// ---- Whether two are the same

typedef enum { UNLIKE, BEGIN_ALIKE, SAME } Likeness;

// A whole chunk, but at the end.
static bool read_chunk(TextFile *file, char *out, size_t *size, Error *error) {
    size_t got = 1;
    for (*size = 0; *size < CHUNK && got > 0; *size += got) {
        if (!text_file_read_bytes(file, out + *size, CHUNK - *size, &got, error)) return false;
    }
    return true;
}

static bool compare_open(TextFile *one, TextFile *other, char *chunks, Likeness *likeness, Error *error) {
    size_t size = CHUNK, other_size = CHUNK;
    *likeness = UNLIKE;
    while (size == CHUNK && other_size == CHUNK) {
        if (!read_chunk(one, chunks, &size, error) || !read_chunk(other, chunks + CHUNK, &other_size, error))
            return false;
        size_t both = size < other_size ? size : other_size;
        if (memcmp(chunks, chunks + CHUNK, both) != 0) return true;
        if (both > 0) *likeness = BEGIN_ALIKE;
    }
    if (size == other_size) *likeness = SAME;
    return true;
}

static bool compare(const PackInput *one, const PackInput *other, Likeness *likeness, Error *error) {
    TextFile files[2];
    if (!text_file_open(&files[0], one, error)) return false;
    bool ok = text_file_open(&files[1], other, error);
    if (ok) {
        char *chunks = (char *)alloc_or_exit(2, CHUNK);
        ok = compare_open(&files[0], &files[1], chunks, likeness, error);
        free(chunks);
        text_file_close(&files[1]);
    }
    text_file_close(&files[0]);
    return ok;
}

// ---- Leaving out

static bool judge(PackInputs *inputs, const Candidate *one, const Candidate *other, bool one_name, bool *drop,
                  Error *error) {
    const Candidate *first = one->index < other->index ? one : other, *second = first == one ? other : one;
    Likeness likeness;
    if (drop[first->index] || drop[second->index]) return true;
    if (!compare(&inputs->files[first->index], &inputs->files[second->index], &likeness, error)) return false;
    if (likeness == BEGIN_ALIKE && one_name) {
        warn("%s and %s begin alike and are not the same: both are packed; remove the one that is not whole",
             first->path, second->path);
    }
    if (likeness != SAME) return true;
    drop[second->index] = true;
    int64_t n_kinds = inputs->left.n_kinds;
    left_out_add(&inputs->left, COPY, second->path, 1);
    if (inputs->left.n_kinds > n_kinds) {
        warn("%s is left out: it has the content of %s", second->path, first->path);
    }
    return true;
}

// The rest move up.
static void remove_dropped(PackInputs *inputs, const bool *drop) {
    int64_t kept = 0;
    for (int64_t i = 0; i < inputs->count; i++) {
        PackInput *file = &inputs->files[i];
        if (drop[i]) {
            inputs->bytes -= file->size;
            free(file->path);
            continue;
        }
        inputs->files[kept] = *file;
        inputs->files[kept].index = kept;
        kept++;
    }
    inputs->count = kept;
}

// ---- Candidates

static size_t stem_of(const char *path) {
    static const char *const endings[] = {".gz", ".zst", ".zstd"};
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t size = strlen(endings[i]);
        if (length > size && strcasecmp(path + length - size, endings[i]) == 0) return length - size;
    }
    return length;
}

static int compare_names(const void *a, const void *b) {
    const Candidate *x = (const Candidate *)a, *y = (const Candidate *)b;
    int order = memcmp(x->path, y->path, x->stem < y->stem ? x->stem : y->stem);
    if (order == 0) order = (x->stem > y->stem) - (x->stem < y->stem);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int compare_sizes(const void *a, const void *b) {
    const Candidate *x = (const Candidate *)a, *y = (const Candidate *)b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    if (x->begins != y->begins) return x->begins < y->begins ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static bool holds_much(const PackInput *file, const PackConfig *config) {
    return file->json_lines || config->id_bytes > 0 || config->separator.size > 0 || file->size >= LONG_TEXT;
}

static Candidate *list_candidates(const PackInputs *inputs, int64_t *count) {
    Candidate *list = (Candidate *)alloc_or_exit((size_t)inputs->count + 1, sizeof *list);
    *count = 0;
    for (int64_t i = 0; i < inputs->count; i++) {
        const PackInput *file = &inputs->files[i];
        if (file->copy != 0 || file->size == 0) continue;
        Candidate one = {i, file->path, stem_of(file->path), file->size, 0};
        list[(*count)++] = one;
    }
    return list;
}

// Hashes the beginnings of files that are not alone in their size; the list is sorted by that.
static bool hash_beginnings(const PackInputs *inputs, Candidate *list, int64_t count, Error *error) {
    char *chunk = (char *)alloc_or_exit(CHUNK, 1);
    bool ok = true;
    for (int64_t i = 0; ok && i < count; i++) {
        bool alone = (i == 0 || list[i - 1].size != list[i].size) &&
                     (i + 1 == count || list[i + 1].size != list[i].size);
        TextFile file;
        PackInput raw = inputs->files[list[i].index];
        raw.packing = FILE_OTHER;
        if (alone) continue;
        ok = text_file_open(&file, &raw, error);
        if (!ok) break;
        size_t size = 0;
        ok = read_chunk(&file, chunk, &size, error);
        list[i].begins = XXH3_64bits(chunk, size);
        text_file_close(&file);
    }
    free(chunk);
    return ok;
}

static bool drop_of_one_name(PackInputs *inputs, Candidate *list, int64_t count, bool *drop, Error *error) {
    qsort(list, (size_t)count, sizeof *list, compare_names);
    for (int64_t kept = 0, i = 1; i < count; i++) {
        const Candidate *one = &list[kept], *other = &list[i];
        bool one_name = one->stem == other->stem && memcmp(one->path, other->path, one->stem) == 0;
        if (one_name && !judge(inputs, one, other, true, drop, error)) return false;
        if (!drop[other->index]) kept = i;
    }
    return true;
}

static bool drop_of_one_size(PackInputs *inputs, const PackConfig *config, Candidate *list, int64_t count,
                             bool *drop, Error *error) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        bool counts = !drop[list[i].index] && holds_much(&inputs->files[list[i].index], config);
        if (counts) list[kept++] = list[i];
    }
    qsort(list, (size_t)kept, sizeof *list, compare_sizes);
    if (!hash_beginnings(inputs, list, kept, error)) return false;
    qsort(list, (size_t)kept, sizeof *list, compare_sizes);
    for (int64_t first = 0, i = 1; i < kept; i++) {
        if (list[first].size != list[i].size || list[first].begins != list[i].begins) first = i;
        if (first < i && !judge(inputs, &list[first], &list[i], false, drop, error)) return false;
    }
    return true;
}

bool pack_copies_leave_out(PackInputs *inputs, const PackConfig *config, Error *error) {
    int64_t count;
    Candidate *list = list_candidates(inputs, &count);
    bool *drop = (bool *)alloc_or_exit((size_t)inputs->count + 1, sizeof *drop);
    memset(drop, 0, (size_t)inputs->count * sizeof *drop);
    bool ok = drop_of_one_name(inputs, list, count, drop, error) &&
              drop_of_one_size(inputs, config, list, count, drop, error);
    remove_dropped(inputs, drop);
    free(drop);
    free(list);
    return ok;
}
