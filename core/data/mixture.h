// A mixture of sources: patterns of shards, each with its weight, and whose sequence comes next.
//
// --data 'long/*.bin:0.6' 'short/*.bin:0.4' is one text, "long/*.bin:0.6 short/*.bin:0.4". A weight is the
// share of the tokens, up to a common factor. The next sequence is of the source that is furthest behind its
// share of all tokens with that sequence; of those as far behind, of the first. So no source is ever a
// sequence per source away from its share, and the order depends on nothing but what was taken before.
#ifndef CORE_DATA_MIXTURE_H
#define CORE_DATA_MIXTURE_H

#include "core/base/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIXTURE_MAX 16 // sources

typedef struct {
    int count;
    char *patterns[MIXTURE_MAX];
    int64_t weights[MIXTURE_MAX]; // whole numbers without a common factor
} Mixture;

// Where a reader of one source stands.
typedef struct {
    int64_t cursor; // token position of the next sequence
    int64_t epoch;  // wraps up to here
} DataPlace;

// Where a reader of a mixture stands.
typedef struct {
    DataPlace of[MIXTURE_MAX];
    int64_t tokens[MIXTURE_MAX]; // inputs taken of each source
} DataPlaces;

// Whether a word ends in ":" and a number.
bool mixture_word_weighted(const char *word);

// Refuses a word of several that has no weight, or ends in what was meant as one: 0,6, 60%, 1/2.
bool mixture_refuse_word(const char *word, Error *error);

// Reads a text. One source without weight is its pattern as it is, and so is a text that is itself a pattern
// of files. Status 2 for weights that are none, or missing on some sources, and for names that could be read
// both ways. Release with mixture_free.
bool mixture_parse(const char *text, Mixture *mixture, Error *error);
void mixture_free(Mixture *mixture);

// One source, taken as it is. Release with mixture_free.
void mixture_single(Mixture *mixture, const char *pattern);

// The text with patterns that lead to the same files from any folder; release with free().
char *mixture_absolute(const char *text);

// The source of the next sequence of N inputs.
int mixture_next(const Mixture *mixture, const DataPlaces *places, int64_t N);

// All tokens taken.
int64_t mixture_tokens(const Mixture *mixture, const DataPlaces *places);

#ifdef __cplusplus
}
#endif
#endif
