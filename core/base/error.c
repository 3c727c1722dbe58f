// Errors: one line to the user and the exit status; see error.h.
#include "core/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void one_line(char *message) {
    for (; *message; message++)
        if ((unsigned char)*message < ' ' || *message == 0x7f) *message = '?';
}

// ---- Messages that fit

// The longest run of characters other than blanks: a path, most likely.
static char *longest_word(char *text, size_t *length) {
    char *longest = text;
    *length = 0;
    for (char *word = text; *word;) {
        size_t here = strcspn(word, " ");
        if (here > *length) {
            longest = word;
            *length = here;
        }
        word += here + strspn(word + here, " ");
    }
    return longest;
}

static bool within_letter(char byte) {
    return ((unsigned char)byte & 0xc0) == 0x80; // a letter's later byte in UTF-8
}

#define SHORTEST_WORD 128 // bytes that stay of a word at least

// Takes bytes out of a text until it is shorter than `room`: out of the midst of its longest words, so that
// a path of thousands of bytes does not push out the reason that stands behind it.
static void shorten(char *text, size_t room) {
    size_t length;
    while (strlen(text) >= room) {
        char *word = longest_word(text, &length);
        if (length <= SHORTEST_WORD) {
            text[room - 1] = 0;
            return;
        }
        size_t surplus = strlen(text) - room + 1 + sizeof "..." - 1;
        size_t kept = length > surplus + SHORTEST_WORD ? length - surplus : SHORTEST_WORD - (sizeof "...");
        char *head = word + kept / 2, *tail = word + length - kept / 2;
        while (head > word && within_letter(*head)) head--;
        while (within_letter(*tail)) tail++;
        memcpy(head, "...", 3);
        memmove(head + 3, tail, strlen(tail) + 1);
    }
}

static char *print_text(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = (char *)alloc_or_exit((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void print_line(FILE *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = print_text(format, arguments);
    va_end(arguments);
    one_line(text);
    fprintf(out, "%s\n", text);
    free(text);
}

// "`first`: `second`", or `first` alone, as one clean line that fits a message.
static void put_message(char *message, size_t room, char *first, const char *second) {
    size_t whole = strlen(first) + (second ? strlen(second) + 2 : 0) + 1;
    char *text = (char *)alloc_or_exit(whole, 1);
    snprintf(text, whole, "%s%s%s", first, second ? ": " : "", second ? second : "");
    shorten(text, room);
    snprintf(message, room, "%s", text);
    one_line(message);
    free(text);
    free(first);
}

bool error_set(Error *error, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    put_message(error->message, sizeof error->message, print_text(format, arguments), NULL);
    va_end(arguments);
    return false;
}

bool error_set_errno(Error *error, int status, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    put_message(error->message, sizeof error->message, print_text(format, arguments), strerror(saved));
    va_end(arguments);
    return false;
}

bool error_prefix(Error *error, const char *format, ...) {
    char before[sizeof error->message];
    memcpy(before, error->message, sizeof before);
    va_list arguments;
    va_start(arguments, format);
    put_message(error->message, sizeof error->message, print_text(format, arguments), before);
    va_end(arguments);
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
    put_message(message, sizeof message, print_text(format, arguments), NULL);
    va_end(arguments);
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

void *grow_or_exit(void *array, int64_t count, size_t size) {
    if (array && (count & (count - 1)) != 0) return array;
    void *larger = alloc_or_exit(count ? 2 * (size_t)count : 1, size);
    if (array) memcpy(larger, array, (size_t)count * size);
    free(array);
    return larger;
}
