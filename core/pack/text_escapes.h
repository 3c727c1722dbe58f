// Encodings that write other characters by escapes in ASCII: no byte of them shows that they are not UTF-8.
#ifndef CORE_PACK_TEXT_ESCAPES_H
#define CORE_PACK_TEXT_ESCAPES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// "ISO-2022-JP", "ISO-2022-KR" or "UTF-7", as iconv calls them, where the beginning of a text is one; else
// NULL.
const char *text_escapes_encoding(const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
