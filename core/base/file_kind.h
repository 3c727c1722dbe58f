// Kinds of files, told by their first bytes: what `pack` undoes by itself, and what another command has to
// make readable first.
#ifndef CORE_BASE_FILE_KIND_H
#define CORE_BASE_FILE_KIND_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FILE_KIND_BYTES 512 // first bytes of a file that tell its kind

// What `pack` undoes, and archives, whose commands undo gzip and zstd too.
typedef enum { FILE_OTHER, FILE_GZIP, FILE_ZSTD, FILE_TAR, FILE_WARC } FileReader;

typedef struct {
    const char *name;    // "Parquet file"; several have an "s" behind it
    const char *endings; // what its names end with, parted by blanks; "" for none of its own
    size_t at, size;     // where its magic number stands
    const char *magic;
    const char *command; // makes it readable; FILE stands for its path. NULL: none does
    FileReader reader;
} FileKind;

// By the first bytes; NULL for a plain file.
const FileKind *file_kind_of(const char *first, size_t size);
// By the ending of its name, whatever the file holds; NULL for none.
const FileKind *file_kind_named(const char *path);
// "a" or "an", as it stands before the name of a kind.
const char *file_kind_article(const FileKind *kind);
// The command with the path in the place of FILE, quoted where a shell needs it; "" where there is none.
void file_kind_command(const char *command, const char *path, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
