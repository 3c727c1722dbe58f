// A library put before the C library's (LD_PRELOAD), by which hosts of a test are alike where real ones of
// one name are: every process table has the same number. LOOK_FILE.PROCESS gets a byte whenever that process
// asks whether another is there: so a test knows that it has looked, without a clock.
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

// The library's own; ISO C lets no object's address become a function's.
#define NEXT(type, name) \
    static type next;    \
    if (!next) *(void **)(void *)&next = dlsym(RTLD_NEXT, name)

int stat(const char *path, struct stat *info) {
    typedef int (*Function)(const char *, struct stat *);
    NEXT(Function, "stat");
    int code = next(path, info);
    if (code == 0 && strcmp(path, "/proc/self/ns/pid") == 0) info->st_ino = 4026531836U; // Linux's first
    return code;
}

int kill(pid_t process, int number) {
    typedef int (*Function)(pid_t, int);
    NEXT(Function, "kill");
    const char *looks = number == 0 ? getenv("LOOK_FILE") : NULL;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.%d", looks ? looks : "", (int)getpid());
    int file = looks ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    if (file >= 0) {
        if (write(file, "?", 1) < 0) abort();
        close(file);
    }
    return next(process, number);
}
