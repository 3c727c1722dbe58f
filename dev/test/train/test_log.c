// The log: its lines, what a resumed run cuts from it, and the progress line on the console.
#include "core/train/log.h"
#include "core/train/progress.h"
#include "dev/test/support/scratch.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static int set_up(void **run) {
    *run = scratch_create();
    return 0;
}

static int tear_down(void **run) {
    scratch_remove((char *)*run);
    return 0;
}

static LogStep step_of(int64_t step) {
    LogStep line = {step,  step * 1000, 1.25,  0.5, 0.002, ATTENTION_LIGHTHOUSE,
                    46000, 0.375,       120.5, 2.0, 0,     NULL};
    return line;
}

static Log *must_open(const char *run) {
    Error error;
    Log *log = log_open(run, &error);
    if (!log) fail_msg("%s", error.message);
    return log;
}

static void expect_log(const char *run, const char *wanted) {
    char *text = scratch_read(run, "log.jsonl", NULL);
    assert_string_equal(text, wanted);
    free(text);
}

// ---- Lines

static void test_lines(void **data) {
    const char *run = (const char *)*data;
    Error error;
    Log *log = must_open(run);
    LogStep line = step_of(1);
    assert_true(log_step(log, &line, &error));
    line.step = 2;
    line.attention = ATTENTION_DENSE;
    line.mfu = NAN;
    line.loss = INFINITY;
    assert_true(log_step(log, &line, &error));
    assert_true(
        log_event(log, "validation", 2, json_pack("{s:s, s:f}", "attention", "dense", "loss", 0.5), &error));
    assert_true(log_event(log, "epoch", 3, NULL, &error));
    // Each line is in the file at once, not only when the log is closed.
    expect_log(run, "{\"step\":1,\"tokens\":1000,\"loss\":1.25,\"grad_norm\":0.5,\"lr\":0.002,\"attention\":"
                    "\"lighthouse\",\"tok_per_s\":46000.0,\"mfu\":0.375,\"mem_gb\":120.5,\"seconds\":2.0}\n"
                    "{\"step\":2,\"tokens\":1000,\"loss\":null,\"grad_norm\":0.5,\"lr\":0.002,\"attention\":"
                    "\"dense\",\"tok_per_s\":46000.0,\"mfu\":null,\"mem_gb\":120.5,\"seconds\":2.0}\n"
                    "{\"event\":\"validation\",\"step\":2,\"attention\":\"dense\",\"loss\":0.5}\n"
                    "{\"event\":\"epoch\",\"step\":3}\n");
    log_close(log);
    log = must_open(run);
    assert_true(log_event(log, "resume", 4, NULL, &error));
    log_close(log);
    char *text = scratch_read(run, "log.jsonl", NULL);
    assert_non_null(strstr(text, "\"epoch\",\"step\":3}\n{\"event\":\"resume\",\"step\":4}\n"));
    free(text);
}

static void test_float32_survives(void **data) {
    const char *run = (const char *)*data;
    Error error;
    Log *log = must_open(run);
    LogStep line = step_of(1);
    float loss = 0.70000005f;
    line.loss = loss;
    assert_true(log_step(log, &line, &error));
    log_close(log);
    char *text = scratch_read(run, "log.jsonl", NULL);
    assert_true((float)atof(strstr(text, "\"loss\":") + 7) == loss);
    free(text);
}

