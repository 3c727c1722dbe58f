// What all harnesses share; see harness.h.
#include "harness.h"

#include "core/pack/json_lines.h"
#include "core/base/files.h"
#include "core/engine/fit.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const Harness fuzz_harnesses[FUZZ_HARNESSES] = {
    {"shard", fuzz_shard, fuzz_shard_mend},
    {"safetensors", fuzz_safetensors, fuzz_safetensors_mend},
    {"config", fuzz_config, NULL},
    {"tokenizer", fuzz_tokenizer, NULL},
    {"model", fuzz_model, NULL},
    {"state", fuzz_state, fuzz_state_mend},
    {"settings", fuzz_settings, NULL},
    {"log", fuzz_log, NULL},
    {"report", fuzz_report, NULL},
    {"documents", fuzz_documents, NULL},
    {"ids", fuzz_ids, NULL},
    {"words", fuzz_words, NULL},
};

const Harness *fuzz_harness(const char *name) {
    for (int i = 0; i < FUZZ_HARNESSES; i++) {
        if (strcmp(fuzz_harnesses[i].name, name) == 0) return &fuzz_harnesses[i];
    }
    return NULL;
}

void fuzz_must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "fuzz: this must not be: %s\n", what);
    abort();
}

void fuzz_refused(Error *error) {
    fuzz_must(error->status == STATUS_USAGE || error->status == STATUS_DATA || error->status == STATUS_MEMORY,
              "a refusal without a status of its own");
    fuzz_must(error->message[0] != 0, "a refusal without a word");
    for (const char *at = error->message; *at; at++) {
        fuzz_must((unsigned char)*at >= ' ' && *at != 0x7f, "a control character in a message");
    }
    memset(error, 0, sizeof *error);
}

void fuzz_write(const char *folder, const char *name, const void *data, size_t size) {
    Error error;
    char *path = path_join(folder, name), *parent = path_parent(path);
    fuzz_must(folders_make(parent, &error), "no room for the input");
    FILE *file = fopen(path, "wb");
    fuzz_must(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "no room for the input");
    free(parent);
    free(path);
}

// The next line "@@ NAME" from `from` on, where one begins; sets where its file begins. `size` where none is.
static size_t next_part(const char *text, size_t size, size_t from, const char *const *names,
                        const char **name, size_t *content) {
    for (size_t at = from; at + 3 < size; at++) {
        if ((at > 0 && text[at - 1] != '\n') || memcmp(text + at, "@@ ", 3) != 0) continue;
        for (int i = 0; names[i]; i++) {
            size_t length = strlen(names[i]), end = at + 3 + length;
            if (end >= size || text[end] != '\n' || memcmp(text + at + 3, names[i], length) != 0) continue;
            *name = names[i];
            *content = end + 1;
            return at;
        }
    }
    return size;
}

void fuzz_unpack(const char *folder, const char *const *names, const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *name = NULL, *following = NULL;
    size_t content = 0, begin = 0;
    size_t at = next_part(text, size, 0, names, &name, &content);
    while (at < size) {
        begin = content;
        at = next_part(text, size, begin, names, &following, &content);
        size_t end = at < size ? at - 1 : size; // the line's own end is no part of the file before it
        fuzz_write(folder, name, text + begin, end > begin ? end - begin : 0);
        name = following;
    }
}

static size_t one_gigabyte(const Ranks *ranks) {
    (void)ranks;
    return 1000000000;
}

PackConfig fuzz_pack_config(const char **input, const char *out) {
    PackConfig config;
    memset(&config, 0, sizeof config);
    config.inputs = input;
    config.n_inputs = 1;
    config.out = out;
    config.shard_tokens = 1024;
    config.threads = 1;
    config.field = JSON_LINES_FIELD;
    return config;
}

void fuzz_plan(const EngineConfig *config) {
    EngineApi api = *engine_cpu();
    api.memory_available = one_gigabyte;
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    memset(&error, 0, sizeof error);
    if (!api.plan(config, plan, &error) || !fit_check(&api, config, plan, &error)) fuzz_refused(&error);
    free(plan);
}

// Where the n-th number of a text, counted round and round, begins, and how many digits it has; 0 for none.
static size_t find_number(const uint8_t *data, size_t size, unsigned n, size_t *begin) {
    unsigned count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < size; at++) {
            size_t digits = 0;
            while (at + digits < size && isdigit(data[at + digits])) digits++;
            if (digits == 0) continue;
            *begin = at;
            if (pass == 1 && n-- == 0) return digits;
            count++;
            at += digits;
        }
        if (count == 0) return 0;
        if (pass == 0) n %= count;
    }
    return 0;
}

size_t fuzz_change_number(uint8_t *data, size_t size, size_t room, unsigned choice) {
    static const int64_t numbers[] = {0,
                                      1,
                                      7,
                                      8,
                                      64,
                                      65,
                                      128,
                                      1024,
                                      1 << 20,
                                      1 << 24,
                                      INT32_MAX,
                                      1000000000,
                                      (int64_t)1 << 32,
                                      1000000000000,
                                      (int64_t)1 << 53,
                                      INT64_MAX,
                                      -1,
                                      INT64_MIN};
    static const unsigned n_numbers = sizeof numbers / sizeof *numbers;
    size_t begin, digits = find_number(data, size, choice / 32, &begin);
    if (digits == 0) return size;
    char old[16] = "", text[24]; // of a longer number the first digits count
    memcpy(old, data + begin, digits < sizeof old - 1 ? digits : sizeof old - 1);
    int64_t value = strtoll(old, NULL, 10);
    unsigned kind = choice % 32;
    int64_t changed = kind < n_numbers ? numbers[kind] : value + (int64_t)kind - 24;
    if (kind == 31) changed = 2 * value;
    size_t length = (size_t)snprintf(text, sizeof text, "%lld", (long long)changed);
    if (size - digits + length > room) return size;
    memmove(data + begin + length, data + begin + digits, size - begin - digits);
    memcpy(data + begin, text, length);
    return size - digits + length;
}

// Where inputs are written: in memory where the system has such a folder.
static char *make_folder(void) {
    const char *base = getenv("TMPDIR");
    if (!base) base = folder_exists("/dev/shm") ? "/dev/shm" : "/tmp";
    char *folder = path_join(base, "lighthouse_fuzz_XXXXXX");
    fuzz_must(mkdtemp(folder) != NULL, "no temporary folder");
    return folder;
}

void fuzz_run(const Harness *harness, const uint8_t *data, size_t size) {
    Error error;
    warnings_end(); // a million of them would hide what matters
    char *folder = make_folder();
    int before = open(folder, O_RDONLY | O_CLOEXEC);
    close(before);
    harness->run(folder, data, size);
    int after = open(folder, O_RDONLY | O_CLOEXEC);
    close(after);
    fuzz_must(before == after, "a file is still open");
    fuzz_must(tree_remove(folder, &error), "the input cannot be removed");
    free(folder);
}
