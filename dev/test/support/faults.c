// Faults in the files of programs that tests start; see faults.h.
#include "faults.h"

#include "built.h"

#include <stdio.h>
#include <stdlib.h>

static char shim[PATH_MAX];

void faults_find(void) {
    built_find("fault_shim.so", shim);
    // The shim comes before the sanitizer's own library, which need not be first for what it does.
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 0);
}

void faults_begin(Fault fault, const char *under, const char *trace) {
    char text[16];
    snprintf(text, sizeof text, "%d", fault.at);
    setenv("FAULT_UNDER", under, 1);
    setenv("FAULT_TRACE", trace, 1);
    setenv("FAULT_KIND", fault.kind, 1);
    setenv("FAULT_THREAD", fault.thread, 1);
    setenv("FAULT_AT", text, 1);
    setenv("LD_PRELOAD", shim, 1);
}

void faults_end(void) {
    unsetenv("LD_PRELOAD");
}
