// Files of token ids as other programs write them; see ids_format.h.
#include "core/pack/ids_format.h"

#include "core/base/file_kind.h"
#include "core/base/files.h"
#include "core/data/shard.h"
#include "core/pack/ids_beside.h"
#include "core/pack/text_pickle.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *width_name(int bytes) {
    return bytes == 2 ? "uint16" : "uint32";
}

// "... as numpy's uint16", for ids that have to be written anew; `load` gives an array.
static void refuse_array(const PackConfig *config, const PackInput *file, const char *what, const char *load,
                         PackRefusal *refusal) {
    pack_refuse(refusal, "file of other ids",
                "is %s, and --tokens %s wants little-endian %s: `python3 -c \"import sys, numpy; "
                "%s.astype('<u%d').tofile(sys.argv[1] + '.bin')\" %s`",
                what, width_name(config->id_bytes), width_name(config->id_bytes), load, config->id_bytes,
                file->path);
}

// Refused where the file says another width than --tokens; `bytes` of 2 or 4.
static bool right_width(const PackConfig *config, const char *what, int bytes, PackRefusal *refusal) {
    if (bytes == config->id_bytes) return true;
    pack_refuse(refusal, "file of other ids", "is %s of %s: give --tokens %s", what, width_name(bytes),
                width_name(bytes));
    return false;
}

// The file's size must be what its header states, or the file `where`. A compressed one is counted when it is
// read.
static void expect_count(const PackConfig *config, PackInput *file, int64_t start, uint64_t count,
                         const char *where, PackRefusal *refusal) {
    int64_t there = (file->size - start) / config->id_bytes;
    file->start = start;
    file->stated_ids = (int64_t)count;
    if (file->packing != FILE_OTHER ||
        (count == (uint64_t)there && (file->size - start) % config->id_bytes == 0))
        return;
    if (where)
        pack_refuse(refusal, "damaged file of ids", "has %lld ids, and %s counts %llu: fetch both again",
                    (long long)there, where, (unsigned long long)count);
    else
        pack_refuse(refusal, "damaged file of ids",
                    "states %llu ids in its header, and %lld are there: fetch it again",
                    (unsigned long long)count, (long long)there);
}

// ---- NumPy

// The value behind a key of the header's dictionary; "" where there is none.
static const char *npy_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (!at) return "";
    at += strlen(key);
    return at + strspn(at, " :");
}

// Elements of "(3, 4)".
static uint64_t npy_count(const char *shape, int *dimensions) {
    uint64_t count = 1;
    *dimensions = 0;
    while (*shape && *shape != ')') {
        if (!isdigit((unsigned char)*shape)) {
            shape++;
            continue;
        }
        char *end;
        count *= strtoull(shape, &end, 10);
        shape = end;
        ++*dimensions;
    }
    return count;
}

static void judge_npy(const PackConfig *config, PackInput *file, const char *first, size_t n_first,
                      PackRefusal *refusal) {
    const unsigned char *bytes = (const unsigned char *)first;
    bool old = n_first > 7 && bytes[6] == 1;
    size_t begins = old ? 10 : 12,
           size = n_first < begins ? 0 : (size_t)shard_get(bytes + begins - (old ? 2 : 4), old ? 2 : 4);
    if (n_first < begins || bytes[6] < 1 || bytes[6] > 3 || size > n_first - begins) {
        pack_refuse(refusal, "damaged file of ids", "is a NumPy array with a header that cannot be read");
        return;
    }
    char header[IDS_FORMAT_BYTES + 1], what[128];
    memcpy(header, first + begins, size);
    header[size] = 0;
    const char *type = npy_value(header, "'descr'"), *shape = npy_value(header, "'shape'");
    int dimensions;
    uint64_t count = npy_count(shape, &dimensions);
    bool columns = strncmp(npy_value(header, "'fortran_order'"), "True", 4) == 0 && dimensions > 1;
    bool known =
        strncmp(type, "'<u2'", 5) == 0 || strncmp(type, "'<u4'", 5) == 0 || strncmp(type, "'<i4'", 5) == 0;
    if (!known || columns) {
        snprintf(what, sizeof what, "a NumPy array of type %.*s%s", (int)strcspn(type, ",}"), type,
                 columns ? " in Fortran's order" : "");
        refuse_array(config, file, what, "numpy.load(sys.argv[1])", refusal);
    } else if (right_width(config, "a NumPy array", type[3] - '0', refusal)) {
        expect_count(config, file, (int64_t)(begins + size), count, NULL, refusal);
    }
}

