// Standard output and error behind queues; see console.h.
#include "core/base/console.h"

#include "core/base/error.h"
#include "core/base/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_BYTES    (1 << 18)
#define NOTE_BYTES     160
#define LAST_BYTES     1280
#define PIECE_BYTES    4096
#define SETTLE_SECONDS 2 // without a byte that anybody took

// Text on its way to a descriptor. `lock` is over all that follows; only the thread takes bytes out.
typedef struct {
    int file;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char bytes[QUEUE_BYTES];
    size_t first, used;
    bool writing;          // the thread is at it
    int64_t taken;         // pieces written up to now
    int64_t left_out;      // messages, since the last that found room
    char last[LAST_BYTES]; // of them: at the end it is what matters
    size_t last_size;
    bool failed; // the descriptor takes no more: all that comes is dropped
} Queue;

static Queue *output, *errors; // the same one where both lead to one file, so that lines keep their order

void console_ends_with_reader(bool ends) {
    signal(SIGPIPE, ends ? SIG_DFL : SIG_IGN);
}

// A pipe has room where it takes as much as is written at once, 4096 bytes.
bool console_has_room(int file) {
    struct pollfd out = {file, POLLOUT, 0};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT);
}

// ---- Into the queue

static void queue_put(Queue *queue, const char *bytes, size_t size) {
    size_t end = (queue->first + queue->used) % QUEUE_BYTES, here = QUEUE_BYTES - end;
    if (here > size) here = size;
    memcpy(queue->bytes + end, bytes, here);
    memcpy(queue->bytes, bytes + here, size - here);
    queue->used += size;
    pthread_cond_broadcast(&queue->changed);
}

// Tells of a gap. `ends`: nothing comes after it, and its last message is kept.
static void queue_note(Queue *queue, bool ends) {
    char note[NOTE_BYTES];
    if (queue->left_out == 0) return;
    int64_t lost = queue->left_out - ends;
    int length =
        snprintf(note, sizeof note, "\n[%lld messages are left out here, which nobody read in time]\n",
                 (long long)lost);
    if (lost > 0) queue_put(queue, note, (size_t)length);
    if (ends) queue_put(queue, queue->last, queue->last_size);
    queue->left_out = 0;
}

static void queue_leave_out(Queue *queue, const char *bytes, size_t size) {
    queue->left_out++;
    queue->last_size = size < sizeof queue->last ? size : sizeof queue->last;
    memcpy(queue->last, bytes, queue->last_size);
}

// What a stream gives when it is flushed: a message, or lines. It never fails, so that a stream stays usable.
static ssize_t queue_write(void *cookie, const char *bytes, size_t size) {
    Queue *queue = (Queue *)cookie;
    pthread_mutex_lock(&queue->lock);
    // After a gap half the queue must be empty, or there would be one gap after the other.
    size_t room = (queue->left_out > 0 ? QUEUE_BYTES / 2 : QUEUE_BYTES) - NOTE_BYTES;
    bool fits = queue->used + size <= room;
    if (!queue->failed && !fits) queue_leave_out(queue, bytes, size);
    if (!queue->failed && fits) {
        queue_note(queue, false);
        queue_put(queue, bytes, size);
    }
    pthread_mutex_unlock(&queue->lock);
    return (ssize_t)size;
}

// ---- Out of the queue

// Writes all, however long that takes. errno tells why not.
static bool write_all(int file, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t done = write(file, bytes, size);
        struct pollfd room = {file, POLLOUT, 0};
        if (done < 0 && errno == EAGAIN) { // somebody else has set the descriptor so
            poll(&room, 1, -1);
        } else if (done < 0 && errno != EINTR) {
            return false;
        }
        if (done > 0) bytes += done, size -= (size_t)done;
    }
    return true;
}

