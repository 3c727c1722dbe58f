// eval --by-position: bands share out a sequence, and hold what evaluations of shorter sequences give.
#include "core/base/error.h"
#include "core/commands/position_bands.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LONG 10000 // tokens of a sequence: three bands

#define assert_near(a, b) assert_true(fabs((a) - (b)) <= 1e-7 * fabs(b))

// ---- Bands

static void check_band(const PositionBand *band, int64_t from, int64_t to) {
    assert_int_equal(band->from, from);
    assert_int_equal(band->to, to);
}

static void test_bands_double(void **state) {
    (void)state;
    PositionBands bands;
    position_bands_create(&bands, LONG);
    assert_int_equal(bands.count, 4);
    check_band(&bands.bands[0], 0, 4096);
    check_band(&bands.bands[1], 4096, 8192);
    check_band(&bands.bands[2], 8192, LONG);
    check_band(&bands.bands[3], 9000, LONG);
    position_bands_create(&bands, 8192); // no band without a target
    assert_int_equal(bands.count, 3);
    check_band(&bands.bands[1], 4096, 8192);
    position_bands_create(&bands, 1);
    assert_int_equal(bands.count, 2);
    check_band(&bands.bands[0], 0, 1);
    check_band(&bands.bands[1], 0, 1);
    position_bands_create(&bands, 1000000000);
    assert_int_equal(bands.bands[bands.count - 2].to, 1000000000);
}

// Slices of a sequence, whose borders lie within bands, add up to the whole.
static void test_slices_add_up(void **state) {
    (void)state;
    PositionBands whole, slices;
    double *nats = (double *)alloc_or_exit(LONG, sizeof *nats), sum = 0;
    for (int i = 0; i < LONG; i++) nats[i] = i;
    position_bands_create(&whole, LONG);
    position_bands_create(&slices, LONG);
    position_bands_add(&whole, 0, LONG, nats);
    for (int slice = 0; slice < 4; slice++)
        position_bands_add(&slices, slice * (LONG / 4), LONG / 4, nats + slice * (LONG / 4));
    for (int i = 0; i < whole.count; i++) {
        const PositionBand *a = &whole.bands[i], *b = &slices.bands[i];
        assert_true(a->nats == b->nats && a->targets == b->targets);
        assert_true(a->targets == (double)(a->to - a->from));
        assert_true(a->nats == (double)(a->from + a->to - 1) / 2 * a->targets);
        if (i < whole.count - 1) sum += a->nats;
    }
    assert_true(sum == (LONG - 1) / 2.0 * LONG);
    free(nats);
}

// ---- The command

static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    DONE(TINY_TRAIN "--out run --steps 4 --switch-at 2");
    shard_make_counting("long_0.bin", 2, 0, 2 * LONG + 1, 251);
    return 0;
}

static json_t *evaluation(const char *options) {
    return program_json("eval --model run --data long_*.bin --by-position %s", options);
}

static double total(const json_t *json) {
    return line_number(json, "nats_per_target") * (double)line_integer(json, "targets");
}

// Bands follow each other, hold all targets, and their losses add up to that of all.
static void check_sums(const json_t *json, size_t count) {
    const json_t *bands = json_object_get(json, "bands"), *band;
    double nats = 0;
    int64_t at = 0, targets = 0;
    size_t i;
    assert_int_equal(json_array_size(bands), count);
    json_array_foreach(bands, i, band) {
        assert_int_equal(line_integer(band, "from"), at);
        at = line_integer(band, "to");
        nats += line_number(band, "nats");
        targets += line_integer(band, "targets");
        assert_near(line_number(band, "nats_per_target") * (double)line_integer(band, "targets"),
                    line_number(band, "nats"));
    }
    assert_int_equal(at, line_integer(json, "seq_len"));
    assert_int_equal(targets, line_integer(json, "targets"));
    assert_near(nats, total(json));
}

static double band_nats(const json_t *json, size_t i) {
    return line_number(json_array_get(json_object_get(json, "bands"), i), "nats");
}