// ---- llm.c and modded-nanogpt

#define LLMC_HEADER 1024 // 256 int32: magic, version, count

static uint32_t swapped(uint32_t value) {
    return value >> 24 | (value >> 8 & 0xff00) | (value << 8 & 0xff0000) | value << 24;
}

static bool judge_llmc(const PackConfig *config, PackInput *file, const char *first, size_t n_first,
                       PackRefusal *refusal) {
    static const struct {
        uint32_t magic, version;
        int bytes;
    } formats[] = {{20240520, 1, 2}, {20240801, 7, 4}};
    if (n_first < 12) return false;
    const unsigned char *header = (const unsigned char *)first;
    uint32_t magic = (uint32_t)shard_get(header, 4), version = (uint32_t)shard_get(header + 4, 4);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (magic == swapped(formats[i].magic)) {
            pack_refuse(refusal, "file of other ids",
                        "is a big-endian shard of llm.c: write it little-endian");
            return true;
        }
        if (magic != formats[i].magic) continue;
        if (version != formats[i].version) {
            pack_refuse(refusal, "file of other ids", "is a shard of llm.c of version %u, and %u is known",
                        version, formats[i].version);
        } else if (right_width(config, "a shard of llm.c", formats[i].bytes, refusal)) {
            expect_count(config, file, LLMC_HEADER, shard_get(header + 8, 4), NULL, refusal);
        }
        return true;
    }
    return false;
}

// ---- lit-gpt and TinyLlama

#define LIT_MAGIC "LITPKDS"
#define LIT_HEADER \
    24 // magic, version of 8 bytes, type of 1, ids of a chunk of 8; a file may have several chunks

static bool judge_lit(const PackConfig *config, PackInput *file, const char *first, size_t n_first,
                      PackRefusal *refusal) {
    static const char *const types[] = {"", "u1", "i1", "<i2", "<i4", "<i8", "<f4", "<f8", "<u2"};
    if (n_first < LIT_HEADER || memcmp(first, LIT_MAGIC, sizeof LIT_MAGIC - 1) != 0) return false;
    const unsigned char *header = (const unsigned char *)first;
    uint64_t version = shard_get(header + 7, 8), type = header[15];
    char what[64], load[64];
    if (version != 1 || type < 1 || type > 8) {
        pack_refuse(refusal, "file of other ids",
                    "is a shard of lit-gpt of a version or type that is not known");
    } else if (type == 8 || type == 4) {
        file->start = LIT_HEADER;
        right_width(config, "a shard of lit-gpt", type == 8 ? 2 : 4, refusal);
    } else {
        snprintf(what, sizeof what, "a shard of lit-gpt of type %s", types[type]);
        snprintf(load, sizeof load, "numpy.fromfile(sys.argv[1], '%s', offset=%d)", types[type], LIT_HEADER);
        refuse_array(config, file, what, load, refusal);
    }
    return true;
}

// ---- What lies beside ids

