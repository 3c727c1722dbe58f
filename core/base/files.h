// Files: reading whole ones, writing whole ones durably, folders, and patterns.
//
// Durable means: the bytes go to a temporary file beside the target, are synced, and the file is renamed into
// place and its folder synced; whatever happens, the target is the old file or the new one, never a part of
// it.
#ifndef CORE_BASE_FILES_H
#define CORE_BASE_FILES_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char **paths;
    int64_t count;
} PathList;

// "a" and "b" give "a/b"; release with free().
char *path_join(const char *folder, const char *name);
// The folder that holds `path`: "a/b" gives "a", "b" gives "."; release with free().
char *path_parent(const char *path);
// The part behind the last '/', within `path` itself.
const char *path_name(const char *path);
// Where a file or folder lies while it is written: hidden beside `path`, under a name that nobody gives a
// file of his own. Release with free().
char *path_hidden(const char *path);
// Whether its name is something with `ending` behind it.
bool path_has_ending(const char *path, const char *ending);

// A path that leads there from any folder: the folder that holds it by its real path, its name or pattern as
// it is. Release with free().
char *path_absolute(const char *path);

// Opens /dev/null in place of standard streams that are closed: the next file opened would take the number of
// one, and receive what is printed. A file that grows beyond `ulimit -f` is from here on an error of its
// write, not the program's end.
void streams_open(void);
// Whether standard output was closed when streams_open was called.
bool streams_output_was_closed(void);

bool file_exists(const char *path);
// Whether it is an ordinary file, no pipe or device.
bool file_regular(const char *path);
bool folder_exists(const char *path);
// Whether two paths lead to one file or folder that is there.
bool file_same(const char *a, const char *b);

// Makes the folder and every folder above it that is missing. All errors of this file have status 3.
bool folders_make(const char *path, Error *error);

// Removes a file, or a folder with all it holds; what does not exist is no error.
bool tree_remove(const char *path, Error *error);
// Removes all that is in a folder.
bool folder_empty(const char *path, Error *error);

// The whole file with a zero byte behind it, so that text can be used as a string; release with free().
// `size`, where given, receives the bytes of the file. NULL on error. A file above `max_size` bytes is
// refused.
char *file_read(const char *path, size_t max_size, size_t *size, Error *error);

// Reads exactly `size` bytes at `offset` of an open file; `path` is for the message. Files that may fail, or
// shrink, while they are read are read so and not mapped into memory, where that ends the program by a
// signal.
bool file_read_at(int file, const char *path, int64_t offset, void *data, size_t size, Error *error);
// Bytes that file_read_at has read in all threads, up to now: whether reading goes on.
int64_t file_bytes_read(void);

// Refuses (status 2) to replace a file that this program did not write: one that is there, is not empty, and
// does not have `mark` in its first 16,384 bytes.
bool file_check_own(const char *path, const char *mark, Error *error);

// Writes a whole file durably.
bool file_write(const char *path, const void *data, size_t size, Error *error);

// Writes all bytes to an open file at its position; `path` is for the message.
bool file_append(int file, const char *path, const void *data, size_t size, Error *error);

// Syncs and closes the open file `temporary`, renames it to `path` and syncs the folder. On error the
// temporary file is removed.
bool file_publish(int file, const char *temporary, const char *path, Error *error);

// Renames a file or folder and syncs the folder that now holds it.
bool path_rename(const char *from, const char *to, Error *error);

// Syncs the entries of a folder to disk.
bool folder_sync(const char *path, Error *error);

// Files and folders that match a shell pattern, sorted by path byte by byte. What is there by the very name
// of the pattern, or in a folder of that name, goes before what matches it: pattern characters then stand for
// themselves, as they do where nothing matches. No match is an empty list. A folder's name ** is an error.
bool paths_glob(const char *pattern, PathList *list, Error *error);
// Paths of a folder's entries whose names match a shell pattern, sorted. The folder is taken as it stands.
bool folder_match(const char *folder, const char *pattern, PathList *list, Error *error);
// Names of a folder's entries, without "." and "..", sorted byte by byte.
bool folder_list(const char *path, PathList *names, Error *error);
void paths_add(PathList *list, const char *path);
void paths_sort(PathList *list);
void paths_free(PathList *list);

#ifdef __cplusplus
}
#endif
#endif
