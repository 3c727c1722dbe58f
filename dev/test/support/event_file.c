// TensorBoard's event files, read back; see event_file.h.
#include "event_file.h"

#include "core/base/crc32c.h"
#include "core/base/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_VALUES 4096

typedef struct {
    const unsigned char *at, *end;
} Reader;

typedef struct {
    int number, type;
    uint64_t number_value; // of a varint or fixed field
    Reader bytes;          // of a field of bytes
} Field;

static uint64_t fixed(Reader *r, int count) {
    uint64_t value = 0;
    assert_true(r->end - r->at >= count);
    for (int i = 0; i < count; i++) value |= (uint64_t)*r->at++ << (8 * i);
    return value;
}

static uint64_t varint(Reader *r) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint64_t byte = fixed(r, 1);
        assert_true(shift < 64);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

static bool next_field(Reader *r, Field *field) {
    if (r->at == r->end) return false;
    uint64_t key = varint(r);
    memset(field, 0, sizeof *field);
    field->number = (int)(key >> 3);
    field->type = (int)(key & 7);
    switch (field->type) {
    case 0: field->number_value = varint(r); break;
    case 1: field->number_value = fixed(r, 8); break;
    case 5: field->number_value = fixed(r, 4); break;
    case 2: {
        uint64_t size = varint(r);
        assert_true(size <= (uint64_t)(r->end - r->at));
        field->bytes.at = r->at;
        field->bytes.end = r->at += size;
        break;
    }
    default: fail_msg("wire type %d", field->type);
    }
    return true;
}

static void text_of(Reader bytes, char *text, size_t size) {
    size_t length = (size_t)(bytes.end - bytes.at);
    assert_true(bytes.at && length < size);
    memcpy(text, bytes.at, length);
    text[length] = '\0';
}

// The last field of this number in a message, within it of the next, and so on; 0 ends the path.
static Reader find(Reader message, int number, ...) {
    va_list path;
    va_start(path, number);
    for (; number; number = va_arg(path, int)) {
        Field field;
        bool found = false;
        Reader inner = message;
        while (next_field(&message, &field)) {
            if (field.number != number) continue;
            assert_int_equal(field.type, 2);
            inner = field.bytes;
            found = true;
        }
        assert_true(found);
        message = inner;
    }
    va_end(path);
    return message;
}

static void read_value(Reader message, EventValue *value) {
    Field field;
    while (next_field(&message, &field)) {
        if (field.number == 1 && field.type == 2) {
            text_of(field.bytes, value->tag, sizeof value->tag);
        } else if (field.number == 2 && field.type == 5) {
            uint32_t bits = (uint32_t)field.number_value;
            memcpy(&value->scalar, &bits, sizeof bits);
        } else if (field.number == 8) {
            text_of(find(field.bytes, 8, 0), value->text, sizeof value->text);
        } else if (field.number == 9) {
            text_of(find(field.bytes, 1, 1, 0), value->plugin, sizeof value->plugin);
        } else {
            fail_msg("field %d of a value", field.number);
        }
    }
}

static void read_summary(Reader summary, const EventValue *event, EventValue *values, size_t *count) {
    Field field;
    while (next_field(&summary, &field)) {
        assert_true(field.number == 1 && *count < MAX_VALUES);
        values[*count] = *event;
        read_value(field.bytes, &values[(*count)++]);
    }
}

static void read_event(Reader message, EventValue *values, size_t *count) {
    EventValue event;
    Field field;
    Reader summary = {NULL, NULL};
    memset(&event, 0, sizeof event);
    while (next_field(&message, &field)) {
        if (field.number == 1 && field.type == 1) {
            memcpy(&event.wall_time, &field.number_value, sizeof event.wall_time);
        } else if (field.number == 2 && field.type == 0) {
            event.step = (int64_t)field.number_value;
        } else if (field.number == 3) {
            text_of(field.bytes, event.version, sizeof event.version);
        } else if (field.number == 5) {
            summary = field.bytes;
        } else if (field.number == 7) {
            Field status;
            assert_true(next_field(&field.bytes, &status));
            event.start = status.number == 1 && status.number_value == 1;
        } else {
            fail_msg("field %d of an event", field.number);
        }
    }
    if (summary.at) {
        read_summary(summary, &event, values, count);
    } else {
        assert_true(*count < MAX_VALUES);
        values[(*count)++] = event;
    }
}

static void expect_crc(Reader *r, const unsigned char *data, size_t size) {
    uint32_t unmasked = (uint32_t)fixed(r, 4) - 0xa282ead8u;
    assert_int_equal(unmasked << 15 | unmasked >> 17, crc32c(data, size));
}

EventValue *event_file_read(const char *path, size_t *count) {
    Error error;
    size_t size;
    char *bytes = file_read(path, SIZE_MAX, &size, &error);
    if (!bytes) fail_msg("%s", error.message);
    EventValue *values = (EventValue *)alloc_or_exit(MAX_VALUES, sizeof *values);
    Reader r = {(unsigned char *)bytes, (unsigned char *)bytes + size};
    *count = 0;
    while (r.at < r.end) {
        const unsigned char *start = r.at;
        uint64_t length = fixed(&r, 8);
        expect_crc(&r, start, 8);
        assert_true(length <= (uint64_t)(r.end - r.at));
        Reader event = {r.at, r.at + length};
        r.at = event.end;
        expect_crc(&r, event.at, (size_t)length);
        read_event(event, values, count);
    }
    free(bytes);
    return values;
}
