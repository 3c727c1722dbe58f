// Comparisons of what the ranks were started with; see rank_match.h.
#include "core/options/rank_match.h"

#include "core/base/digest.h"
#include "core/base/files.h"
#include "core/base/names.h"

#include <stdio.h>
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

// What of a model's folder says which model it is: of a checkpoint state.json too, which has every file's
// hash.
static bool model_files(const char *folder, PathList *files, Error *error) {
    static const char *const patterns[] = {CONFIG_FILE, TOKENIZER_FILE, "*.safetensors"};
    char *state = path_join(folder, "trainer/state.json");
    if (file_exists(state)) paths_add(files, state);
    free(state);
    for (int i = 0; i < 3; i++) {
        PathList found;
        if (!folder_match(folder, patterns[i], &found, error)) return false;
        for (int64_t j = 0; j < found.count; j++) paths_add(files, found.paths[j]);
        paths_free(&found);
    }
    return true;
}

static bool model_hash(const char *folder, uint64_t *hash, Error *error) {
    PathList files = {NULL, 0};
    bool ok = model_files(folder, &files, error);
    *hash = 0;
    for (int64_t i = 0; ok && i < files.count; i++) {
        Digest digest;
        ok = digest_samples(files.paths[i], &digest, error);
        uint64_t row[4] = {*hash, text_hash(path_name(files.paths[i])), (uint64_t)digest.size, digest.xxh3};
        if (ok) *hash = XXH3_64bits(row, sizeof row);
    }
    paths_free(&files);
    return ok;
}

// Hosts may have another model under the same name: their ranks would make one of both.
static bool match_model(Ranks *ranks, const char *folder, Error *error) {
    uint64_t hash = 0;
    char what[512];
    if (!ranks_agree(ranks, !folder || model_hash(folder, &hash, error), error)) return false;
    snprintf(what, sizeof what, "the model in %s", folder ? folder : "");
    return ranks_compare(ranks, what, hash, error);
}

bool rank_match_start(Ranks *ranks, const Options *options, const char *checkpoint, Error *error) {
    if (!rank_match_words(ranks, options, error)) return false;
    return !ranks_many(ranks) ||
           (ranks_compare(ranks, "the last checkpoint as seen",
                          text_hash(checkpoint ? path_name(checkpoint) : NULL), error) &&
            match_model(ranks, checkpoint ? checkpoint : options->init, error));
}
