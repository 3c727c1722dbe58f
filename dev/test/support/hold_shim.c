// A library put before the C library's (LD_PRELOAD), that lets a program stand still at a known place, so
// that what a test does to it comes there on any machine, however fast or busy. The environment says where:
//
//   HOLD_LINE   behind a write that begins with these words, as a line of the log: {"step":14,
//   HOLD_PATH   before a write to a file with these words in its path, or a read of more than a shard's
//   header;
//               where HOLD_LINE is given too, the first after that line
//   HOLD_FILE   a file that is made when a thread stands still. Where it is there already, nobody does: a job
//               that is started again with the same environment goes on
//   HOLD_TILL   told: until something is put into that file, or it is taken away
//               signal: or until the program has heeded a signal
//
// HOLD_FILE.signals gets a byte for each signal that was heeded since.
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HEADER 64 // bytes of a shard's

static const int signals[] = {SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGXCPU};
#define SIGNALS ((int)(sizeof signals / sizeof *signals))

static struct sigaction heeded[SIGNALS];
static char held_file[PATH_MAX], signals_file[PATH_MAX + 16]; // known when somebody stands still
static volatile sig_atomic_t came, line_came;

// glibc's own: UCX, which comes with Open MPI 5, puts functions of its own before sigaction().
extern int libc_sigaction(int number, const struct sigaction *action,
                          struct sigaction *before) __asm__("__sigaction");

// One of ours, past what other libraries make of open() and write(): also within a signal's handler.
static bool put_bytes(const char *path, const char *bytes, size_t size) {
    long file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) return false;
    long done = syscall(SYS_write, file, bytes, size);
    syscall(SYS_close, file);
    return done == (long)size;
}

// ---- Signals

static void on_signal(int number) {
    for (int i = 0; i < SIGNALS; i++) {
        if (signals[i] == number) heeded[i].sa_handler(number);
    }
    came = 1;
    put_bytes(signals_file, "!", 1);
}

// Those that the program heeds are seen here too, in whichever thread they come.
static void watch_signals(void) {
    snprintf(signals_file, sizeof signals_file, "%s.signals", held_file);
    for (int i = 0; i < SIGNALS; i++) {
        libc_sigaction(signals[i], NULL, &heeded[i]);
        bool handled = heeded[i].sa_handler != SIG_DFL && heeded[i].sa_handler != SIG_IGN;
        if (!handled || (heeded[i].sa_flags & SA_SIGINFO)) continue;
        struct sigaction watched = heeded[i];
        watched.sa_handler = on_signal;
        libc_sigaction(signals[i], &watched, NULL);
    }
}

// ---- Standing still

static bool told(void) {
    struct stat info;
    return stat(held_file, &info) != 0 || info.st_size > 0;
}

static void stand_still(void) {
    const char *till = getenv("HOLD_TILL");
    const struct timespec moment = {0, 5000000};
    bool by_signal = till && strcmp(till, "signal") == 0;
    if (!put_bytes(held_file, "", 0)) abort();
    while (!(by_signal && came) && !told()) nanosleep(&moment, NULL);
}

// Whether a thread is to stand still, the first that asks.
static bool first(void) {
    static int taken;
    const char *path = getenv("HOLD_FILE");
    if (!path || access(path, F_OK) == 0 || __atomic_exchange_n(&taken, 1, __ATOMIC_SEQ_CST)) return false;
    snprintf(held_file, sizeof held_file, "%s", path);
    watch_signals();
    return true;
}

static bool before(int file) {
    const char *part = getenv("HOLD_PATH");
    char link[64], path[PATH_MAX];
    if (!part || (getenv("HOLD_LINE") && !line_came)) return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return strstr(path, part) && first();
}

static bool behind(const char *data, size_t size) {
    const char *line = getenv("HOLD_LINE");
    size_t length = line ? strlen(line) : 0;
    bool here = length > 0 && size >= length && memcmp(data, line, length) == 0;
    if (here) line_came = 1;
    return here && !getenv("HOLD_PATH") && first();
}

// ---- What stands before the C library's functions

// The library's own; ISO C lets no object's address become a function's.
#define NEXT(type, name) \
    static type next;    \
    if (!next) *(void **)(void *)&next = dlsym(RTLD_NEXT, name)

ssize_t write(int file, const void *data, size_t size) {
    typedef ssize_t (*Function)(int, const void *, size_t);
    NEXT(Function, "write");
    // Signals are watched before the line can be seen.
    bool holds = behind((const char *)data, size);
    if (before(file)) stand_still();
    ssize_t done = next(file, data, size);
    if (holds) stand_still();
    return done;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    typedef ssize_t (*Function)(int, const void *, size_t, off_t);
    NEXT(Function, "pwrite");
    if (before(file)) stand_still();
    return next(file, data, size, at);
}

ssize_t pread(int file, void *data, size_t size, off_t at) {
    typedef ssize_t (*Function)(int, void *, size_t, off_t);
    NEXT(Function, "pread");
    if (size > HEADER && before(file)) stand_still();
    return next(file, data, size, at);
}
