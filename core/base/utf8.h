// UTF-8: sequences of bytes checked and made.
#ifndef CORE_BASE_UTF8_H
#define CORE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UTF8_REPLACEMENT 0xfffd // stands for what no character can be made of

// Bytes of the character that begins here; 0 where none does, or the text ends within it.
size_t utf8_length(const char *at, const char *end);
// Whether all of a text is UTF-8.
bool utf8_is_valid(const char *text, size_t size);
// Writes a character, 4 bytes at most, and gives how many; a surrogate becomes the replacement.
size_t utf8_put(char *out, uint32_t code);

#ifdef __cplusplus
}
#endif
#endif
