// Pickles of Python's protocol 0, as Python 2 writes them by itself: all of their bytes are text.
#ifndef CORE_PACK_TEXT_PICKLE_H
#define CORE_PACK_TEXT_PICKLE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether the beginning of a text is one, or all of it.
bool text_pickle(const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
