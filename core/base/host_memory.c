// Memory that is available; see host_memory.h.
#include "core/base/host_memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

// The number in a file of one number; false where there is none, as "max" in a cgroup without a limit.
static bool read_number(const char *path, size_t *value) {
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool ok = fscanf(file, "%zu", value) == 1; // NOLINT(cert-err34-c) the kernel's number is one
    fclose(file);
    return ok;
}

// The number behind a label at the beginning of a line; 0 where there is none.
static size_t number_behind(const char *path, const char *label) {
    FILE *file = fopen(path, "r");
    char line[256];
    size_t length = strlen(label), value = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, label, length) == 0) {
            value = strtoull(line + length, NULL, 10);
            break;
        }
    }
    if (file) fclose(file);
    return value;
}

size_t host_memory_available(void) {
    size_t available = number_behind("/proc/meminfo", "MemAvailable:") * 1024, limit, used;
    if (read_number("/sys/fs/cgroup/memory.max", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", &used)) {
        // Of what a container uses: files' pages that give way to who needs the room.
        size_t files = number_behind("/sys/fs/cgroup/memory.stat", "inactive_file ");
        used -= files < used ? files : used;
        size_t left = limit > used ? limit - used : 0;
        if (left < available) available = left;
    }
    return available;
}

// OpenBLAS fails with less than 256 KB.
#define LEAST_STACK (512 << 10)

bool host_stack_check(Error *error) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= LEAST_STACK) return true;
    return error_set(error, STATUS_MEMORY,
                     "the stack may have %llu KB, and %d are needed; raise the limit with ulimit -s 8192",
                     (unsigned long long)limit.rlim_cur >> 10, LEAST_STACK >> 10);
}
