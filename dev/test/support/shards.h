// Shards for tests: written from given tokens, read back whole, damaged on purpose.
#ifndef TEST_SHARDS_H
#define TEST_SHARDS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Writes a shard of these tokens. A document is counted for every token 256.
void shard_make(const char *path, int token_bytes, const int32_t *tokens, int64_t count);
// Writes a shard of tokens start, start + 1, ..., start + count - 1, each modulo `modulo`.
void shard_make_counting(const char *path, int token_bytes, int64_t start, int64_t count, int64_t modulo);

// All tokens of the shards that match the pattern, by name; release with free().
int32_t *shards_load(const char *pattern, int64_t *count);

// The bytes behind the tokens of a text, without its marks. bytes: room for `count`, no NUL is added; returns
// their number.
int64_t shards_text(const int32_t *tokens, int64_t count, char *bytes);

// Flips one bit of the byte at `offset`; a negative offset counts from the file's end.
void file_flip_bit(const char *path, int64_t offset);

#ifdef __cplusplus
}
#endif
#endif
