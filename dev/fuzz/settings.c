// run.json, as --config takes it: the settings, whether they fit each other, and the plan they lead to.
#include "harness.h"

#include "core/base/files.h"
#include "core/cost/flops.h"
#include "core/train/run.h"
#include "core/train/schedule.h"

#include <stdlib.h>
#include <string.h>

// All that --dry-run computes.
static void plan_run(const Run *run, const Options *options) {
    fuzz_plan(&run->engine);
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= ATTENTION_DENSE; attention++) {
        double flops = flops_sequence(&run->engine, options->seq_len, (Attention)attention);
        fuzz_must(flops >= 0, "a negative number of operations");
    }
    const int64_t steps[] = {0, options->steps / 2, options->steps - 1};
    for (int i = 0; i < 3; i++) {
        double lr = schedule_lr(options, steps[i]);
        fuzz_must(lr >= 0 && lr <= options->lr, "a learning rate beyond its bounds");
    }
}

// What is written of settings is read as the same.
static void read_again(const Options *options) {
    static char program[] = "train_gpt_lighthouse", command[] = "train";
    char *words[] = {program, command, NULL};
    Options again;
    Error error;
    bool done;
    json_t *settings = options_settings(options);
    fuzz_must(options_parse(&again, 2, words, &done, &error) &&
                  options_read_settings(&again, settings, SOURCE_CONFIG, "run.json", &error),
              "settings that are not taken as they were written");
    char *changes = options_describe_changes(&again, settings, NULL);
    fuzz_must(changes[0] == 0, "settings that are read as others");
    free(changes);
    json_decref(settings);
    options_free(&again);
}

void fuzz_settings(const char *folder, const uint8_t *data, size_t size) {
    static char program[] = "train_gpt_lighthouse", command[] = "train", config[] = "--config",
                dry_run[] = "--dry-run";
    fuzz_write(folder, "run.json", data, size);
    char *path = path_join(folder, "run.json");
    char *words[] = {program, command, config, path, dry_run, NULL};
    Options options;
    Run run;
    Ranks ranks;
    Error error;
    memset(&error, 0, sizeof error);
    ranks_imagine(&ranks, size % 2 ? 1 : 4, 8); // so that both are met
    bool done;
    fuzz_must(options_parse(&options, 5, words, &done, &error), "--config FILE is refused");
    if (run_prepare(&run, &options, &ranks, &error)) {
        plan_run(&run, &options);
        read_again(&options);
    } else {
        fuzz_refused(&error);
    }
    run_free(&run);
    options_free(&options);
    free(path);
}
