// What a command leaves out of what it was given; see left_out.h.
#include "core/pack/left_out.h"

#include "core/base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define NAMED_FILES 3

struct LeftFile {
    char *path;
    int64_t count;
};

// ---- Counting

static LeftKind *find_kind(LeftOut *left, const char *what) {
    for (int64_t i = 0; i < left->n_kinds; i++) {
        if (strcmp(left->kinds[i].what, what) == 0) return &left->kinds[i];
    }
    left->kinds = (LeftKind *)grow_or_exit(left->kinds, left->n_kinds, sizeof *left->kinds);
    left->kinds[left->n_kinds].what = what;
    return &left->kinds[left->n_kinds++];
}

static LeftFile *new_file(LeftKind *kind) {
    kind->files = (LeftFile *)grow_or_exit(kind->files, kind->n_files, sizeof *kind->files);
    return &kind->files[kind->n_files++];
}

void left_out_add(LeftOut *left, const char *what, const char *path, int64_t count) {
    if (count == 0) return;
    LeftKind *kind = find_kind(left, what);
    kind->count += count;
    LeftFile *last = kind->n_files > 0 ? &kind->files[kind->n_files - 1] : NULL;
    if (!last || strcmp(last->path, path) != 0) {
        last = new_file(kind);
        last->path = copy_or_exit(path);
    }
    last->count += count;
}

int64_t left_out_count(const LeftOut *left) {
    int64_t count = 0;
    for (int64_t i = 0; i < left->n_kinds; i++) count += left->kinds[i].count;
    return count;
}

void left_out_free(LeftOut *left) {
    for (int64_t i = 0; i < left->n_kinds; i++) {
        for (int64_t j = 0; j < left->kinds[i].n_files; j++) free(left->kinds[i].files[j].path);
        free(left->kinds[i].files);
    }
    free(left->kinds);
    memset(left, 0, sizeof *left);
}

// ---- Telling

static int compare_files(const void *a, const void *b) {
    return strcmp(((const LeftFile *)a)->path, ((const LeftFile *)b)->path);
}

// Sorts the files by name, each once.
static void merge_files(LeftKind *kind) {
    qsort(kind->files, (size_t)kind->n_files, sizeof *kind->files, compare_files);
    int64_t kept = 0;
    for (int64_t i = 1; i < kind->n_files; i++) {
        if (strcmp(kind->files[kept].path, kind->files[i].path) == 0) {
            kind->files[kept].count += kind->files[i].count;
            free(kind->files[i].path);
        } else {
            kind->files[++kept] = kind->files[i];
        }
    }
    kind->n_files = kept + 1;
}

static void tell_files(LeftKind *kind, ByteBuffer *text) {
    merge_files(kind);
    int64_t most = 0;
    for (int64_t i = 1; i < kind->n_files; i++) {
        if (kind->files[i].count > kind->files[most].count) most = i;
    }
    const LeftFile *file = &kind->files[most];
    if (kind->n_files > 1 && file->count > 1) {
        bytes_printf(text, " (%lld of them in %s)", (long long)file->count, file->path);
        return;
    }
    int64_t named = kind->n_files <= NAMED_FILES ? kind->n_files : NAMED_FILES - 1;
    for (int64_t i = 0; i < named; i++) bytes_printf(text, "%s%s", i ? ", " : " (", kind->files[i].path);
    if (named < kind->n_files) bytes_printf(text, " and %lld more", (long long)(kind->n_files - named));
    bytes_append(text, ")", 1);
}

// Lines and documents come before files.
static int rank(const LeftKind *kind) {
    return strcmp(kind->what, "line") == 0 ? 0 : strcmp(kind->what, "empty document") == 0 ? 1 : 2;
}

static int compare_kinds(const void *a, const void *b) {
    const LeftKind *one = (const LeftKind *)a, *other = (const LeftKind *)b;
    return rank(one) != rank(other) ? rank(one) - rank(other) : strcmp(one->what, other->what);
}

static void tell_kind(LeftKind *kind, ByteBuffer *text) {
    size_t head = strcspn(kind->what, "*");
    const char *tail = kind->what + head + (kind->what[head] == '*');
    bytes_printf(text, "%s%lld %.*s%s%s", text->size ? ", " : "", (long long)kind->count, (int)head,
                 kind->what, kind->count == 1 ? "" : "s", tail);
    tell_files(kind, text);
}

void left_out_text(const LeftOut *left, char *text, size_t size) {
    ByteBuffer whole = {NULL, 0, 0};
    if (left->n_kinds > 1) {
        qsort(left->kinds, (size_t)left->n_kinds, sizeof *left->kinds, compare_kinds);
    }
    for (int64_t i = 0; i < left->n_kinds; i++) tell_kind(&left->kinds[i], &whole);
    size_t used = whole.size < size ? whole.size : size - 1;
    if (whole.data) memcpy(text, whole.data, used);
    if (used < whole.size && used >= 3) memcpy(text + used - 3, "...", 3);
    text[used] = 0;
    one_line(text);
    bytes_free(&whole);
}
