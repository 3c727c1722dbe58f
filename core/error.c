// Errors: one line to the user and the exit status; see error.h.
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Names in strangers' files may hold anything, also what moves a terminal's cursor: a message stays one line.
static void clean(char *message) {
    for (; *message; message++)
        if ((unsigned char)*message < ' ' || *message == 0x7f) *message = '?';
}

bool error_set(Error *error, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    clean(error->message);
    return false;
}

bool error_set_errno(Error *error, int status, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s", strerror(saved));
    clean(error->message);
    return false;
}

bool error_prefix(Error *error, const char *format, ...) {
    char before[sizeof error->message];
    memcpy(before, error->message, sizeof before);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s", before);
    clean(error->message);
    return false;
}

void error_exit(const Error *error) {
    fflush(stdout);
    fprintf(stderr, "train_gpt_lighthouse: error: %s\n", error->message);
    exit(error->status);
}

// A setting of the process, as where its streams lead is.
static bool warnings_ended;

void warnings_end(void) {
    warnings_ended = true;
}

void warn(const char *format, ...) {
    if (warnings_ended) return;
    char message[sizeof((Error *)0)->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    clean(message);
    fflush(stdout);
    fprintf(stderr, "train_gpt_lighthouse: warning: %s\n", message);
}

void *alloc_or_exit(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) {
        Error error;
        error_set(&error, STATUS_MEMORY, "no memory for %zu x %zu bytes on the host", count, size);
        error_exit(&error);
    }
    return memory;
}

char *copy_or_exit(const char *text) {
    size_t size = strlen(text) + 1;
    return (char *)memcpy(alloc_or_exit(size, 1), text, size);
}
