// Where what the build made lies, for tests that run it.
#ifndef TEST_BUILT_H
#define TEST_BUILT_H

#include <limits.h>

#ifdef __cplusplus
extern "C" {
#endif

// The full path of a file in the folder that the environment variable BUILD names (default: build), from the
// folder that the test was started in. Ends the test where there is none.
void built_find(const char *name, char path[PATH_MAX]);

#ifdef __cplusplus
}
#endif
#endif
