// For analysers alone, included before every file but core/error.c, into which they cannot see from another:
// a function that sets an error returns false.
#ifndef ERROR_RETURNS_H
#define ERROR_RETURNS_H

#include "core/error.h"

#define error_set(...)       (error_set(__VA_ARGS__), false)
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), false)
#define error_prefix(...)    (error_prefix(__VA_ARGS__), false)

#endif
