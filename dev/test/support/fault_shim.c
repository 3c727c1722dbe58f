// A library put before the C library's (LD_PRELOAD), that numbers what a program does to the files below one
// folder, and lets one of these operations go wrong. The environment says how:
//
//   FAULT_UNDER   the folder, as the program names it; everything else is left alone
//   FAULT_TRACE   a file that gets a line for each operation, "other ok rename .step_00000001.tmp
//   step_00000001":
//                 of which thread (main, other), how it went (ok, failed, torn), what, and on which paths
//                 below the folder ("." is the folder itself)
//   FAULT_THREAD  main or other: whose operations count. Each is numbered from 1: what a thread does comes in
//   the
//                 same order every time, but not what two do beside each other
//   FAULT_AT      the number n of the operation that goes wrong; 0 or none: all go well
//   FAULT_KIND    how:
//     kill        SIGKILL in the midst of it: of a write one half is made, of all else nothing
//     error       it fails with EIO, all others go well
//     full        a full disk: of a write one half is made, and from then on nothing grows (ENOSPC)
//     readonly    nothing more can be changed (EROFS)
//     short       every write, n or not, makes one half of what it could
//     interrupt   every other write, n or not, fails with EINTR
//     unreadable  every pread fails with EIO; it is not numbered and leaves no line
//     unresolved  the real path of what is there cannot be found (ENOENT), as below a mount that is gone
//     memory      n MB of the host's memory are available
//
// Counted are write, pwrite, ftruncate, fsync, rename, and of mkdir, open and the removals those that would
// change something. Other calls that a program may write with (stdio, mmap) are not seen. One operation is
// made at a time: the lines of the trace are in their true order.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
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

// Whether the first thread calls.
static bool is_main(void) {
    return syscall(SYS_gettid) == getpid();
}

static void trace(const char *how, const char *what, const char *path, const char *to) {
    const char *name = getenv("FAULT_TRACE");
    char line[2 * PATH_MAX];
    if (!name) return;
    int length = snprintf(line, sizeof line, "%s %s %s %s%s%s\n", is_main() ? "main" : "other", how, what,
                          path, to ? " " : "", to ? to : "");
    long file = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0 || syscall(SYS_write, file, line, (size_t)length) != length) abort();
    syscall(SYS_close, file);
}

// `struck`: the operation that goes wrong, or one after it; `here`: that one itself.
static Verdict judge_fault(const char *kind, bool writes, bool grows, bool struck, bool here) {
    static const Verdict torn = {DO_HALF, true}, dies = {DO_NOTHING, true};
    if (strcmp(kind, "kill") == 0 && here) return writes ? torn : dies;
    if (strcmp(kind, "error") == 0 && here) return fail(EIO);
    if (strcmp(kind, "readonly") == 0 && struck) return fail(EROFS);
    if (strcmp(kind, "full") == 0 && struck && grows) return writes && here ? half : fail(ENOSPC);
    return all;
}

// `what` is about to be done to a path below the folder (`to`: another path that takes part). Under the lock.
static Verdict judge(const char *what, const char *path, const char *to) {
    static int counts[2];
    static bool struck;
    const char *kind = getenv("FAULT_KIND"), *at = getenv("FAULT_AT"), *thread = getenv("FAULT_THREAD");
    const char *name = below(path);
    int number = ++counts[is_main()], wanted = at ? atoi(at) : 0;
    bool writes = strcmp(what, "write") == 0;
    bool grows = writes || strcmp(what, "create") == 0 || strcmp(what, "mkdir") == 0;
    bool here = number == wanted && thread && strcmp(thread, is_main() ? "main" : "other") == 0;
    struck = struck || here;
    Verdict verdict = all;
    if (kind && writes && strcmp(kind, "short") == 0) {
        verdict = half;
    } else if (kind && writes && strcmp(kind, "interrupt") == 0) {
        verdict = number % 2 ? fail(EINTR) : all;
    } else if (kind) {
        verdict = judge_fault(kind, writes, grows, struck, here);
    }
    int why = errno;
    trace(verdict.dies                   ? "torn"
          : verdict.extent == DO_NOTHING ? "failed"
                                         : "ok",
          what, name, to ? below(to) : NULL);
    if (verdict.dies && !writes) die();
    errno = why;
    return verdict;
}

