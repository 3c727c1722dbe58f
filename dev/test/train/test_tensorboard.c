// Event files: checksums, records, what a run's log becomes in them, and how a resumed run purges.
#include "core/train/tensorboard.h"
#include "core/base/crc32c.h"
#include "core/base/files.h"
#include "core/train/log.h"
#include "dev/test/support/event_file.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static PathList event_files(const char *run) {
    char folder[64];
    PathList files;
    Error error;
    snprintf(folder, sizeof folder, "%s/tensorboard", run);
    if (!folder_match(folder, "events.out.tfevents.*", &files, &error)) fail_msg("%s", error.message);
    return files;
}

// All values of the run's last file.
static EventValue *last_file(const char *run, size_t *count) {
    PathList files = event_files(run);
    assert_true(files.count > 0);
    EventValue *values = event_file_read(files.paths[files.count - 1], count);
    paths_free(&files);
    return values;
}

static void must(bool ok, const Error *error) {
    if (!ok) fail_msg("%s", error->message);
}

static TensorBoard *must_open(const char *run, int64_t first_step) {
    Error error;
    TensorBoard *board = tensorboard_open(run, first_step, &error);
    must(board != NULL, &error);
    return board;
}

// ---- Files

static void test_crc32c(void **data) { // vectors of RFC 3720, B.4
    (void)data;
    unsigned char bytes[32];
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(bytes, sizeof bytes), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(bytes, sizeof bytes), 0x62a8ab43u);
    for (int i = 0; i < 32; i++) bytes[i] = (unsigned char)i;
    assert_int_equal(crc32c(bytes, sizeof bytes), 0x46dd794eu);
}

// The first record as TensorFlow writes it, but for the time of day.
static void test_first_record(void **data) {
    (void)data;
    static const unsigned char head[] = {24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 0x09};
    static const unsigned char body[] = "\x1a\x0d"
                                        "brain.Event:2";
    tensorboard_close(must_open("run", 1));
    PathList files = event_files("run");
    size_t size;
    char *bytes = scratch_read(".", files.paths[0], &size);
    assert_true(size > 12 + 24 + 4);
    assert_memory_equal(bytes, head, sizeof head);
    assert_memory_equal(bytes + 12 + 9, body, sizeof body - 1);
    free(bytes);
    paths_free(&files);
}

static void test_events(void **data) {
    (void)data;
    Error error;
    size_t count;
    TensorBoard *board = must_open("run", 5);
    const TensorBoardScalar scalars[] = {{"train/loss", 1.5}, {"train/lr", 1e-3}};
    double before = (double)time(NULL);
    must(tensorboard_scalars(board, INT64_C(1) << 40, scalars, 2, &error), &error);
    must(tensorboard_scalars(board, 7, scalars, 0, &error), &error);
    must(tensorboard_text(board, 8, "switch", "from here, to there", &error), &error);
    EventValue *v = last_file("run", &count); // before it is closed: every event is written at once
    tensorboard_close(board);
    assert_int_equal(count, 5);
    assert_string_equal(v[0].version, "brain.Event:2");
    assert_true(v[1].start && v[1].step == 5);
    assert_string_equal(v[2].tag, "train/loss");
    assert_true(v[2].scalar == 1.5f && v[2].step == INT64_C(1) << 40);
    assert_string_equal(v[3].tag, "train/lr");
    assert_true(v[3].scalar == 1e-3f && v[3].step == INT64_C(1) << 40 && !v[3].plugin[0]);
    assert_string_equal(v[4].tag, "switch");
    assert_string_equal(v[4].plugin, "text");
    assert_string_equal(v[4].text, "from here, to there");
    assert_int_equal(v[4].step, 8);
    for (size_t i = 0; i < count; i++) {
        assert_true(v[i].wall_time >= before - 1 && v[i].wall_time <= before + 60);
        assert_true(!v[i].start || i == 1);
    }
    free(v);
}

// A later file sorts behind those there are: within a second, and behind one of a clock that was ahead.
static void test_order_of_files(void **data) {
    (void)data;
    size_t count;
    scratch_write("run/tensorboard", "events.out.tfevents.4000000000.other.1", "", -1);
    for (int64_t step = 1; step <= 12; step++) {
        tensorboard_close(must_open("run", step));
        EventValue *v = last_file("run", &count);
        assert_int_equal(count, 2);
        assert_int_equal(v[1].step, step);
        free(v);
    }
    assert_int_equal(scratch_count("run/tensorboard"), 13);
}

