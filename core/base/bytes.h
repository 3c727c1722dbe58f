// Bytes that grow at their end.
#ifndef CORE_BASE_BYTES_H
#define CORE_BASE_BYTES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// All zero is an empty buffer. Without memory the program ends with status 4.
typedef struct {
    char *data;
    size_t size, capacity;
} ByteBuffer;

// Makes room for `size` more bytes behind the present ones and gives its address.
char *bytes_reserve(ByteBuffer *buffer, size_t size);
void bytes_append(ByteBuffer *buffer, const void *data, size_t size);
// Appends text as printf writes it; no zero byte stands behind it.
void bytes_printf(ByteBuffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_free(ByteBuffer *buffer);

#ifdef __cplusplus
}
#endif
#endif
