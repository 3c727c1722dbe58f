// Faults in the files of programs that tests start: fault_shim.c, which says what there is.
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#ifdef __cplusplus
extern "C" {
#endif

// In which thread's operation, from 1, and how. At 0 there is none.
typedef struct {
    const char *kind, *thread;
    int at;
} Fault;

// Finds the shim while the test is still in the folder it was started in; call it first in main.
void faults_find(void);

// Programs started from here on, until faults_end, have this fault below the folder `under`, which they name
// so; `trace` receives what they do.
void faults_begin(Fault fault, const char *under, const char *trace);
void faults_end(void);

#ifdef __cplusplus
}
#endif
#endif