static void test_errors(void **data) {
    (void)data;
    Error error;
    scratch_write(".", "run/tensorboard", "a file", -1);
    assert_null(tensorboard_open("run", 1, &error));
    assert_int_equal(error.status, STATUS_DATA);
    assert_non_null(strstr(error.message, "run/tensorboard"));
}

// ---- What a log becomes

static const EventValue *find(const EventValue *values, size_t count, const char *tag, int64_t step) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].tag, tag) == 0 && values[i].step == step) return &values[i];
    return NULL;
}

static void test_log(void **data) {
    (void)data;
    Error error;
    size_t count;
    Log *log = log_open("run", &error);
    must(log && log_to_tensorboard(log, "run", 3, &error), &error);
    LogStep line = {4, 4000, 1.25, 0.5, 0.002, ATTENTION_LIGHTHOUSE, 46000, NAN, 120.5, 2.0, 0, NULL};
    must(log_step(log, &line, &error), &error);
    json_t *fields = json_pack("{s:f, s:s, s:i}", "loss", 0.75, "attention", "dense", "sequences", 8);
    must(log_event(log, "validation", 4, fields, &error), &error);
    must(
        log_event(log, "switch", 4, json_pack("{s:s, s:s, s:s}", "from", "a", "none", "", "to", "b"), &error),
        &error);
    must(log_event(log, "checkpoint", 4, json_pack("{s:f}", "seconds", 0.5), &error), &error);
    must(log_event(log, "quiet", 4, NULL, &error), &error);
    log_close(log);

    EventValue *v = last_file("run", &count);
    static const struct {
        const char *tag;
        float value;
    } expected[] = {{"train/tokens", 4000}, {"train/loss", 1.25f},       {"train/grad_norm", 0.5f},
                    {"train/lr", 0.002f},   {"train/tok_per_s", 46000},  {"train/mem_gb", 120.5f},
                    {"train/seconds", 2},   {"val/loss_dense", 0.75f},   {"val/sequences_dense", 8},
                    {"switch", 0},          {"checkpoint/seconds", 0.5f}};
    const size_t n_expected = sizeof expected / sizeof *expected;
    assert_int_equal(count, 2 + n_expected); // no mfu, which is not known
    assert_int_equal(v[1].step, 4);
    for (size_t i = 0; i < n_expected; i++) {
        assert_string_equal(v[2 + i].tag, expected[i].tag);
        assert_true(v[2 + i].scalar == expected[i].value);
    }
    assert_string_equal(find(v, count, "switch", 5)->text, "from a, to b"); // of the next update
    free(v);
}

// Of two runs, one killed after its last checkpoint and one that goes on: the second file tells TensorBoard
// to drop what is later than the checkpoint, and has all of it again.
static void test_resumed_run(void **data) {
    (void)data;
    size_t count;
    tiny_files();
    program_expect(0, NULL,
                   TINY_TRAIN "--out run --steps 4 --switch-at 3 --checkpoint-every 2 --tensorboard");
    EventValue *v = last_file("run", &count);
    for (int64_t step = 1; step <= 4; step++) assert_non_null(find(v, count, "train/loss", step));
    assert_non_null(find(v, count, "switch", 4));
    free(v);
    Error error;
    must(tree_remove("run/step_00000004", &error), &error);
    program_expect(0, NULL, "train --resume run --steps 5 --val-every 5");
    PathList files = event_files("run");
    assert_int_equal(files.count, 2);
    paths_free(&files);

    v = last_file("run", &count);
    assert_true(v[1].start && v[1].step == 3);
    assert_null(find(v, count, "train/loss", 2));
    assert_string_equal(find(v, count, "switch", 4)->text, "from lighthouse, to dense");
    assert_non_null(strstr(find(v, count, "resume", 2)->text, "run/step_00000002"));
    assert_non_null(find(v, count, "val/loss_dense", 5));
    json_t *steps = tiny_steps("run");
    for (size_t i = 2; i < 5; i++) {
        const EventValue *loss = find(v, count, "train/loss", (int64_t)i + 1);
        double logged = json_number_value(json_object_get(json_array_get(steps, i), "loss"));
        assert_true(loss && fabs(loss->scalar - logged) < 1e-6 * logged);
    }
    json_decref(steps);
    free(v);

    program_expect(0, NULL, "train --resume run --steps 6 --tensorboard=false");
    files = event_files("run");
    assert_int_equal(files.count, 2);
    paths_free(&files);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),  IN_FOLDER(test_first_record), IN_FOLDER(test_events),
        IN_FOLDER(test_order_of_files), IN_FOLDER(test_errors),       IN_FOLDER(test_log),
        IN_FOLDER(test_resumed_run),
    };
    return cmocka_run_group_tests_name("tensorboard", tests, NULL, NULL);
}
