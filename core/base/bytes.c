// Bytes that grow at their end; see bytes.h.
#include "core/base/bytes.h"

#include "core/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *bytes_reserve(ByteBuffer *buffer, size_t size) {
    if (size > buffer->capacity - buffer->size) {
        size_t capacity = 2 * buffer->capacity;
        if (capacity < buffer->size + size) capacity = buffer->size + size;
        char *grown = (char *)realloc(buffer->data, capacity);
        if (!grown) {
            Error error;
            error_set(&error, STATUS_MEMORY, "no memory for a text of %zu bytes on the host", capacity);
            error_exit(&error);
        }
        buffer->data = grown;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void bytes_append(ByteBuffer *buffer, const void *data, size_t size) {
    if (size == 0) return;
    memcpy(bytes_reserve(buffer, size), data, size);
    buffer->size += size;
}

void bytes_printf(ByteBuffer *buffer, const char *format, ...) {
    va_list values;
    va_start(values, format);
    size_t length = (size_t)vsnprintf(NULL, 0, format, values);
    va_end(values);
    char *room = bytes_reserve(buffer, length + 1);
    va_start(values, format);
    vsnprintf(room, length + 1, format, values);
    va_end(values);
    buffer->size += length;
}

void bytes_free(ByteBuffer *buffer) {
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}
