// What a file beside token ids says of them; see ids_beside.h.
#include "core/pack/ids_beside.h"

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/data/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static IdsBeside nothing(void) {
    IdsBeside beside = {NULL, NULL, "", 0, -1, -1};
    return beside;
}

// The path with another ending.
static char *named(const char *path, const char *ending, const char *instead) {
    size_t length = strlen(path) - strlen(ending);
    char *name = (char *)alloc_or_exit(length + strlen(instead) + 1, 1);
    memcpy(name, path, length);
    memcpy(name + length, instead, strlen(instead));
    return name;
}

// Up to `size` first bytes of a file; 0 where there is none.
static size_t read_start(const char *path, char *out, size_t size) {
    FILE *file = file_regular(path) ? fopen(path, "rbe") : NULL;
    size_t got = file ? fread(out, 1, size, file) : 0;
    if (file) fclose(file);
    return got;
}

// ---- Megatron

#define MEGATRON_HEADER 34 // magic 9, version 8, type 1, sequences 8, boundaries of documents 8

// Sum of the sequences' lengths, 4 bytes each behind the header; -1 where they are not all there.
static int64_t sum_lengths(const char *path, int64_t sequences) {
    unsigned char length[4];
    FILE *file = fopen(path, "rbe");
    int64_t sum = 0, seen = 0;
    if (file && fseek(file, MEGATRON_HEADER, SEEK_SET) == 0)
        for (; seen < sequences && fread(length, 1, 4, file) == 4; seen++)
            sum += (int64_t)shard_get(length, 4);
    if (file) fclose(file);
    return seen == sequences ? sum : -1;
}

IdsBeside ids_beside_megatron(const char *path) {
    static const char *const types[] = {"unknown", "uint8",   "int8",    "int16", "int32",
                                        "int64",   "float64", "float32", "uint16"};
    IdsBeside beside = nothing();
    char header[MEGATRON_HEADER];
    if (!path_has_ending(path, ".bin")) return beside;
    beside.index = named(path, ".bin", ".idx");
    if (read_start(beside.index, header, sizeof header) != sizeof header ||
        memcmp(header, "MMIDIDX\0\0", 9) != 0) {
        ids_beside_free(&beside);
        return beside;
    }
    unsigned type = (unsigned char)header[17];
    beside.type = types[type < 9 ? type : 0];
    beside.bytes = type == 8 ? 2 : type == 4 ? 4 : 0;
    beside.ids = sum_lengths(beside.index, (int64_t)shard_get((const unsigned char *)header + 18, 8));
    beside.documents = (int64_t)shard_get((const unsigned char *)header + 26, 8) - 1;
    return beside;
}

// ---- datatrove

// "TOKENIZER|BYTES", and the number of ids in the second line. The index has 8 bytes for each document.
IdsBeside ids_beside_datatrove(const char *path) {
    IdsBeside beside = nothing();
    char text[1025], *end = NULL;
    if (!path_has_ending(path, ".ds")) return beside;
    beside.index = named(path, "", ".metadata");
    text[read_start(beside.index, text, sizeof text - 1)] = 0;
    char *line = strchr(text, '\n');
    if (line) *line++ = 0;
    const char *bar = strrchr(text, '|');
    long bytes = bar ? strtol(bar + 1, NULL, 10) : 0;
    beside.bytes = bytes == 2 || bytes == 4 ? (int)bytes : 0;
    long long ids = line ? strtoll(line, &end, 10) : -1;
    if (end > line && (*end == '\n' || *end == 0)) beside.ids = (int64_t)ids;
    beside.boundaries = named(path, "", ".index");
    struct stat status;
    bool counts = stat(beside.boundaries, &status) == 0 && S_ISREG(status.st_mode) && status.st_size % 8 == 0;
    if (counts) beside.documents = status.st_size / 8;
    return beside;
}

void ids_beside_free(IdsBeside *beside) {
    free(beside->index);
    free(beside->boundaries);
    *beside = nothing();
}
