// Signals that ask a run to save and end; see signals.h.
#include "core/base/signals.h"

#include "core/base/clock.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#define ONE_PRESS_SECONDS 0.05 // a terminal and a script may both pass one Ctrl-C on

static volatile sig_atomic_t pending;

// glibc's own: UCX, which comes with Open MPI 5, puts functions of its own before signal() and sigaction().
extern int libc_sigaction(int number, const struct sigaction *action,
                          struct sigaction *before) __asm__("__sigaction");

// Only one that is impatient presses Ctrl-C twice; batch systems repeat the other signals within
// milliseconds.
static void on_interrupt(void) {
    static volatile double first;
    double time = now();
    if (first == 0) first = time;
    if (time - first < ONE_PRESS_SECONDS) return;
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
}

static void on_signal(int number) {
    if (!pending) pending = number;
    if (number == SIGINT) on_interrupt();
}

void signal_set(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    libc_sigaction(number, &action, NULL);
}

static int ignored(int number) {
    struct sigaction action;
    return libc_sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

// ---- The start

static int hangup_ignored;

static void look_at_hangup(void) {
    hangup_ignored = ignored(SIGHUP);
}

// Runs before the constructors of all libraries.
__attribute__((section(".preinit_array"), used)) static void (*before_libraries)(void) = look_at_hangup;

void signals_open(void) {
    signal_set(SIGHUP, hangup_ignored ? SIG_IGN : SIG_DFL);
}

void signals_catch(void) {
    static const int asked[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) signal_set(asked[i], on_signal);
    if (!ignored(SIGHUP)) signal_set(SIGHUP, on_signal); // what is started with nohup outlives its terminal
}

int signals_pending(void) {
    return (int)pending;
}

bool signals_thread(pthread_t *thread, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(thread, NULL, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}
