// Where what the build made lies; see built.h.
#include "built.h"

#include <stdio.h>
#include <stdlib.h>

void built_find(const char *name, char path[PATH_MAX]) {
    const char *build = getenv("BUILD");
    char wanted[PATH_MAX];
    snprintf(wanted, sizeof wanted, "%s/%s", build && build[0] ? build : "build", name);
    if (realpath(wanted, path)) return;
    fprintf(stderr, "%s is not there: make it, or set BUILD\n", wanted);
    exit(1);
}
