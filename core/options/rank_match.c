// Comparisons of what the ranks were started with; see rank_match.h.
#include "core/options/rank_match.h"

#include "core/base/digest.h"
#include "core/base/files.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static uint64_t text_hash(const char *text) {
    return text ? XXH3_64bits(text, strlen(text)) : 0;
}

bool rank_match_words(Ranks *ranks, const Options *options, Error *error) {
    if (!ranks_many(ranks)) return true;
    Digest program;
    if (!ranks_agree(ranks, digest_file("/proc/self/exe", &program, error), error)) return false;
    uint64_t device = (uint64_t)options->device, folder = text_hash(options->out);
    return ranks_compare(ranks, "the build of the program", program.xxh3, error) &&
           ranks_compare(ranks, "--device", device, error) && ranks_compare(ranks, "--out", folder, error) &&
           ranks_compare(ranks, "some setting", options_hash(options), error);
}

bool rank_match_start(Ranks *ranks, const Options *options, const char *checkpoint, Error *error) {
    return rank_match_words(ranks, options, error) &&
           (!ranks_many(ranks) || ranks_compare(ranks, "the last checkpoint as seen",
                                                text_hash(checkpoint ? path_name(checkpoint) : NULL), error));
}
