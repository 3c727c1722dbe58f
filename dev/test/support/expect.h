// What tests expect of functions that return false and fill in an Error.
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "core/error.h"

#ifdef __cplusplus
extern "C" {
#endif

// Each fails the test, and shows the message, where it is not so.
void expect_ok(bool ok, const Error *error);
void expect_failed(bool ok, const Error *error, int status, const char *part); // whose message has `part`
void expect_part(const char *text, const char *part);

#ifdef __cplusplus
}
#endif
#endif
