// Memory that is available; see host_memory.h.
#include "host_memory.h"

#include <stdbool.h>
#include <stdio.h>

// The number in a file of one number; false where there is none, as "max" in a cgroup without a limit.
static bool read_number(const char *path, size_t *value) {
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool ok = fscanf(file, "%zu", value) == 1; // NOLINT(cert-err34-c) the kernel's number is one
    fclose(file);
    return ok;
}

size_t host_memory_available(void) {
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    size_t kilobytes = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemAvailable: %zu kB", &kilobytes) == 1) break; // NOLINT(cert-err34-c) likewise
    }
    if (file) fclose(file);

    size_t available = kilobytes * 1024, limit, used;
    if (read_number("/sys/fs/cgroup/memory.max", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", &used)) {
        size_t left = limit > used ? limit - used : 0;
        if (left < available) available = left;
    }
    return available;
}
