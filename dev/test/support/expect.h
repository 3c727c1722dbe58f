// What tests expect of functions that return false and fill in an Error. Each fails the test, and shows the
// message, where it is not so. (They are here, not in a file of their own, so that analysers see that a
// failure ends the test.)
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "core/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static inline void expect_ok(bool ok, const Error *error) {
    if (!ok) fail_msg("%s", error->message);
}

static inline void expect_part(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" says nothing of \"%s\"", text, part);
}

// It failed with this status, and a message that has `part`.
static inline void expect_failed(bool ok, const Error *error, int status, const char *part) {
    if (ok) fail_msg("no error, where one is to say \"%s\"", part);
    if (error->status != status) fail_msg("status %d, not %d: %s", error->status, status, error->message);
    expect_part(error->message, part);
}

#endif
