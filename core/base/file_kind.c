// Kinds of files, told by their first bytes; see file_kind.h.
#include "core/base/file_kind.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DECOMPRESS(tool) tool " -dc FILE > FILE.txt"
#define PYTHON(program)  "python3 -c \"" program "\" FILE > FILE.jsonl"
#define PRINT_ROWS       "[print(json.dumps(r, default=str)) for b in "
#define OF_ROWS          " for r in b.to_pylist()]"

#define PARQUET                                                  \
    PYTHON("import sys, json, pyarrow.parquet as p; " PRINT_ROWS \
           "p.ParquetFile(sys.argv[1]).iter_batches()" OF_ROWS)
#define ARROW_FILE                                               \
    PYTHON("import sys, json, pyarrow.feather as f; " PRINT_ROWS \
           "f.read_table(sys.argv[1]).to_batches()" OF_ROWS)
#define ARROW_STREAM                                     \
    PYTHON("import sys, json, pyarrow as p; " PRINT_ROWS \
           "p.ipc.open_stream(p.memory_map(sys.argv[1]))" OF_ROWS)
#define ORC                                                  \
    PYTHON("import sys, json, pyarrow.orc as o; " PRINT_ROWS \
           "o.ORCFile(sys.argv[1]).read().to_batches()" OF_ROWS)
#define WARC                                                                                     \
    PYTHON("import sys, json; from warcio import ArchiveIterator as A; "                         \
           "[print(json.dumps({'text': r.content_stream().read().decode('utf-8', 'replace')})) " \
           "for r in A(open(sys.argv[1], 'rb')) if r.rec_type == 'conversion']")
#define MAGIC(at, bytes) at, sizeof(bytes) - 1, bytes

