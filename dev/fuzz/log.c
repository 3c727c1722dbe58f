// log.jsonl of a run that is resumed: cut at the checkpoint's step.
#include "harness.h"

#include "core/base/files.h"
#include "core/train/log.h"

#include <stdlib.h>
#include <string.h>

static char *read_log(const char *folder, size_t *size) {
    Error error;
    char *path = path_join(folder, "log.jsonl"), *text = file_read(path, SIZE_MAX, size, &error);
    fuzz_must(text != NULL, "the log is gone");
    free(path);
    return text;
}

void fuzz_log(const char *folder, const uint8_t *data, size_t size) {
    static const int64_t steps[] = {1000000000000, 5, 5, -1}; // the first is the largest of --steps
    fuzz_write(folder, "log.jsonl", data, size);
    char *before = read_log(folder, &size);
    for (int i = 0; i < 4; i++) {
        Error error;
        size_t left;
        fuzz_must(log_cut(folder, steps[i], &error), "a log that cannot be cut");
        char *after = read_log(folder, &left);
        fuzz_must(left <= size, "a log that grows when it is cut");
        fuzz_must(left == 0 || after[left - 1] == '\n', "a torn line stays");
        fuzz_must(i != 2 || (left == size && memcmp(before, after, size) == 0), "a second cut changes a log");
        fuzz_must(steps[i] >= 0 || left == 0, "lines of no step stay");
        free(before);
        before = after;
        size = left;
    }
    free(before);
}
