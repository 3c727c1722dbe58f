// For analysers alone, included before every file but core/base/error.c and core/ranks/ranks.c, into which
// they cannot see from another: a function that sets an error returns false, and ranks do not agree that all
// is well where one is not.
#ifndef ERROR_RETURNS_H
#define ERROR_RETURNS_H

#include "core/base/error.h"
#include "core/ranks/ranks.h"

#define error_set(...)       (error_set(__VA_ARGS__), false)
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), false)
#define error_prefix(...)    (error_prefix(__VA_ARGS__), false)
#define ranks_agree(ranks, ok, error)                       \
    (__extension__({                                        \
        bool own_ok = (ok);                                 \
        bool all_agree = ranks_agree(ranks, own_ok, error); \
        own_ok &&all_agree;                                 \
    }))

#endif
