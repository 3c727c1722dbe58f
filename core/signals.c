// Signals that ask a run to save and end; see signals.h.
#include "signals.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t pending;

static void on_signal(int number) {
    if (pending) {
        signal(number, SIG_DFL);
        raise(number);
    }
    pending = number;
}

void signals_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

int signals_pending(void) {
    return (int)pending;
}
