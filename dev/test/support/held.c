// Programs that stand still at a known place; see held.h.
#include "held.h"

#include "built.h"
#include "core/base/clock.h"
#include "core/base/files.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LONGEST_LINE  4096
#define LIMIT_SECONDS 300

static char shim[PATH_MAX];

void held_find(void) {
    built_find("hold_shim.so", shim);
    // The shim comes before the sanitizer's own library, which need not be first for what it does.
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 0);
}

// ---- Waiting

typedef struct {
    char path[256];
    size_t size; // bytes that it has to have
} Awaited;

static bool is_there(const Awaited *file) {
    Error error;
    size_t size = 0;
    char *bytes = file_exists(file->path) ? file_read(file->path, SIZE_MAX, &size, &error) : NULL;
    free(bytes);
    return bytes && size >= file->size;
}

static void wait_for(const Awaited *file) {
    const struct timespec pause = {0, 2000000};
    double start = now();
    while (!is_there(file)) {
        if (now() - start > LIMIT_SECONDS) fail_msg("%s: not as awaited in %d s", file->path, LIMIT_SECONDS);
        nanosleep(&pause, NULL);
    }
}

// ---- Programs

static Program *start_held(const char *name, HeldTill till, const char *format, va_list values) {
    char line[LONGEST_LINE], here[PATH_MAX], path[PATH_MAX + 256];
    Awaited file = {"", 0};
    int length = vsnprintf(line, sizeof line, format, values);
    assert_true(length >= 0 && length < (int)sizeof line);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(file.path, sizeof file.path, "%s.held", name);
    snprintf(path, sizeof path, "%s/%s", here, file.path);
    assert_false(file_exists(file.path));
    setenv("HOLD_FILE", path, 1);
    setenv("HOLD_TILL", till == HELD_TILL_SIGNAL ? "signal" : "told", 1);
    setenv("LD_PRELOAD", shim, 1);
    Program *program = program_start("%s", line);
    unsetenv("LD_PRELOAD");
    wait_for(&file);
    return program;
}

static void set_line(int step) {
    char line[64];
    snprintf(line, sizeof line, "{\"step\":%d,", step);
    unsetenv("HOLD_LINE");
    if (step > 0) setenv("HOLD_LINE", line, 1);
}

Program *held_behind(const char *name, int step, HeldTill till, const char *format, ...) {
    va_list values;
    set_line(step);
    unsetenv("HOLD_PATH");
    va_start(values, format);
    Program *program = start_held(name, till, format, values);
    va_end(values);
    return program;
}

Program *held_before(const char *name, int step, const char *part, HeldTill till, const char *format, ...) {
    va_list values;
    set_line(step);
    setenv("HOLD_PATH", part, 1);
    va_start(values, format);
    Program *program = start_held(name, till, format, values);
    va_end(values);
    return program;
}

void held_heeds(const char *name, int signals) {
    Awaited file = {"", (size_t)signals};
    snprintf(file.path, sizeof file.path, "%s.held.signals", name);
    wait_for(&file);
}

void held_go(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s.held", name);
    scratch_write(".", path, "go\n", -1);
}
