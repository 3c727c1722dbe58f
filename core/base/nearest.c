// The word that a misspelt one was probably meant to be; see nearest.h.
#include "core/base/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_SIZE   32 // letters of the longest word that is compared, and one
#define WORD_BEGINS 3  // letters that two words must share to count as one begun

void nearest_begin(Nearest *nearest, const char *word, size_t length) {
    memset(nearest, 0, sizeof *nearest);
    nearest->word = word;
    nearest->length = length;
    nearest->distance = SIZE_MAX;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

// The restricted Damerau-Levenshtein distance of two words of less than WORD_SIZE letters.
static size_t edits(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t cost[WORD_SIZE][WORD_SIZE]; // of the first i letters of a into the first j of b
    for (size_t i = 0; i <= a_length; i++) cost[i][0] = i;
    for (size_t j = 0; j <= b_length; j++) cost[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            size_t least = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            least = smaller(least, smaller(cost[i - 1][j], cost[i][j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            cost[i][j] = swapped ? smaller(least, cost[i - 2][j - 2] + 1) : least;
        }
    }
    return cost[a_length][b_length];
}

void nearest_offer(Nearest *nearest, const char *candidate) {
    size_t length = strlen(candidate), shared = smaller(length, nearest->length);
    if (length >= WORD_SIZE || nearest->length >= WORD_SIZE) return;
    bool begins = shared >= WORD_BEGINS && strncmp(candidate, nearest->word, shared) == 0;
    size_t distance = edits(nearest->word, nearest->length, candidate, length);
    size_t limit = 1 + nearest->length / 4;
    if (begins) distance = smaller(distance, limit);
    if (distance > limit || distance >= nearest->distance) return;
    nearest->best = candidate;
    nearest->distance = distance;
}