// Names of what holds no ids: an index, a description, a program.
static const char *companion(const char *path) {
    static const char *const kinds[][2] = {
        {".idx", "index file"},  {".index", "index file"}, {".metadata", "description"},
        {".loss", "loss mask"},  {".json", "description"}, {".jsonl", "text"},
        {".md", "text"},         {".txt", "text"},         {".py", "program"},
        {".ipynb", "program"},   {".sh", "program"},       {".yaml", "description"},
        {".yml", "description"}, {".toml", "description"}, {".csv", "text"},
        {".log", "text"},        {".pkl", "pickle"},       {".pickle", "pickle"},
        {".model", "tokenizer"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (path_has_ending(path, kinds[i][0])) return kinds[i][1];
    return NULL;
}

// Whether the bytes are text: no control characters, and UTF-8. An array of ids is hardly ever.
static bool is_text(const char *first, size_t size) {
    size_t follow = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)first[i];
        if (follow > 0) {
            if ((byte & 0xc0) != 0x80) return false;
            follow--;
        } else if (byte >= 0xc2 && byte < 0xf5) {
            follow = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        } else if (byte >= 0x7f || (byte < 0x20 && !isspace(byte))) {
            return false;
        }
    }
    return size >= 16 || (size >= 4 && first[size - 1] == '\n');
}

// By a magic number that ids would hardly ever make by chance.
static bool judge_kind(const char *first, size_t n_first, PackRefusal *refusal) {
    const FileKind *kind = file_kind_of(first, n_first);
    bool pointer = kind && strstr(kind->name, "pointer");
    bool framed =
        n_first >= 11 && first[0] == '\x80' && (first[1] == 4 || first[1] == 5) && first[2] == '\x95';
    if (n_first >= 9 && (memcmp(first, "MMIDIDX\0\0", 9) == 0 || memcmp(first, "TNTIDX\0\0", 8) == 0)) {
        pack_refuse(refusal, "index file", "is Megatron's index: name the .bin beside it");
    } else if (kind && strcmp(kind->name, "shard") == 0) {
        pack_refuse(refusal, kind->name, "is a shard already: train reads it with --data");
    } else if (framed || text_pickle(first, n_first)) {
        pack_refuse(refusal, "pickle", "is a pickle of Python, no array of ids");
    } else if (kind && strcmp(kind->name, "zip archive") == 0) {
        pack_refuse(refusal, kind->name,
                    "is a zip archive (.npz, .pt), no array of ids: write each of its arrays "
                    "with NumPy's tofile");
    } else if (pointer) {
        pack_refuse(refusal, kind->name, "is no array of ids but a %s: `%s` fetches it", kind->name,
                    kind->command);
    } else if (kind && kind->size > 5 && kind->magic[0] != '\x93') {
        pack_refuse(refusal, kind->name, "is no array of ids but %s %s", file_kind_article(kind), kind->name);
    }
    return refusal->what != NULL;
}

// "index.json" of MosaicML's streaming data tells nothing about the ids' width: its samples are records.
static bool judge_name(const PackInput *file, PackRefusal *refusal) {
    const char *what = companion(file->path), *name = path_name(file->path);
    if (strstr(name, ".mds")) {
        pack_refuse(refusal, "MDS shard",
                    "is a shard of MosaicML's streaming data, records and no array: read it with "
                    "streaming.LocalDataset and write its ids with NumPy's tofile");
    } else if (path_has_ending(name, ".idx") || path_has_ending(name, ".index")) {
        pack_refuse(refusal, "index file", "is an index: name the file of ids beside it");
    } else if (what && file->from_folder) {
        pack_refuse(refusal, what, "holds no ids, by its name");
    }
    return refusal->what != NULL;
}

// ---- What the files beside say

static void warn_documents(const PackConfig *config, const char *path, const IdsBeside *beside) {
    if (config->document_end >= 0 || beside->documents < 2) return;
    warn("%s counts %lld documents, and without --document-end %s is a single one",
         beside->boundaries ? beside->boundaries : beside->index, (long long)beside->documents, path);
}

// As many ids as are counted beside: a download may have been cut between two of them.
static void expect_beside(const PackConfig *config, PackInput *file, const IdsBeside *beside,
                          PackRefusal *refusal) {
    if (beside->ids >= 0) expect_count(config, file, 0, (uint64_t)beside->ids, beside->index, refusal);
    if (!refusal->what) warn_documents(config, file->path, beside);
}

