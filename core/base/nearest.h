// The word that a misspelt one was probably meant to be.
#ifndef CORE_BASE_NEAREST_H
#define CORE_BASE_NEAREST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *word; // as it was written, `length` bytes of it
    size_t length;
    const char *best; // the nearest of those that were offered; NULL while none is near
    size_t distance;
} Nearest;

void nearest_begin(Nearest *nearest, const char *word, size_t length);
// Near is what one of the two words begins the other with, or what a letter in four, and one more, turns into
// the other: left out, put in, replaced, or swapped with the next.
void nearest_offer(Nearest *nearest, const char *candidate);

#ifdef __cplusplus
}
#endif
#endif
