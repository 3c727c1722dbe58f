// Signals that ask a run to save and end: SIGTERM, SIGINT and SIGUSR1. The first is noted, for the run to see
// between two updates; a second one, the same or another, has its usual effect at once.
#ifndef CORE_SIGNALS_H
#define CORE_SIGNALS_H

#ifdef __cplusplus
extern "C" {
#endif

void signals_catch(void);

// The number of the signal that has come; 0 for none.
int signals_pending(void);

#ifdef __cplusplus
}
#endif
#endif
