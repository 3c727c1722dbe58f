// Event files for TensorBoard; see tensorboard.h. The numbers of fields are those of TensorFlow's
// event.proto, summary.proto and tensor.proto.
#include "core/train/tensorboard.h"
#include "core/base/bytes.h"
#include "core/base/crc32c.h"
#include "core/base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_VERSION "brain.Event:2" // from 2 on, a session's start purges
#define NAME_PREFIX  "events.out.tfevents."

enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7
};
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { METADATA_PLUGIN = 1, PLUGIN_NAME = 1 };
enum { TENSOR_TYPE = 1, TENSOR_SHAPE = 2, TENSOR_STRING = 8, TYPE_STRING = 7, SHAPE_DIM = 2, DIM_SIZE = 1 };

struct TensorBoard {
    int file;
    char *path;
};

// ---- Encoding

// The low `count` bytes, the lowest first.
static void put_fixed(ByteBuffer *out, uint64_t value, int count) {
    for (int i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)(value >> (8 * i));
        bytes_append(out, &byte, 1);
    }
}

static void put_varint(ByteBuffer *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) put_fixed(out, value | 0x80, 1);
    put_fixed(out, value, 1);
}

typedef enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 } WireType;

static void put_key(ByteBuffer *out, int field, WireType type) {
    put_varint(out, (uint64_t)field << 3 | (uint64_t)type);
}

static void put_int(ByteBuffer *out, int field, int64_t value) {
    put_key(out, field, WIRE_VARINT);
    put_varint(out, (uint64_t)value);
}

static void put_double(ByteBuffer *out, int field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, WIRE_64BIT);
    put_fixed(out, bits, 8);
}

static void put_float(ByteBuffer *out, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, WIRE_32BIT);
    put_fixed(out, bits, 4);
}

static void put_string(ByteBuffer *out, int field, const char *text) {
    put_key(out, field, WIRE_BYTES);
    put_varint(out, strlen(text));
    bytes_append(out, text, strlen(text));
}

// A message within a message; it is empty afterwards.
static void put_message(ByteBuffer *out, int field, ByteBuffer *message) {
    put_key(out, field, WIRE_BYTES);
    put_varint(out, message->size);
    bytes_append(out, message->data, message->size);
    bytes_free(message);
}

static ByteBuffer event_begin(void) {
    ByteBuffer event;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    memset(&event, 0, sizeof event);
    put_double(&event, EVENT_WALL_TIME, (double)time.tv_sec + 1e-9 * (double)time.tv_nsec);
    return event;
}

// A CRC of bytes that hold CRCs themselves is weak: TFRecord rotates it and adds a constant.
static uint32_t masked_crc(const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// Writes the event as one record and releases it.
static bool event_write(TensorBoard *board, ByteBuffer *event, Error *error) {
    ByteBuffer record;
    memset(&record, 0, sizeof record);
    put_fixed(&record, event->size, 8);
    put_fixed(&record, masked_crc(record.data, 8), 4);
    bytes_append(&record, event->data, event->size);
    put_fixed(&record, masked_crc(event->data, event->size), 4);
    bool ok = file_append(board->file, board->path, record.data, record.size, error);
    bytes_free(&record);
    bytes_free(event);
    return ok;
}

// ---- Files

// TensorBoard reads a folder's files in the order of their names, so that a later file needs a later time,
// also where two begin within a second or the clock was put back. -1 on error.
static int64_t next_seconds(const char *folder, Error *error) {
    int64_t seconds = (int64_t)time(NULL);
    PathList files;
    if (!folder_match(folder, NAME_PREFIX "*", &files, error)) return -1;
    for (int64_t i = 0; i < files.count; i++) {
        int64_t other = strtoll(path_name(files.paths[i]) + strlen(NAME_PREFIX), NULL, 10);
        if (other >= seconds) seconds = other + 1;
    }
    paths_free(&files);
    return seconds;
}

static bool file_begin(TensorBoard *board, const char *folder, Error *error) {
    char host[256] = "", name[512];
    int64_t seconds = next_seconds(folder, error);
    if (seconds < 0) return false;
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, NAME_PREFIX "%010lld.%s.%ld", (long long)seconds, host, (long)getpid());
    board->path = path_join(folder, name);
    board->file = open(board->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return board->file >= 0 ||
           error_set_errno(error, STATUS_DATA, "%s: cannot be opened for writing", board->path);
}

static bool header_write(TensorBoard *board, int64_t first_step, Error *error) {
    ByteBuffer version = event_begin(), start = event_begin(), session;
    memset(&session, 0, sizeof session);
    put_string(&version, EVENT_FILE_VERSION, FILE_VERSION);
    put_int(&session, SESSION_STATUS, SESSION_START);
    put_int(&start, EVENT_STEP, first_step);
    put_message(&start, EVENT_SESSION_LOG, &session);
    bool ok = event_write(board, &version, error);
    return event_write(board, &start, error) && ok;
}

TensorBoard *tensorboard_open(const char *run, int64_t first_step, Error *error) {
    TensorBoard *board = (TensorBoard *)alloc_or_exit(1, sizeof *board);
    char *folder = path_join(run, "tensorboard");
    board->file = -1;
    bool ok = folders_make(folder, error) && file_begin(board, folder, error) &&
              header_write(board, first_step, error);
    free(folder);
    if (ok) return board;
    tensorboard_close(board);
    return NULL;
}

void tensorboard_close(TensorBoard *board) {
    if (!board) return;
    if (board->file >= 0) close(board->file);
    free(board->path);
    free(board);
}

// ---- Events

bool tensorboard_scalars(TensorBoard *board, int64_t step, const TensorBoardScalar *scalars, size_t count,
                         Error *error) {
    if (count == 0) return true;
    ByteBuffer event = event_begin(), summary, value;
    memset(&summary, 0, sizeof summary);
    memset(&value, 0, sizeof value);
    for (size_t i = 0; i < count; i++) {
        put_string(&value, VALUE_TAG, scalars[i].tag);
        put_float(&value, VALUE_SIMPLE, (float)scalars[i].value);
        put_message(&summary, SUMMARY_VALUE, &value);
    }
    put_int(&event, EVENT_STEP, step);
    put_message(&event, EVENT_SUMMARY, &summary);
    return event_write(board, &event, error);
}

// A tensor of one string, for the plugin "text".
bool tensorboard_text(TensorBoard *board, int64_t step, const char *tag, const char *text, Error *error) {
    ByteBuffer event = event_begin(), summary, value, plugin, metadata, dim, shape, tensor;
    memset(&summary, 0, sizeof summary);
    value = plugin = metadata = dim = shape = tensor = summary;
    put_string(&plugin, PLUGIN_NAME, "text");
    put_message(&metadata, METADATA_PLUGIN, &plugin);
    put_int(&dim, DIM_SIZE, 1);
    put_message(&shape, SHAPE_DIM, &dim);
    put_int(&tensor, TENSOR_TYPE, TYPE_STRING);
    put_message(&tensor, TENSOR_SHAPE, &shape);
    put_string(&tensor, TENSOR_STRING, text);
    put_string(&value, VALUE_TAG, tag);
    put_message(&value, VALUE_TENSOR, &tensor);
    put_message(&value, VALUE_METADATA, &metadata);
    put_message(&summary, SUMMARY_VALUE, &value);
    put_int(&event, EVENT_STEP, step);
    put_message(&event, EVENT_SUMMARY, &summary);
    return event_write(board, &event, error);
}
