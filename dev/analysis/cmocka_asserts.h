// For analysers alone, included before every test: an assertion of cmocka that fails ends the test. cmocka's
// own header does not tell them.
#ifndef CMOCKA_ASSERTS_H
#define CMOCKA_ASSERTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) the name is cmocka's
void _fail(const char *const file, const int line) __attribute__((noreturn));

#include <cmocka.h>

#undef assert_true
#undef assert_non_null
#undef assert_int_equal
#define assert_true(c)         ((c) ? (void)0 : _fail(__FILE__, __LINE__))
#define assert_non_null(c)     ((c) ? (void)0 : _fail(__FILE__, __LINE__))
#define assert_int_equal(a, b) ((uintmax_t)(a) == (uintmax_t)(b) ? (void)0 : _fail(__FILE__, __LINE__))

#endif
