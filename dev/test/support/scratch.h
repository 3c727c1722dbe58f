// A temporary folder for a test, and files within it.
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A new empty folder; scratch_remove deletes it with all it holds and releases the name.
char *scratch_create(void);
void scratch_remove(char *folder);

// Writes `size` bytes (a text where size is negative) to folder/name, and the folders on the way.
void scratch_write(const char *folder, const char *name, const void *bytes, int64_t size);
// Bytes of folder/name, with a zero byte behind them; release with free(). `size` may be NULL.
char *scratch_read(const char *folder, const char *name, size_t *size);
// Flips one bit of folder/name.
void scratch_flip(const char *folder, const char *name, size_t byte, int bit);
bool scratch_exists(const char *folder, const char *name);
// Entries of a folder, hidden ones included, "." and ".." not.
int scratch_count(const char *folder);

#ifdef __cplusplus
}
#endif
#endif
