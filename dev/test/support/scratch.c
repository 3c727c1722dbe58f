// A temporary folder for a test; see scratch.h.
#include "scratch.h"
#include "core/base/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A failure here is one of the test's surroundings: it cannot go on.
static void must(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "test folder: %s failed\n", what);
    abort();
}

char *scratch_create(void) {
    const char *base = getenv("TMPDIR");
    char *folder = path_join(base ? base : "/tmp", "lighthouse_test_XXXXXX");
    must(mkdtemp(folder) != NULL, "mkdtemp");
    return folder;
}

void scratch_remove(char *folder) {
    Error error;
    must(tree_remove(folder, &error), "removing");
    free(folder);
}

void scratch_write(const char *folder, const char *name, const void *bytes, int64_t size) {
    Error error;
    char *path = path_join(folder, name), *parent = path_parent(path);
    must(folders_make(parent, &error), "making a folder");
    FILE *file = fopen(path, "wb");
    must(file != NULL, "creating a file");
    size_t count = size < 0 ? strlen((const char *)bytes) : (size_t)size;
    must(fwrite(bytes, 1, count, file) == count, "writing");
    must(fclose(file) == 0, "closing");
    free(parent);
    free(path);
}

char *scratch_read(const char *folder, const char *name, size_t *size) {
    Error error;
    char *path = path_join(folder, name);
    char *bytes = file_read(path, SIZE_MAX, size, &error);
    must(bytes != NULL, "reading");
    free(path);
    return bytes;
}

void scratch_flip(const char *folder, const char *name, size_t byte, int bit) {
    size_t size;
    char *bytes = scratch_read(folder, name, &size);
    must(byte < size, "flipping");
    bytes[byte] = (char)(bytes[byte] ^ (1 << bit));
    scratch_write(folder, name, bytes, (int64_t)size);
    free(bytes);
}

bool scratch_exists(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool exists = file_exists(path) || folder_exists(path);
    free(path);
    return exists;
}

int scratch_count(const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, NULL);
    must(count >= 2, "listing");
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return count - 2;
}