// Under the lock, which is given up while it writes.
static void write_piece(Queue *queue) {
    char piece[PIECE_BYTES];
    size_t size = QUEUE_BYTES - queue->first;
    if (size > queue->used) size = queue->used;
    if (size > sizeof piece) size = sizeof piece;
    memcpy(piece, queue->bytes + queue->first, size);
    queue->first = (queue->first + size) % QUEUE_BYTES;
    queue->used -= size;
    queue->writing = true;
    pthread_mutex_unlock(&queue->lock);
    bool ok = write_all(queue->file, piece, size);
    int why = errno;
    if (!ok && queue->file == STDOUT_FILENO && why != EPIPE)
        warn("standard output cannot be written: %s; what follows is lost, but for log.jsonl", strerror(why));
    pthread_mutex_lock(&queue->lock);
    queue->writing = false;
    queue->failed = !ok;
    queue->taken++;
    if (!ok) queue->used = 0;
    pthread_cond_broadcast(&queue->changed);
}

static void *queue_run(void *argument) {
    Queue *queue = (Queue *)argument;
    pthread_mutex_lock(&queue->lock);
    while (!queue->failed) {
        while (queue->used == 0) pthread_cond_wait(&queue->changed, &queue->lock);
        write_piece(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

// ---- Beginning and end

static bool queue_start(Queue *queue) {
    bool ok = signals_thread(&queue->thread, queue_run, queue);
    if (ok) pthread_detach(queue->thread);
    return ok;
}

// NULL where there is no thread for it. A queue lasts until the process ends.
static Queue *queue_create(int file) {
    Queue *queue = (Queue *)alloc_or_exit(1, sizeof *queue);
    queue->file = file;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    if (queue_start(queue)) return queue;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
    return NULL;
}

static FILE *queue_stream(Queue *queue, FILE *plain) {
    cookie_io_functions_t functions = {NULL, queue_write, NULL, NULL};
    FILE *stream = queue ? fopencookie(queue, "w", functions) : NULL;
    if (!stream) return plain;
    fflush(plain);
    setvbuf(stream, NULL, _IOLBF, BUFSIZ);
    return stream;
}

static bool one_file(int a, int b) {
    struct stat first, second;
    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

// Under the lock: waits for the thread to take a piece, for SETTLE_SECONDS at most.
static bool queue_moves(Queue *queue) {
    struct timespec deadline;
    int64_t before = queue->taken;
    int late = 0;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += SETTLE_SECONDS;
    while (queue->taken == before && late == 0)
        late = pthread_cond_timedwait(&queue->changed, &queue->lock, &deadline);
    return queue->taken != before;
}

static void queue_settle(Queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool moves = true;
    while (moves && !queue->failed && (queue->used > 0 || queue->writing || queue->left_out > 0)) {
        if (queue->used + NOTE_BYTES + LAST_BYTES <= QUEUE_BYTES) queue_note(queue, true);
        moves = queue_moves(queue);
    }
    pthread_mutex_unlock(&queue->lock);
}

void console_settle(void) {
    if (!output && !errors) return;
    fflush(stdout);
    fflush(stderr);
    if (output) queue_settle(output);
    if (errors && errors != output) queue_settle(errors);
}

// abort() ends the process at once: what an assertion has printed is still in the queue.
static void on_abort(int number) {
    poll(NULL, 0, 200);
    signal(number, SIG_DFL);
    raise(number);
}

void console_open(void) {
    if (output || errors) return;
    output = queue_create(STDOUT_FILENO);
    errors = one_file(STDOUT_FILENO, STDERR_FILENO) ? output : queue_create(STDERR_FILENO);
    stdout = queue_stream(output, stdout);
    stderr = queue_stream(errors, stderr);
    signal(SIGABRT, on_abort);
    atexit(console_settle);
}

bool console_is_terminal(FILE *stream) {
    int file = fileno(stream);
    if (file < 0) file = stream == stderr ? STDERR_FILENO : STDOUT_FILENO;
    return isatty(file) != 0;
}
