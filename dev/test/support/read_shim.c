// A disk that is slow for one rank: before the C library's own pread. Variables: READ_RANK, the rank;
// READ_SLOW, milliseconds that each read of a shard takes longer in its thread that reads ahead, headers
// aside.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define HEADER 64 // bytes

static int is_shard(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && strncmp(path + length - 4, ".bin", 4) == 0;
}

static void delay(int file, size_t size) {
    const char *own = getenv("OMPI_COMM_WORLD_RANK"), *rank = getenv("READ_RANK"),
               *slow = getenv("READ_SLOW");
    if (size <= HEADER || gettid() == getpid() || !own || !rank || !slow || strcmp(own, rank) != 0 ||
        !is_shard(file))
        return;
    struct timespec pause = {atoi(slow) / 1000, atoi(slow) % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

typedef ssize_t (*Read)(int file, void *data, size_t size, off_t offset);

// The C library's own; ISO C lets no object's address become a function's.
static Read next_read(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    Read read;
    memcpy(&read, &found, sizeof read);
    return read;
}

ssize_t pread(int file, void *data, size_t size, off_t offset) {
    delay(file, size);
    return next_read("pread")(file, data, size, offset);
}

ssize_t pread64(int file, void *data, size_t size, off64_t offset) {
    delay(file, size);
    return next_read("pread64")(file, data, size, offset);
}