static void judge_megatron(const PackConfig *config, PackInput *file, PackRefusal *refusal) {
    IdsBeside beside = ids_beside_megatron(file->path);
    if (beside.index && beside.bytes == 0) {
        char what[64], load[64];
        snprintf(what, sizeof what, "Megatron's data of type %s", beside.type);
        snprintf(load, sizeof load, "numpy.fromfile(sys.argv[1], '%s')", beside.type);
        refuse_array(config, file, what, load, refusal);
    } else if (beside.index && right_width(config, "Megatron's data", beside.bytes, refusal)) {
        expect_beside(config, file, &beside, refusal);
    }
    ids_beside_free(&beside);
}

static void judge_datatrove(const PackConfig *config, PackInput *file, PackRefusal *refusal) {
    IdsBeside beside = ids_beside_datatrove(file->path);
    if (beside.bytes == 0 || right_width(config, "datatrove's data", beside.bytes, refusal))
        expect_beside(config, file, &beside, refusal);
    ids_beside_free(&beside);
}

// Ids of one byte, read as pairs: the upper bytes are distributed as the lower ones, which those of wider ids
// hardly ever are.
static bool are_bytes(const char *first, size_t size) {
    enum { SURE = 1024, FEWEST = 8, MOST = 200 };
    int64_t counts[2][256] = {{0}}, apart = 0, pairs = (int64_t)(size / 2), values[2] = {0, 0};
    for (size_t i = 0; i < size / 2 * 2; i++) counts[i & 1][(unsigned char)first[i]]++;
    for (int i = 0; i < 256; i++) {
        values[0] += counts[0][i] > 0;
        values[1] += counts[1][i] > 0;
        apart += counts[0][i] > counts[1][i] ? counts[0][i] - counts[1][i] : 0;
    }
    return pairs >= SURE && values[1] >= FEWEST && values[0] <= MOST && apart < pairs / 4;
}

// Sets of ids come as train.bin and val.bin: the second is to be no training text.
static void warn_validation(const PackInput *file) {
    const char *name = path_name(file->path);
    if (!file->from_folder || !(strncmp(name, "val", 3) == 0 || strstr(name, "_val"))) return;
    warn("%s is a validation set by its name, and goes in with the rest: pack it by itself if it is one",
         file->path);
}

// Whole ids. A compressed file is counted when it is read.
static void check_whole(const PackConfig *config, const PackInput *file, PackRefusal *refusal) {
    int64_t size = file->size - file->start;
    if (refusal->what || file->packing != FILE_OTHER || size % config->id_bytes == 0) return;
    pack_refuse(refusal, "file of cut ids", "has %lld bytes, no multiple of the %d of an id: see --tokens",
                (long long)size, config->id_bytes);
}

// ---- The whole

void ids_format_judge(const PackConfig *config, PackInput *file, const char *first, size_t n_first,
                      PackRefusal *refusal) {
    file->start = 0;
    if (judge_kind(first, n_first, refusal) || judge_name(file, refusal)) return;
    if (n_first >= 6 && memcmp(first, "\x93NUMPY", 6) == 0) {
        judge_npy(config, file, first, n_first, refusal);
        return;
    }
    if (judge_llmc(config, file, first, n_first, refusal)) {
        if (!refusal->what) warn_validation(file);
        return;
    }
    if (judge_lit(config, file, first, n_first, refusal)) {
        check_whole(config, file, refusal);
        return;
    }
    if (is_text(first, n_first)) {
        pack_refuse(refusal, "text",
                    "is text, no array of ids: pack it without --tokens, or write ids with "
                    "NumPy's tofile");
        return;
    }
    warn_validation(file);
    judge_megatron(config, file, refusal);
    if (!refusal->what) judge_datatrove(config, file, refusal);
    if (!refusal->what && config->id_bytes == 2 && are_bytes(first, n_first)) {
        refuse_array(config, file, "an array of single bytes (uint8) by the look of it",
                     "numpy.fromfile(sys.argv[1], numpy.uint8)", refusal);
    }
    check_whole(config, file, refusal);
}
