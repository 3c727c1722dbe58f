// Errors: what the user did or has that cannot work, carried to the top of the program in one line.
//
// A function that can fail for a reason outside this program returns bool (or a pointer) and takes an Error
// *. The message says what, where, why and how to mend it. `assert` is for our own bugs only.
#ifndef CORE_BASE_ERROR_H
#define CORE_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// Exit statuses of the program.
enum {
    STATUS_DONE = 0,
    STATUS_USAGE = 2,      // a setting is unknown or impossible
    STATUS_DATA = 3,       // bad data or checkpoint, or a file that cannot be read or written
    STATUS_MEMORY = 4,     // the plan does not fit, or the BLAS is wrong on this processor
    STATUS_NONFINITE = 5,  // the loss or a gradient is not finite
    STATUS_RANKS = 6,      // another rank of the job is gone, hangs, or cannot be reached
    STATUS_PREEMPTED = 75, // a signal came; the run was saved first
};

typedef struct {
    int status;
    char message[1024];
} Error;

// Control characters become question marks. Names in strangers' files may hold anything, also what moves a
// terminal's cursor: what is printed stays one line.
void one_line(char *message);

// Prints one line, its end included, whatever names are in it.
void print_line(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Fills `error` and returns false, so that a function can end with `return error_set(...)`. Control
// characters become question marks; of a message that is too long, the midst of its longest words goes.
bool error_set(Error *error, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// error_set, with ": " and the text of errno behind the message.
bool error_set_errno(Error *error, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Puts `prefix` and ": " before the message, where an outer function knows more; returns false.
bool error_prefix(Error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Prints one line to standard error and leaves the program with the error's status.
void error_exit(const Error *error) __attribute__((noreturn));

// One line to standard error: something is allowed but probably not meant. Silent after warnings_end, which
// all ranks but the first call.
void warnings_end(void);
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Zeroed host memory, and the copy of a text; they leave the program with STATUS_MEMORY when there is none.
// Release with free().
void *alloc_or_exit(size_t count, size_t size) __attribute__((returns_nonnull));
char *copy_or_exit(const char *text) __attribute__((returns_nonnull));
// An array of `count` elements with room for one more, in place of that given: it doubles whenever the count
// reaches a power of two.
void *grow_or_exit(void *array, int64_t count, size_t size) __attribute__((returns_nonnull));

#ifdef __cplusplus
}
#endif
#endif