// The first row that fits counts.
static const FileKind KINDS[] = {
    {"gzip file", ".gz .tgz", MAGIC(0, "\x1f\x8b"), "gzip -dc FILE > FILE.txt", FILE_GZIP},
    {"zstd file", ".zst .zstd", MAGIC(0, "\x28\xb5\x2f\xfd"), DECOMPRESS("zstd"), FILE_ZSTD},
    {"tar archive", ".tar", MAGIC(257, "ustar"), "tar -xf FILE", FILE_TAR},
    {"WARC archive", ".warc .wet", MAGIC(0, "WARC/"), WARC, FILE_WARC},
    // Other compression and archives.
    {"xz file", ".xz",
     MAGIC(0, "\xfd"
              "7zXZ\0"),
     DECOMPRESS("xz"), FILE_OTHER},
    {"lzma file", ".lzma", MAGIC(0, "\x5d\0\0"), DECOMPRESS("xz --format=lzma"), FILE_OTHER},
    {"bzip2 file", ".bz2", MAGIC(4, "1AY&SY"), DECOMPRESS("bzip2"), FILE_OTHER},
    {"lz4 file", ".lz4", MAGIC(0, "\x04\x22\x4d\x18"), DECOMPRESS("lz4"), FILE_OTHER},
    {"lz4 file", "", MAGIC(0, "\x02\x21\x4c\x18"), DECOMPRESS("lz4"), FILE_OTHER},
    {"lzip file", ".lz", MAGIC(0, "LZIP\1"), DECOMPRESS("lzip"), FILE_OTHER},
    {"lzop file", ".lzo", MAGIC(0, "\x89LZO\0"), DECOMPRESS("lzop"), FILE_OTHER},
    {"compress file", ".Z", MAGIC(0, "\x1f\x9d"), DECOMPRESS("gzip"), FILE_OTHER},
    {"snappy file", ".sz", MAGIC(0, "\xff\x06\0\0sNaPpY"), DECOMPRESS("snzip"), FILE_OTHER},
    {"brotli file", ".br", 0, 0, NULL, DECOMPRESS("brotli"), FILE_OTHER},
    {"PostScript document", "", MAGIC(0, "%!PS-Adobe"), "ps2ascii FILE FILE.txt", FILE_OTHER},
    {"Office document", ".docx .xlsx .pptx", MAGIC(30, "[Content_Types].xml"),
     "pandoc -t plain FILE -o FILE.txt", FILE_OTHER},
    {"EPUB book", ".epub", MAGIC(30, "mimetypeapplication/epub"), "pandoc -t plain FILE -o FILE.txt",
     FILE_OTHER},
    {"OpenDocument text", ".odt .ods", MAGIC(30, "mimetypeapplication/vnd.oasis"),
     "pandoc -t plain FILE -o FILE.txt", FILE_OTHER},
    {"zip archive", ".zip .npz .jar", MAGIC(0, "PK\3\4"), "unzip FILE", FILE_OTHER},
    {"zip archive", "", MAGIC(0, "PK\5\6"), "unzip FILE", FILE_OTHER},
    {"7z archive", ".7z", MAGIC(0, "7z\xbc\xaf\x27\x1c"), "7z x FILE", FILE_OTHER},
    {"rar archive", ".rar", MAGIC(0, "Rar!\x1a\7"), "unrar x FILE", FILE_OTHER},
    {"ar archive", "", MAGIC(0, "!<arch>\n"), "ar x FILE", FILE_OTHER},
    {"cpio archive", ".cpio", MAGIC(0, "070701"), "cpio -id < FILE", FILE_OTHER},
    // Tables.
    {"Parquet file", ".parquet .pq", MAGIC(0, "PAR1"), PARQUET, FILE_OTHER},
    {"Arrow file", ".arrow .feather", MAGIC(0, "ARROW1"), ARROW_FILE, FILE_OTHER},
    {"Arrow file", "", MAGIC(0, "FEA1"), ARROW_FILE, FILE_OTHER},
    {"Arrow stream", "", MAGIC(0, "\xff\xff\xff\xff"), ARROW_STREAM, FILE_OTHER},
    {"ORC file", ".orc", 0, 0, NULL, ORC, FILE_OTHER},
    {"Avro file", ".avro", MAGIC(0, "Obj\1"), "avro-tools tojson FILE > FILE.jsonl", FILE_OTHER},
    {"sqlite database", ".sqlite .sqlite3", MAGIC(0, "SQLite format 3\0"),
     "sqlite3 -json FILE 'select COLUMN as text from TABLE' | jq -c '.[]' > FILE.jsonl", FILE_OTHER},
    {"HDF5 file", ".h5 .hdf5", MAGIC(0, "\x89HDF\r\n\x1a\n"), NULL, FILE_OTHER},
    // What is no content, but says where it is.
    {"Git LFS pointer", "", MAGIC(0, "version https://git-lfs.github.com/spec/"), "git lfs pull", FILE_OTHER},
    {"git-annex pointer", "", MAGIC(0, "/annex/objects/"), "git annex get FILE", FILE_OTHER},
    // Documents.
    {"PDF document", ".pdf", MAGIC(0, "%PDF-"), "pdftotext FILE FILE.txt", FILE_OTHER},
    {"RTF document", ".rtf", MAGIC(0, "{\\rtf"), "pandoc -t plain FILE -o FILE.txt", FILE_OTHER},
    {"Office document", ".doc .xls .ppt", MAGIC(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
     "soffice --headless --convert-to txt FILE", FILE_OTHER},
    {"DjVu document", ".djvu", MAGIC(0, "AT&TFORM"), "djvutxt FILE FILE.txt", FILE_OTHER},
    // Pictures, sound and film.
    {"picture", ".png", MAGIC(0, "\x89PNG\r\n"), NULL, FILE_OTHER},
    {"picture", ".jpg .jpeg", MAGIC(0, "\xff\xd8\xff"), NULL, FILE_OTHER},
    {"picture", ".gif", MAGIC(0, "GIF89a"), NULL, FILE_OTHER},
    {"picture", ".tif .tiff", MAGIC(0, "II*\0"), NULL, FILE_OTHER},
    {"picture", "", MAGIC(0, "MM\0*"), NULL, FILE_OTHER},
    {"picture", ".webp", MAGIC(8, "WEBPVP8"), NULL, FILE_OTHER},
    {"recording", ".wav", MAGIC(8, "WAVEfmt "), NULL, FILE_OTHER},
    {"recording", ".mp3", MAGIC(0, "ID3\3"), NULL, FILE_OTHER},
    {"recording", "", MAGIC(0, "ID3\4"), NULL, FILE_OTHER},
    {"recording", ".ogg", MAGIC(0, "OggS\0"), NULL, FILE_OTHER},
    {"recording", ".flac", MAGIC(0, "fLaC\0"), NULL, FILE_OTHER},
    {"recording", ".mp4 .mov", MAGIC(4, "ftyp"), NULL, FILE_OTHER},
    // Numbers, models and programs.
    {"shard", "", MAGIC(0, "LHSHARD\n"), NULL, FILE_OTHER},
    {"NumPy array", ".npy", MAGIC(0, "\x93NUMPY"), NULL, FILE_OTHER},
    {"safetensors file", ".safetensors", MAGIC(5, "\0\0\0{\""), NULL, FILE_OTHER},
    {"GGUF model", ".gguf", MAGIC(0, "GGUF"), NULL, FILE_OTHER},
    {"pickle", ".pkl .pickle", MAGIC(0, "\x80\2"), NULL, FILE_OTHER},
    {"pickle", "", MAGIC(0, "\x80\3"), NULL, FILE_OTHER},
    {"pickle", "", MAGIC(0, "\x80\4"), NULL, FILE_OTHER},
    {"pickle", "", MAGIC(0, "\x80\5"), NULL, FILE_OTHER},
    {"program", ".so .o",
     MAGIC(0, "\x7f"
              "ELF"),
     NULL, FILE_OTHER},
};
#define N_KINDS (sizeof KINDS / sizeof *KINDS)

// ---- By content

static bool fits(const FileKind *kind, const char *first, size_t size) {
    return kind->size > 0 && size >= kind->at + kind->size &&
           memcmp(first + kind->at, kind->magic, kind->size) == 0;
}

// zstd's frames of metadata, which may come first: 0x184D2A50 to 0x184D2A5F.
static bool is_skippable_frame(const char *first, size_t size) {
    return size >= 8 && ((unsigned char)first[0] & 0xf0) == 0x50 && memcmp(first + 1, "\x2a\x4d\x18", 3) == 0;
}

// An archive of the oldest tar has no magic number: the sum of its first header stands in it, in octal.
static bool is_old_tar(const char *first, size_t size) {
    enum { HEADER = 512, SUM_AT = 148, SUM_SIZE = 8 };
    if (size < HEADER || first[0] == 0) return false;
    unsigned sum = 0, stated = 0;
    for (size_t i = 0; i < HEADER; i++) {
        sum += i >= SUM_AT && i < SUM_AT + SUM_SIZE ? ' ' : (unsigned char)first[i];
    }
    size_t at = SUM_AT;
    while (at < SUM_AT + SUM_SIZE && first[at] == ' ') at++;
    for (; at < SUM_AT + SUM_SIZE && first[at] >= '0' && first[at] <= '7'; at++) {
        stated = stated * 8 + (unsigned)(first[at] - '0');
    }
    return stated > 0 && sum == stated;
}

static const FileKind *by_reader(FileReader reader) {
    size_t i = 0;
    while (KINDS[i].reader != reader) i++;
    return &KINDS[i];
}

const FileKind *file_kind_of(const char *first, size_t size) {
    if (is_skippable_frame(first, size)) return by_reader(FILE_ZSTD);
    if (is_old_tar(first, size)) return by_reader(FILE_TAR);
    for (size_t i = 0; i < N_KINDS; i++) {
        if (fits(&KINDS[i], first, size)) return &KINDS[i];
    }
    return NULL;
}

// ---- By name

static bool has_ending(const char *name, const char *endings) {
    size_t length = strlen(name);
    for (const char *at = endings; *at;) {
        size_t size = strcspn(at, " ");
        if (length > size && strncasecmp(name + length - size, at, size) == 0) return true;
        at += size + (at[size] == ' ');
    }
    return false;
}

const FileKind *file_kind_named(const char *path) {
    for (size_t i = 0; i < N_KINDS; i++) {
        if (has_ending(path, KINDS[i].endings)) return &KINDS[i];
    }
    return NULL;
}

// ---- The command

static size_t put(char *text, size_t size, size_t used, const char *from, size_t count) {
    if (used + count >= size) return used;
    memcpy(text + used, from, count);
    return used + count;
}

const char *file_kind_article(const FileKind *kind) {
    static const char *const spelled[] = {"xz", "lz4", "HDF5", "RTF"}; // letter by letter
    bool vowel = strchr("AEIOaeio", kind->name[0]) != NULL;
    for (size_t i = 0; i < sizeof spelled / sizeof *spelled; i++)
        vowel = vowel || strncmp(kind->name, spelled[i], strlen(spelled[i])) == 0;
    return vowel ? "an" : "a";
}

static size_t put_quoted(char *text, size_t size, size_t used, const char *path) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,=@%";
    if (path[strspn(path, plain)] == 0) return put(text, size, used, path, strlen(path));
    used = put(text, size, used, "'", 1);
    for (; *path; path++) {
        bool quote = *path == '\'';
        used = put(text, size, used, quote ? "'\\''" : path, quote ? 4 : 1);
    }
    return put(text, size, used, "'", 1);
}

void file_kind_command(const char *command, const char *path, char *text, size_t size) {
    size_t used = 0;
    const char *at = command ? command : "", *place;
    for (; (place = strstr(at, "FILE")) != NULL; at = place + 4) {
        used = put(text, size, used, at, (size_t)(place - at));
        used = put_quoted(text, size, used, path);
    }
    used = put(text, size, used, at, strlen(at));
    text[used] = 0;
}
