// A mixture of sources; see mixture.h.
#include "core/data/mixture.h"

#include "core/base/bytes.h"
#include "core/base/files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 Wide; // tokens times weights

// ---- Texts

// Where the weight of the first `length` bytes begins, behind its colon; NULL where they end in none.
static const char *weight_of(const char *text, size_t length) {
    const char *colon = text + length;
    char *end;
    while (colon > text && colon[-1] != ':') colon--;
    if (colon == text || colon == text + length || colon[0] == ' ') return NULL;
    strtod(colon, &end);
    return end == text + length ? colon : NULL;
}

bool mixture_word_weighted(const char *word) {
    return weight_of(word, strlen(word)) != NULL;
}

// Length of the text's first source, weight and all: up to the first blank behind a weight, or to the end.
static size_t source_length(const char *text) {
    size_t length = 0;
    for (;; length++) {
        length += strcspn(text + length, " ");
        if (!text[length] || weight_of(text, length)) return length;
    }
}

static char *copy_part(const char *text, size_t length) {
    char *copy = (char *)alloc_or_exit(length + 1, 1);
    memcpy(copy, text, length);
    return copy;
}

static bool matches_files(const char *pattern) {
    PathList paths;
    Error ignored;
    bool found = paths_glob(pattern, &paths, &ignored) && paths.count > 0;
    paths_free(&paths);
    return found;
}

// ---- Reading

#define WEIGHT_UNIT  1e9 // of a weight 1
#define LEAST_WEIGHT 1e-9
#define MOST_WEIGHT  1e6

// Where what is meant as a weight begins, and strtod reads none: 0,6, 60%, 1/2; NULL where nothing is.
static const char *meant_weight(const char *word) {
    const char *colon = strrchr(word, ':');
    if (!colon || mixture_word_weighted(word) || !strpbrk(colon, "0123456789")) return NULL;
    return strspn(colon + 1, "0123456789.,%/+-_ eE") == strlen(colon + 1) ? colon + 1 : NULL;
}

bool mixture_refuse_word(const char *word, Error *error) {
    const char *meant = meant_weight(word);
    if (meant)
        return error_set(error, STATUS_USAGE,
                         "--data %s: '%s' is no weight; write a plain number with a point, as 0.6", word,
                         meant);
    return error_set(error, STATUS_USAGE,
                     "--data %s: has no weight, and each of several sources needs one, as "
                     "'long/*.bin:0.6' 'short/*.bin:0.4'",
                     word);
}

static bool refuse_twofold(const char *word, Error *error) {
    return error_set(
        error, STATUS_USAGE,
        "--data %s: there is a file of that whole name, whose end reads as a weight; give its weight "
        "behind it, as '%s:1', or rename it",
        word, word);
}

// Adds a source with its weight. The word is "PATTERN:WEIGHT".
static bool add_source(Mixture *mixture, const char *word, Error *error) {
    const char *number = weight_of(word, strlen(word));
    if (!number) return mixture_refuse_word(word, error);
    double weight = strtod(number, NULL);
    if (!(weight >= LEAST_WEIGHT && weight <= MOST_WEIGHT))
        return error_set(error, STATUS_USAGE, "--data %s: the weight %s must be from %g to %g", word, number,
                         LEAST_WEIGHT, MOST_WEIGHT);
    if (mixture->count == MIXTURE_MAX)
        return error_set(error, STATUS_USAGE, "--data: more than %d sources; take some together in a pattern",
                         MIXTURE_MAX);
    if (matches_files(word)) return refuse_twofold(word, error);
    mixture->patterns[mixture->count] = copy_part(word, (size_t)(number - 1 - word));
    mixture->weights[mixture->count++] = llround(weight * WEIGHT_UNIT);
    return true;
}

static int64_t common_factor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Weights of one mixture are the same, however they are written: 0.6 and 0.4, 60 and 40.
static void reduce_weights(Mixture *mixture) {
    int64_t factor = 0;
    for (int i = 0; i < mixture->count; i++) factor = common_factor(mixture->weights[i], factor);
    for (int i = 0; i < mixture->count; i++) mixture->weights[i] /= factor;
}

void mixture_single(Mixture *mixture, const char *pattern) {
    memset(mixture, 0, sizeof *mixture);
    mixture->patterns[0] = copy_or_exit(pattern);
    mixture->weights[0] = 1;
    mixture->count = 1;
}

// A file whose name ends like a weight, and nothing of the name without that end.
static bool is_whole_name(const char *text) {
    const char *number = weight_of(text, strlen(text));
    char *pattern = number ? copy_part(text, (size_t)(number - 1 - text)) : NULL;
    bool whole = matches_files(text) && !(pattern && matches_files(pattern));
    free(pattern);
    return whole;
}

bool mixture_parse(const char *text, Mixture *mixture, Error *error) {
    size_t first = source_length(text);
    mixture_single(mixture, text);
    bool whole = is_whole_name(text), single = !text[first] && !mixture_word_weighted(text);
    if (whole || (single && !meant_weight(text))) return true;
    mixture_free(mixture);
    if (single) return mixture_refuse_word(text, error);
    bool ok = true;
    while (ok && *text) {
        size_t length = source_length(text);
        char *word = copy_part(text, length);
        ok = add_source(mixture, word, error);
        free(word);
        text += length;
        text += strspn(text, " ");
    }
    if (ok) reduce_weights(mixture);
    if (!ok) mixture_free(mixture);
    return ok;
}

void mixture_free(Mixture *mixture) {
    for (int i = 0; i < mixture->count; i++) free(mixture->patterns[i]);
    memset(mixture, 0, sizeof *mixture);
}

char *mixture_absolute(const char *text) {
    if (is_whole_name(text)) return path_absolute(text);
    ByteBuffer whole = {NULL, 0, 0};
    while (*text) {
        size_t length = source_length(text);
        char *word = copy_part(text, length), *absolute = path_absolute(word);
        bytes_printf(&whole, "%s%s", whole.size ? " " : "", absolute);
        free(word);
        free(absolute);
        text += length;
        text += strspn(text, " ");
    }
    bytes_append(&whole, "", 1);
    return whole.data;
}

// ---- The order

int64_t mixture_tokens(const Mixture *mixture, const DataPlaces *places) {
    int64_t tokens = 0;
    for (int i = 0; i < mixture->count; i++) tokens += places->tokens[i];
    return tokens;
}

int mixture_next(const Mixture *mixture, const DataPlaces *places, int64_t N) {
    Wide all = (Wide)mixture_tokens(mixture, places) + N, most = 0;
    int64_t weights = 0;
    int next = 0;
    for (int i = 0; i < mixture->count; i++) weights += mixture->weights[i];
    for (int i = 0; i < mixture->count; i++) {
        Wide behind = all * mixture->weights[i] - (Wide)places->tokens[i] * weights;
        if (i > 0 && behind <= most) continue;
        most = behind;
        next = i;
    }
    return next;
}
