// A library put before the C library's (LD_PRELOAD), that numbers what a program does to the files below one
// folder, from 1, and lets one of these operations go wrong. The environment says how:
//
//   FAULT_UNDER   the folder, as the program names it; everything else is left alone
//   FAULT_TRACE   a file that gets a line for each operation, "rename .step_00000001.tmp step_00000001":
//                 what, and on which paths below the folder ("." is the folder itself)
//   FAULT_AT      the number n of the operation that goes wrong; 0 or none: all go well
//   FAULT_KIND    how:
//     kill        SIGKILL in the midst of it: of a write one half is made, of all else nothing
//     error       it fails with EIO, all others go well
//     full        a full disk: of a write one half is made, and from then on nothing grows (ENOSPC)
//     readonly    nothing more can be changed (EROFS)
//     short       every write, n or not, makes one half of what it could
//     interrupt   every other write, n or not, fails with EINTR
//
// Counted are write, pwrite, ftruncate, fsync, rename, and of mkdir, open and the removals those that would
// change something. Other calls that a program may write with (stdio, mmap) are not seen.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum { DO_ALL, DO_HALF, DO_NOTHING } Extent;

// What is to be done of an operation: all; of a write a half, and then the process dies where it says so;
// nothing, with errno set.
typedef struct {
    Extent extent;
    bool dies;
} Verdict;

static const Verdict all = {DO_ALL, false}, half = {DO_HALF, false};

// The C library's own function.
#define NEXT(type, name) \
    static type next;    \
    if (!next) *(void **)(void *)&next = dlsym(RTLD_NEXT, name)

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static Verdict fail(int why) {
    Verdict verdict = {DO_NOTHING, false};
    errno = why;
    return verdict;
}

// The path below the folder; NULL where it is not there.
static const char *below(const char *path) {
    const char *folder = getenv("FAULT_UNDER");
    size_t length = folder ? strlen(folder) : 0;
    if (length == 0 || !path || strncmp(path, folder, length) != 0) return NULL;
    if (path[length] == 0) return ".";
    return path[length] == '/' ? path + length + 1 : NULL;
}

static void trace(const char *what, const char *path, const char *to) {
    const char *name = getenv("FAULT_TRACE");
    char line[2 * PATH_MAX];
    if (!name) return;
    int length = snprintf(line, sizeof line, to ? "%s %s %s\n" : "%s %s\n", what, path, to);
    long file = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || syscall(SYS_write, file, line, (size_t)length) != length) abort();
    syscall(SYS_close, file);
}

static Verdict judge_fault(const char *kind, bool writes, bool grows, bool here) {
    if (strcmp(kind, "kill") == 0 && here) {
        if (!writes) die();
        Verdict torn = {DO_HALF, true};
        return torn;
    }
    if (strcmp(kind, "error") == 0 && here) return fail(EIO);
    if (strcmp(kind, "readonly") == 0) return fail(EROFS);
    if (strcmp(kind, "full") == 0 && grows) return writes && here ? half : fail(ENOSPC);
    return all;
}

// `what` is about to be done to a path (`to`: another path that takes part).
static Verdict judge(const char *what, const char *path, const char *to) {
    static int count;
    const char *kind = getenv("FAULT_KIND"), *at = getenv("FAULT_AT"), *name = below(path);
    if (!name) return all;
    int number = __sync_add_and_fetch(&count, 1), wanted = at ? atoi(at) : 0;
    trace(what, name, to ? below(to) : NULL);
    bool writes = strcmp(what, "write") == 0;
    bool grows = writes || strcmp(what, "create") == 0 || strcmp(what, "mkdir") == 0;
    if (kind && writes && strcmp(kind, "short") == 0) return half;
    if (kind && writes && strcmp(kind, "interrupt") == 0) return number % 2 ? fail(EINTR) : all;
    if (!kind || wanted < 1 || number < wanted) return all;
    return judge_fault(kind, writes, grows, number == wanted);
}

static Verdict judge_file(const char *what, int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return all;
    path[length] = 0;
    return judge(what, path, NULL);
}

// A half of nothing or of one byte would be nothing, which no write gives.
static size_t extent_bytes(Verdict verdict, size_t size) {
    return verdict.extent == DO_HALF && size > 1 ? size / 2 : size;
}

// ---- What stands before the C library's functions

ssize_t write(int file, const void *data, size_t size) {
    typedef ssize_t (*Function)(int, const void *, size_t);
    NEXT(Function, "write");
    Verdict verdict = judge_file("write", file);
    if (verdict.extent == DO_NOTHING) return -1;
    ssize_t done = next(file, data, extent_bytes(verdict, size));
    if (verdict.dies) die();
    return done;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    typedef ssize_t (*Function)(int, const void *, size_t, off_t);
    NEXT(Function, "pwrite");
    Verdict verdict = judge_file("write", file);
    if (verdict.extent == DO_NOTHING) return -1;
    ssize_t done = next(file, data, extent_bytes(verdict, size), at);
    if (verdict.dies) die();
    return done;
}

int ftruncate(int file, off_t size) {
    typedef int (*Function)(int, off_t);
    NEXT(Function, "ftruncate");
    return judge_file("truncate", file).extent == DO_NOTHING ? -1 : next(file, size);
}

int fsync(int file) {
    typedef int (*Function)(int);
    NEXT(Function, "fsync");
    return judge_file("sync", file).extent == DO_NOTHING ? -1 : next(file);
}

int rename(const char *from, const char *to) {
    typedef int (*Function)(const char *, const char *);
    NEXT(Function, "rename");
    return judge("rename", from, to).extent == DO_NOTHING ? -1 : next(from, to);
}

static bool there(const char *path) {
    struct stat info;
    int why = errno;
    bool found = lstat(path, &info) == 0;
    errno = why;
    return found;
}

int mkdir(const char *path, mode_t mode) {
    typedef int (*Function)(const char *, mode_t);
    NEXT(Function, "mkdir");
    return !there(path) && judge("mkdir", path, NULL).extent == DO_NOTHING ? -1 : next(path, mode);
}

int remove(const char *path) {
    typedef int (*Function)(const char *);
    NEXT(Function, "remove");
    return there(path) && judge("remove", path, NULL).extent == DO_NOTHING ? -1 : next(path);
}

int unlink(const char *path) {
    typedef int (*Function)(const char *);
    NEXT(Function, "unlink");
    return there(path) && judge("remove", path, NULL).extent == DO_NOTHING ? -1 : next(path);
}

int rmdir(const char *path) {
    typedef int (*Function)(const char *);
    NEXT(Function, "rmdir");
    return there(path) && judge("remove", path, NULL).extent == DO_NOTHING ? -1 : next(path);
}

int open(const char *path, int flags, ...) {
    typedef int (*Function)(const char *, int, ...);
    NEXT(Function, "open");
    va_list values;
    va_start(values, flags);
    unsigned mode = flags & O_CREAT ? va_arg(values, unsigned) : 0;
    va_end(values);
    bool changes = (flags & O_CREAT) && (!there(path) || (flags & O_TRUNC));
    return changes && judge("create", path, NULL).extent == DO_NOTHING ? -1 : next(path, flags, mode);
}
