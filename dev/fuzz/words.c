// Command lines, a word a line: parsed, and what each command computes from its words alone.
#include "harness.h"

#include "core/commands/niah.h"
#include "core/train/run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 64

static void train(Options *options) {
    Run run;
    Ranks ranks;
    Error error;
    memset(&error, 0, sizeof error);
    ranks_imagine(&ranks, 1, 8);
    if (run_prepare(&run, options, &ranks, &error))
        fuzz_plan(&run.engine);
    else
        fuzz_refused(&error);
    run_free(&run);
}

static void niah(const Options *options) {
    NiahGrid grid;
    Error error;
    memset(&grid, 0, sizeof grid);
    memset(&error, 0, sizeof error);
    if (options->lengths && !niah_parse_lengths(&grid, options->lengths, &error)) fuzz_refused(&error);
    if (!niah_parse_depths(&grid, options->depths, &error)) fuzz_refused(&error);
}

static void lists(const Options *options) {
    bool dense_layer[MODEL_MAX_LAYERS];
    Error error;
    Hierarchy hierarchy;
    LighthouseConfig lighthouse = options_lighthouse(options);
    memset(&error, 0, sizeof error);
    if (!options_dense_layers(options->dense_layers, options->layers, dense_layer, &error))
        fuzz_refused(&error);
    if (!hierarchy_create(&lighthouse, options->seq_len, &hierarchy, &error)) fuzz_refused(&error);
}

static void parse(int count, char **words) {
    Options options;
    Error error;
    memset(&error, 0, sizeof error);
    bool done;
    if (!options_parse(&options, count, words, &done, &error)) {
        fuzz_refused(&error);
    } else if (!done) {
        if (options.command == COMMAND_TRAIN) train(&options);
        if (options.command == COMMAND_NIAH) niah(&options);
        if (options.command & (COMMAND_EVAL | COMMAND_BENCH)) lists(&options);
    }
    options_free(&options);
}

void fuzz_words(const char *folder, const uint8_t *data, size_t size) {
    static char program[] = "train_gpt_lighthouse";
    char *text = (char *)alloc_or_exit(size + 1, 1), *words[MAX_WORDS + 1] = {program};
    memcpy(text, data, size);
    int count = 1;
    for (char *at = text; at < text + size && count < MAX_WORDS; at += strlen(at) + 1) {
        char *newline = strchr(at, '\n');
        if (newline) *newline = 0;
        words[count++] = at;
    }
    words[count] = NULL;

    // Paths among the words are those of an empty folder; help goes nowhere.
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fuzz_must(here >= 0 && chdir(folder) == 0, "the folder cannot be entered");
    FILE *kept = stdout; // which the GNU C library lets programs replace
    stdout = fopen("/dev/null", "w");
    parse(count, words);
    fclose(stdout);
    stdout = kept;
    fuzz_must(fchdir(here) == 0, "the folder cannot be left");
    close(here);
    free(text);
}
