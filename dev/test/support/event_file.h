// Reads TensorBoard's event files, as far as tests need it.
#ifndef TEST_EVENT_FILE_H
#define TEST_EVENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    double wall_time;
    int64_t step;
    char version[32]; // "" in every event but a file's first
    bool start;       // of a session
    char tag[64];     // of the value below; "" for none
    float scalar;
    char plugin[16], text[256]; // "" for a scalar
} EventValue;

// Every value of every event of a file, in order; an event without values is one entry. Fails the test on a
// wrong length or checksum, and on a field that it does not know. Release with free().
EventValue *event_file_read(const char *path, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