static void test_write_errors(void **data) {
    const char *run = (const char *)*data;
    Error error;
    scratch_write(run, "file", "x", -1);
    char path[512];
    snprintf(path, sizeof path, "%s/file", run);
    assert_null(log_open(path, &error));
    assert_int_equal(error.status, STATUS_DATA);

    Log *log = must_open(run);
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    struct rlimit small = {0, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    bool written = log_event(log, "switch", 1, NULL, &error);
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(written);
    assert_int_equal(error.status, STATUS_DATA);
    assert_non_null(strstr(error.message, "log.jsonl"));
    log_close(log);
}

// ---- Cutting

#define ONE        "{\"step\":1,\"loss\":3}\n"
#define VALIDATION "{\"event\":\"validation\",\"step\":2}\n"
#define TWO        "{\"step\":2,\"loss\":2}\n"
#define THREE      "{\"step\":3,\"loss\":1}\n"

static void test_cut(void **data) {
    const char *run = (const char *)*data;
    Error error;
    assert_true(log_cut(run, 5, &error)); // no log yet
    assert_false(scratch_exists(run, "log.jsonl"));

    const struct {
        const char *before;
        int64_t step;
        const char *after;
    } cases[] = {
        {ONE TWO VALIDATION THREE, 3, ONE TWO VALIDATION THREE},
        {ONE TWO VALIDATION THREE, 2, ONE TWO VALIDATION},
        {ONE TWO VALIDATION THREE, 0, ""},
        {ONE TWO "{\"step\":3,\"lo", 3, ONE TWO},        // torn
        {ONE TWO "{\"step\":2,\"loss\":2}", 3, ONE TWO}, // torn just before its end
        {"", 3, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scratch_write(run, "log.jsonl", cases[i].before, -1);
        assert_true(log_cut(run, cases[i].step, &error));
        expect_log(run, cases[i].after);
        assert_int_equal(scratch_count(run), 1);
    }
}

// What somebody has noted in the log leaves it, and stays in the folder.
static void test_notes_of_others(void **data) {
    const char *run = (const char *)*data;
    Error error;
    for (int i = 0; i < 2; i++) {
        scratch_write(run, "log.jsonl", ONE "# a note\n" TWO "\n{\"mine\": 1}\n" THREE, -1);
        assert_true(log_cut(run, 2, &error));
        expect_log(run, ONE TWO);
    }
    char *notes = scratch_read(run, "log.others", NULL);
    assert_string_equal(notes, "# a note\n{\"mine\": 1}\n# a note\n{\"mine\": 1}\n");
    free(notes);
}

// A note at the end needs no newline; what a crash leaves of a line of ours is no note.
static void test_note_at_the_end(void **data) {
    const char *run = (const char *)*data;
    Error error;
    const char *const torn[] = {"{", "{\"st", "{\"step\":3,\"lo", "{\"eve"};
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        char text[256];
        snprintf(text, sizeof text, ONE "%s", torn[i]);
        scratch_write(run, "log.jsonl", text, -1);
        assert_true(log_cut(run, 9, &error));
        expect_log(run, ONE);
        assert_false(scratch_exists(run, "log.others"));
    }
    scratch_write(run, "log.jsonl", ONE "a note", -1);
    assert_true(log_cut(run, 9, &error));
    expect_log(run, ONE);
    char *notes = scratch_read(run, "log.others", NULL);
    assert_string_equal(notes, "a note\n");
    free(notes);
}

static void test_zeros_of_a_crash(void **data) {
    const char *run = (const char *)*data;
    Error error;
    static const char text[] = ONE "{\"step\":2\0\0\0\0\n" TWO "\0\0\0"; // blocks that never reached the disk
    scratch_write(run, "log.jsonl", text, sizeof text - 1);
    assert_true(log_cut(run, 9, &error));
    expect_log(run, ONE TWO);
}

// ---- Console

static void test_duration(void **data) {
    (void)data;
    const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0:00:00"},        {59.6, "0:01:00"}, {3723, "1:02:03"}, {183845, "2d 03:04:05"},
                 {INFINITY, "unknown"}, {NAN, "unknown"},  {-1, "unknown"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        progress_duration(cases[i].seconds, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static char *progress_text(int64_t steps, int64_t every, bool terminal) {
    FILE *file = tmpfile();
    Progress progress;
    progress_begin(&progress, file, steps, every);
    assert_false(progress.terminal);
    progress.terminal = terminal;
    for (int64_t i = 1; i <= steps; i++) {
        LogStep line = step_of(i);
        line.loss = (double)i;
        if (i == 2) line.mfu = NAN;
        progress_step(&progress, &line, (double)(progress.total_steps - line.step));
    }
    progress_break(&progress);
    progress_break(&progress);
    char *text = (char *)alloc_or_exit(1 << 16, 1);
    rewind(file);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

static void test_progress_lines(void **data) {
    (void)data;
    char *text = progress_text(7, 3, false); // steps 1, 3, 6 and the last
    static const char first[] =
        "step 1/7  lighthouse  loss 1.0000 (mean 1.0000)  grad 0.500  lr 0.002  46000 tokens/s  "
        "mfu 37.5 %  120.5 GB  0:00:12 left\nstep 3/7  lighthouse  loss 3.0000 (mean 2.0000)";
    assert_memory_equal(text, first, sizeof first - 1);
    assert_non_null(strstr(text, "\nstep 6/7 "));
    assert_non_null(strstr(text, "\nstep 7/7 "));
    assert_null(strstr(text, "step 2/7"));
    assert_null(strstr(text, "step 4/7"));
    free(text);
}

// The means of a stage are its own, and so is the time left: dense steps take longer.
static void test_progress_of_stages(void **data) {
    (void)data;
    FILE *file = tmpfile();
    Progress progress;
    char text[4096] = "";
    progress_begin(&progress, file, 110, 50);
    for (int64_t i = 1; i <= 102; i++) {
        LogStep line = step_of(i);
        line.attention = i <= 100 ? ATTENTION_LIGHTHOUSE : ATTENTION_DENSE;
        line.seconds = i <= 100 ? 1 : 60;
        line.loss = i <= 100 ? 2 : 4;
        progress_step(&progress, &line, (double)(progress.total_steps - line.step));
    }
    rewind(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    const char *before = strstr(text, "step 100/110"), *after = strstr(text, "step 101/110");
    assert_true(before && after);
    assert_non_null(strstr(before, "0:00:10 left\nstep 101/110  dense  loss 4.0000 (mean 4.0000)"));
    assert_non_null(strstr(after, "0:09:00 left"));
}

// One line is overwritten on a terminal, but not on that which mpirun gives its ranks.
static void test_progress_under_mpirun(void **data) {
    (void)data;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    FILE *out = fdopen(terminal, "w");
    assert_non_null(out);
    Progress progress;
    progress_begin(&progress, out, 1, 1);
    assert_true(progress.terminal);
    assert_int_equal(setenv("OMPI_COMM_WORLD_SIZE", "2", 1), 0);
    progress_begin(&progress, out, 1, 1);
    assert_false(progress.terminal);
    assert_int_equal(unsetenv("OMPI_COMM_WORLD_SIZE"), 0);
    fclose(out);
}

static void test_progress_terminal(void **data) {
    (void)data;
    char *text = progress_text(2, 1000, true);
    char *second = strchr(text + 1, '\r');
    assert_int_equal(text[0], '\r');
    assert_non_null(second);
    assert_null(strstr(second, "mfu"));
    // The shorter second line covers the first, and one newline ends it.
    assert_int_equal(strlen(second) - 1, second - text);
    assert_int_equal(second[strlen(second) - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), second + strlen(second) - 1);
    free(text);
}

#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RUN(test_lines),
        WITH_RUN(test_float32_survives),
        WITH_RUN(test_write_errors),
        WITH_RUN(test_cut),
        WITH_RUN(test_zeros_of_a_crash),
        WITH_RUN(test_notes_of_others),
        WITH_RUN(test_note_at_the_end),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_progress_lines),
        cmocka_unit_test(test_progress_of_stages),
        cmocka_unit_test(test_progress_terminal),
        cmocka_unit_test(test_progress_under_mpirun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
