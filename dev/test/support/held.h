// Programs that stand still at a known place until a test has done something to them: hold_shim.c, which says
// how. What is done comes there on any machine, and no run has to be long for it.
#ifndef TEST_HELD_H
#define TEST_HELD_H

#include "dev/test/support/program.h"

#ifdef __cplusplus
extern "C" {
#endif

// What ends it: the test alone, or a signal that the program heeds too.
typedef enum { HELD_TILL_TOLD, HELD_TILL_SIGNAL } HeldTill;

// Finds the shim while the test is still in the folder it was started in; call it first in main.
void held_find(void);

// Starts a program that stands still behind update `step`, whose line is then in the log, and waits until it
// does. `name` is new for each.
Program *held_behind(const char *name, int step, HeldTill till, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// Likewise, before the first write to a file with `part` in its path, or read of one, that comes behind
// update `step`, 0 for any. Other threads go on.
Program *held_before(const char *name, int step, const char *part, HeldTill till, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

// Waits until the program has heeded so many signals.
void held_heeds(const char *name, int signals);
// Lets it go on.
void held_go(const char *name);

#ifdef __cplusplus
}
#endif
#endif