static void test_eval(void **state) {
    (void)state;
    json_t *json = evaluation("--seq-len 10000");
    check_sums(json, 3);
    const json_t *last = json_object_get(json, "last_tenth");
    assert_int_equal(line_integer(last, "from"), 9000);
    assert_int_equal(line_integer(last, "to"), LONG);
    assert_int_equal(line_integer(last, "targets"), 2 * LONG / 10);
    assert_true(line_number(last, "nats") < band_nats(json, 2));
    json_decref(json);
}

// What comes later in a sequence changes no loss before it under dense attention.
static void test_bands_are_those_of_shorter_sequences(void **state) {
    (void)state;
    json_t *json = evaluation("--seq-len 10000 --val-batches 1"), *first, *second;
    first = evaluation("--seq-len 4096 --val-batches 1");
    second = evaluation("--seq-len 8192 --val-batches 1");
    check_sums(second, 2);
    assert_near(band_nats(json, 0), total(first));
    assert_near(band_nats(json, 1), total(second) - total(first));
    assert_true(fabs(band_nats(json, 1) - band_nats(json, 0)) > 1e-6 * total(first)); // not all the same
    json_decref(json);
    json_decref(first);
    json_decref(second);
}

static void test_lighthouse(void **state) {
    (void)state;
    json_t *json = evaluation("--seq-len 8192 --attention lighthouse");
    check_sums(json, 2);
    json_decref(json);
}

// Without the option nothing is told of positions.
static void test_only_where_asked_for(void **state) {
    (void)state;
    char *text = program_output("eval --model run --data long_*.bin");
    assert_null(strstr(text, "bands"));
    assert_null(strstr(text, "last_tenth"));
    free(text);
}

static void save_evaluation(const char *name, const char *options) {
    char *text =
        program_output("eval --model run --by-position --data long_*.bin --val-batches 1 %s", options);
    scratch_write(".", name, text, -1);
    free(text);
}

// A report tells of losses of unlike text.
static void test_unlike_texts(void **state) {
    (void)state;
    save_evaluation("one.json", "--seq-len 4096");
    save_evaluation("same.json", "--seq-len 4096");
    save_evaluation("other.json", "--seq-len 8192");
    Outcome same = program_run("report run --positions one.json,same.json --out a.svg");
    assert_int_equal(same.status, 0);
    assert_null(strstr(same.err, "do not compare"));
    outcome_free(&same);
    program_expect(0, "\"seq_len\": 4096, \"sequences\": 1}, other of",
                   "report run --positions one.json,same.json,other.json --out a.svg");
}

static void expect_compared(const char *other, bool compare) {
    Outcome outcome = program_run("report run --positions one.json,%s --out a.svg", other);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(strstr(outcome.err, "do not compare") == NULL, compare);
    outcome_free(&outcome);
}

// Other shards under the same names are told; the same under other names are the same text.
static void test_other_shards(void **state) {
    (void)state;
    save_evaluation("one.json", "--seq-len 4096");
    assert_int_equal(mkdir("moved", 0777), 0);
    file_copy("long_0.bin", "moved/long_0.bin");
    json_t *json =
        program_json("eval --model run --data moved/long_*.bin --by-position --seq-len 4096 --val-batches 1");
    assert_int_equal(json_dump_file(json, "moved.json", 0), 0);
    json_decref(json);
    expect_compared("moved.json", true);
    shard_make_counting("long_0.bin", 2, 7, 2 * LONG + 1, 250);
    save_evaluation("anew.json", "--seq-len 4096");
    expect_compared("anew.json", false);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bands_double), cmocka_unit_test(test_slices_add_up),
        cmocka_unit_test(test_eval),         cmocka_unit_test(test_bands_are_those_of_shorter_sequences),
        cmocka_unit_test(test_lighthouse),   cmocka_unit_test(test_only_where_asked_for),
        cmocka_unit_test(test_unlike_texts), cmocka_unit_test(test_other_shards),
    };
    return cmocka_run_group_tests(tests, set_up, temporary_folder_leave);
}
