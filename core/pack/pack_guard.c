// Signals that end `pack` or `export` while it works; see pack_guard.h.
#include "core/pack/pack_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int SIGNALS[PACK_GUARD_SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1};

// The handler can reach nothing else: it writes the signal's number here, and the thread reads it.
static int alarm_pipe[2] = {-1, -1};
static volatile sig_atomic_t seen;

static void on_signal(int number) {
    int saved = errno;
    if (seen) { // the second has its usual effect at once
        signal(number, SIG_DFL);
        raise(number);
    }
    seen = number;
    unsigned char byte = (unsigned char)number;
    if (write(alarm_pipe[1], &byte, 1) < 0) seen = 0;
    errno = saved;
}

// Where nobody reads standard error, the end does not wait for a reader.
static void say(int number, const char *outcome) {
    char text[160];
    struct pollfd out = {STDERR_FILENO, POLLOUT, 0};
    int size = snprintf(text, sizeof text,
                        "train_gpt_lighthouse: ended by signal %d (%s): %s, and what was begun is removed\n",
                        number, strsignal(number), outcome);
    if (poll(&out, 1, 0) == 1 && write(STDERR_FILENO, text, (size_t)size) < 0) return;
}

// A byte of 0 is pack_guard_end's.
static void *stand_guard(void *argument) {
    PackGuard *guard = (PackGuard *)argument;
    unsigned char number = 0;
    ssize_t got;
    do got = read(alarm_pipe[0], &number, 1);
    while (got < 0 && errno == EINTR);
    if (got < 1 || number == 0) return NULL;
    pthread_mutex_lock(&guard->lock); // and it stays so: nobody else goes on
    if (guard->done) {
        pthread_mutex_unlock(&guard->lock);
        return NULL;
    }
    guard->remove(guard->what);
    say(number, guard->outcome);
    signal(number, SIG_DFL);
    kill(getpid(), number);
    for (;;) pause();
}

static void catch_signals(PackGuard *guard) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (int i = 0; i < PACK_GUARD_SIGNALS; i++) {
        sigaction(SIGNALS[i], NULL, &guard->before[i]);
        if (guard->before[i].sa_handler != SIG_IGN) sigaction(SIGNALS[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, &guard->pipe_before);
}

bool pack_guard_start(PackGuard *guard, void (*remove)(void *what), void *what, const char *outcome,
                      Error *error) {
    memset(guard, 0, sizeof *guard);
    guard->remove = remove;
    guard->what = what;
    guard->outcome = outcome;
    if (pipe2(alarm_pipe, O_CLOEXEC) != 0) return error_set_errno(error, STATUS_MEMORY, "cannot make a pipe");
    pthread_mutex_init(&guard->lock, NULL);
    seen = 0;
    int code = pthread_create(&guard->thread, NULL, stand_guard, guard);
    if (code != 0) {
        pthread_mutex_destroy(&guard->lock);
        close(alarm_pipe[0]);
        close(alarm_pipe[1]);
        return error_set(error, STATUS_MEMORY, "cannot start a thread: %s", strerror(code));
    }
    guard->started = true;
    catch_signals(guard);
    return true;
}

void pack_guard_hold(PackGuard *guard) {
    pthread_mutex_lock(&guard->lock);
}

void pack_guard_release(PackGuard *guard, bool done) {
    guard->done = guard->done || done;
    pthread_mutex_unlock(&guard->lock);
}

void pack_guard_end(PackGuard *guard) {
    if (!guard->started) return;
    for (int i = 0; i < PACK_GUARD_SIGNALS; i++) sigaction(SIGNALS[i], &guard->before[i], NULL);
    sigaction(SIGPIPE, &guard->pipe_before, NULL);
    unsigned char end = 0;
    bool told = write(alarm_pipe[1], &end, 1) == 1;
    if (told) pthread_join(guard->thread, NULL); // which never comes where a signal is taking effect
    close(alarm_pipe[0]);
    close(alarm_pipe[1]);
    pthread_mutex_destroy(&guard->lock);
    memset(guard, 0, sizeof *guard);
}