static bool is_kind(const char *wanted) {
    const char *kind = getenv("FAULT_KIND");
    return kind && strcmp(kind, wanted) == 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Whether an operation on this path counts; it is then the only one until its end. Others, which a signal's
// handler may make too, never wait.
static bool begin(const char *path) {
    if (!below(path)) return false;
    pthread_mutex_lock(&lock);
    return true;
}

static ssize_t end(ssize_t result) {
    pthread_mutex_unlock(&lock);
    return result;
}

// The path of an open file; "" where it has none.
static const char *file_path(int file, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

// A half of nothing or of one byte would be nothing, which no write gives.
static size_t extent_bytes(Verdict verdict, size_t size) {
    return verdict.extent == DO_HALF && size > 1 ? size / 2 : size;
}

// ---- What stands before the C library's functions

ssize_t write(int file, const void *data, size_t size) {
    typedef ssize_t (*Function)(int, const void *, size_t);
    NEXT(Function, "write");
    char path[PATH_MAX];
    if (!begin(file_path(file, path))) return next(file, data, size);
    Verdict verdict = judge("write", path, NULL);
    if (verdict.extent == DO_NOTHING) return end(-1);
    ssize_t done = next(file, data, extent_bytes(verdict, size));
    if (verdict.dies) die();
    return end(done);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    typedef ssize_t (*Function)(int, const void *, size_t, off_t);
    NEXT(Function, "pwrite");
    char path[PATH_MAX];
    if (!begin(file_path(file, path))) return next(file, data, size, at);
    Verdict verdict = judge("write", path, NULL);
    if (verdict.extent == DO_NOTHING) return end(-1);
    ssize_t done = next(file, data, extent_bytes(verdict, size), at);
    if (verdict.dies) die();
    return end(done);
}

ssize_t pread(int file, void *data, size_t size, off_t at) {
    typedef ssize_t (*Function)(int, void *, size_t, off_t);
    NEXT(Function, "pread");
    char path[PATH_MAX];
    bool fails = is_kind("unreadable") && below(file_path(file, path));
    if (!fails) return next(file, data, size, at);
    errno = EIO;
    return -1;
}

char *realpath(const char *path, char *resolved) {
    typedef char *(*Function)(const char *, char *);
    NEXT(Function, "realpath");
    if (!is_kind("unresolved") || !below(path)) return next(path, resolved);
    errno = ENOENT;
    return NULL;
}

FILE *fopen(const char *path, const char *mode) {
    typedef FILE *(*Function)(const char *, const char *);
    NEXT(Function, "fopen");
    static char text[64]; // the stream is read from it
    if (!is_kind("memory") || strcmp(path, "/proc/meminfo") != 0) return next(path, mode);
    const char *at = getenv("FAULT_AT");
    int size = snprintf(text, sizeof text, "MemAvailable: %d kB\n", at ? atoi(at) * 1024 : 0);
    return fmemopen(text, (size_t)size, "r");
}

int ftruncate(int file, off_t size) {
    typedef int (*Function)(int, off_t);
    NEXT(Function, "ftruncate");
    char path[PATH_MAX];
    if (!begin(file_path(file, path))) return next(file, size);
    return (int)end(judge("truncate", path, NULL).extent == DO_NOTHING ? -1 : next(file, size));
}

int fsync(int file) {
    typedef int (*Function)(int);
    NEXT(Function, "fsync");
    char path[PATH_MAX];
    if (!begin(file_path(file, path))) return next(file);
    return (int)end(judge("sync", path, NULL).extent == DO_NOTHING ? -1 : next(file));
}

int rename(const char *from, const char *to) {
    typedef int (*Function)(const char *, const char *);
    NEXT(Function, "rename");
    if (!begin(from)) return next(from, to);
    return (int)end(judge("rename", from, to).extent == DO_NOTHING ? -1 : next(from, to));
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
    if (!begin(path)) return next(path, mode);
    return (int)end(!there(path) && judge("mkdir", path, NULL).extent == DO_NOTHING ? -1 : next(path, mode));
}

// The three removals.
typedef int (*Removal)(const char *);
static int removal(Removal next, const char *path) {
    if (!begin(path)) return next(path);
    return (int)end(there(path) && judge("remove", path, NULL).extent == DO_NOTHING ? -1 : next(path));
}

int remove(const char *path) {
    NEXT(Removal, "remove");
    return removal(next, path);
}

int unlink(const char *path) {
    NEXT(Removal, "unlink");
    return removal(next, path);
}

int rmdir(const char *path) {
    NEXT(Removal, "rmdir");
    return removal(next, path);
}

int open(const char *path, int flags, ...) {
    typedef int (*Function)(const char *, int, ...);
    NEXT(Function, "open");
    va_list values;
    va_start(values, flags);
    unsigned mode = flags & O_CREAT ? va_arg(values, unsigned) : 0;
    va_end(values);
    if (!(flags & O_CREAT) || !begin(path)) return next(path, flags, mode);
    bool changes = !there(path) || (flags & O_TRUNC);
    bool fails = changes && judge("create", path, NULL).extent == DO_NOTHING;
    return (int)end(fails ? -1 : next(path, flags, mode));
}
