// Signals that ask a run to save and end: SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU, and SIGHUP unless that
// was ignored at the start, as under nohup. They are noted, for the run to see between two updates. A second
// SIGINT has its usual effect at once; of the others any number may come.
#ifndef CORE_BASE_SIGNALS_H
#define CORE_BASE_SIGNALS_H

#include <pthread.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// To be called first. Gives SIGHUP what the process was started with, where a library took it before main:
// UCX does.
void signals_open(void);

// As signal(), with calls of the system begun anew; also where a library puts its own functions before
// signal().
void signal_set(int number, void (*handler)(int));

void signals_catch(void);

// The number of the signal that has come; 0 for none.
int signals_pending(void);

// Starts a thread that gets no signals, which are for the one that trains. False where it cannot.
bool signals_thread(pthread_t *thread, void *(*run)(void *), void *argument);

#ifdef __cplusplus
}
#endif
#endif
