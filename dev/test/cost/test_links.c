// Links: what an operation takes at assumed and at measured rates, rows that are read and refused, and what
// slow links do to the prediction of a step.
#include "core/cost/links.h"

#include "dev/test/support/program.h"
#include "dev/test/support/temporary_folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_near(double value, double expected) {
    if (fabs(value / expected - 1) > 1e-9) fail_msg("%.12g, expected %.12g", value, expected);
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

// A row of so many bytes that took so long.
static void add_row(FILE *file, const char *name, const char *among, int ranks, double bytes,
                    double seconds) {
    fprintf(
        file,
        "{\"links\": \"nccl\", \"name\": \"%s\", \"among\": \"%s\", \"ranks\": %d, \"ranks_per_host\": 4, "
        "\"bytes\": %.0f, \"ms\": %.12g}\n",
        name, among, ranks, bytes, seconds * 1e3);
}

// Rows of links of these rates and latencies, the middle size off the line.
static void write_rows(const char *path) {
    static const double sizes[] = {1 << 20, 1 << 10, 1 << 28};
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 3; i++) {
        double bytes = sizes[i], off = i == 0 ? 1 : 0;
        add_row(file, "all-reduce", "ranks of a host", 4, bytes, bytes / 20e9 + 6 * 3e-6 + off);
        add_row(file, "all-to-all", "ranks of a host", 4, bytes, bytes / 10e9 + 7e-6 + off);
        add_row(file, "all-reduce", "hosts, a rank of each", 2, bytes, 1 + off);
        add_row(file, "all-to-all", "hosts, a rank of each", 2, bytes, bytes / 1e9 + 90e-6 + off);
        add_row(file, "all-reduce", "all ranks", 8, bytes, bytes / 8e9 + 14 * 11e-6 + off);
        add_row(file, "all-to-all", "all ranks", 8, bytes, 1 + off);
    }
    fclose(file);
}

static void test_assumed(void **state) {
    (void)state;
    const Links *links = &LINKS_ASSUMED;
    expect_near(links_seconds(links, LINK_SUM, 190e9, 8, 8), 1 + 14 * 5e-6);
    expect_near(links_seconds(links, LINK_SUM, 40e9, 8, 1), 1 + 14 * 5e-6);
    expect_near(links_seconds(links, LINK_SUM, 160e9, 16, 4), 1 + 30 * 5e-6); // four adapters a host
    expect_near(links_seconds(links, LINK_SUM, 190e9, 16, 8), 1 + 30 * 5e-6); // NVLink is the limit
    expect_near(links_seconds(links, LINK_EXCHANGE, 190e9, 8, 8), 1 + 20e-6);
    expect_near(links_seconds(links, LINK_EXCHANGE, 40e9, 2, 1), 1 + 20e-6);
    expect_near(links_seconds(links, LINK_EXCHANGE, 70e9, 8, 4), 1 + 20e-6); // 4 of 7 go to the other host
    assert_true(links_exchange_seconds(links, 1e9, 5, 1, 1) == 0);
}

static void test_measured(void **state) {
    (void)state;
    Links links;
    Error error;
    write_rows("rows.jsonl");
    assert_true(links_read("rows.jsonl", &links, &error));
    expect_near(links_seconds(&links, LINK_SUM, 20e9, 4, 4), 1 + 6 * 3e-6);
    expect_near(links_seconds(&links, LINK_EXCHANGE, 10e9, 4, 4), 1 + 7e-6);
    expect_near(links_seconds(&links, LINK_SUM, 8e9, 8, 4), 1 + 14 * 11e-6);
    expect_near(links_seconds(&links, LINK_SUM, 4e9, 8, 2), 1 + 14 * 11e-6); // half the adapters
    expect_near(links_seconds(&links, LINK_EXCHANGE, 1e9, 2, 1), 1 + 90e-6);
    assert_true(links.inside[LINK_SUM].measured && links.between[LINK_EXCHANGE].measured);
}

// Of two measurements in one file, as `info --links >>FILE` makes it, the mean.
static void test_measured_twice(void **state) {
    (void)state;
    Links links;
    Error error;
    FILE *file = fopen("twice.jsonl", "w");
    assert_non_null(file);
    for (int time = 0; time < 2; time++) {
        for (int i = 0; i < 2; i++) {
            double bytes = i == 0 ? 1 << 10 : 1 << 28;
            add_row(file, "all-to-all", "ranks of a host", 2, bytes, (time + 1) * (bytes / 10e9 + 4e-6));
        }
    }
    fclose(file);
    assert_true(links_read("twice.jsonl", &links, &error));
    expect_near(links_seconds(&links, LINK_EXCHANGE, 10e9, 2, 2), 1.5 * (1 + 4e-6));
}

// What was not measured stays as it is assumed.
static void test_one_host(void **state) {
    (void)state;
    Links links;
    Error error;
    FILE *file = fopen("host.jsonl", "w");
    assert_non_null(file);
    add_row(file, "all-reduce", "ranks of a host", 2, 1 << 20, 1e-3);
    fclose(file);
    assert_true(links_read("host.jsonl", &links, &error));
    expect_near(links.inside[LINK_SUM].rate, (1 << 20) / 1e-3);
    assert_true(links.inside[LINK_SUM].measured && !links.between[LINK_SUM].measured);
    assert_true(links.between[LINK_SUM].rate == LINKS_ASSUMED.between[LINK_SUM].rate);
    assert_true(links.inside[LINK_EXCHANGE].rate == LINKS_ASSUMED.inside[LINK_EXCHANGE].rate);
}

static void expect_refused(const char *text, const char *part) {
    Links links;
    Error error = {0, ""};
    write_file("bad.jsonl", text);
    assert_false(links_read("bad.jsonl", &links, &error));
    assert_int_equal(error.status, 3);
    if (!strstr(error.message, part)) fail_msg("no '%s' in: %s", part, error.message);
}

static void test_refused(void **state) {
    (void)state;
    const char *good =
        "{\"links\": \"mpi\", \"name\": \"all-reduce\", \"among\": \"all ranks\", \"ranks\": 2, "
        "\"ranks_per_host\": 1, \"bytes\": 5, \"ms\": 5}\n";
    char text[1024];
    Links links;
    Error error;
    write_file("bad.jsonl", good);
    assert_true(links_read("bad.jsonl", &links, &error));
    expect_refused("", "no row that `info --links` prints");
    snprintf(text, sizeof text, "%sranks\n", good);
    expect_refused(text, "bad.jsonl:2: no row");
    static const char *const wrong[][2] = {
        {"all-reduce", "some-name!"},     {"all ranks", "few ranks"},
        {"\"ranks\": 2", "\"ranks\": 1"}, {"\"bytes\": 5", "\"bytes\": 0"},
        {"\"ms\": 5", "\"ms\": 0"},       {"\"ranks_per_host\": 1", "\"ranks_per_host\": 0"},
        {"\"ms\": 5", "\"us\": 5"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "%s", good);
        memcpy(strstr(text, wrong[i][0]), wrong[i][1], strlen(wrong[i][1]));
        expect_refused(text, "bad.jsonl:1: no row");
    }
    assert_false(links_read("none.jsonl", &links, &error));
    assert_non_null(strstr(error.message, "--links none.jsonl: cannot be read"));
}

// The milliseconds of waiting of the first stage that a plan is printed with.
static double waiting(const char *more) {
    char *text = program_output("train --dry-run --preset 530m --ranks 8 --global-batch 8 %s", more);
    const char *at = strstr(text, "waiting for other ranks ");
    assert_non_null(at);
    double ms = strtod(at + strlen("waiting for other ranks "), NULL);
    free(text);
    return ms;
}

// With the rates of the rows: a weight is 2 bytes, 7 of 8 leave a rank; sums hide, or do not.
static void test_dry_run(void **state) {
    (void)state;
    write_rows("rows.jsonl");
    assert_true(waiting("") < 20);
    double slow = waiting("--ranks-per-host 4 --links rows.jsonl"),
           weights = 530117632 * 2.0 * 7 / 8 / 8e9 * 1e3;
    if (slow < weights || slow > 3 * weights) fail_msg("%.1f ms, weights take %.1f", slow, weights);
    char *text = program_output("train --dry-run --preset 530m --ranks 8 --links rows.jsonl");
    assert_non_null(strstr(text, "links between hosts are measured, those within a host measured"));
    free(text);
    program_expect(2, "--links is for the prediction of --dry-run",
                   "train --preset tiny --data none --out run --links rows.jsonl");
    program_expect(2, "--links is for the prediction of --dry-run",
                   "train --preset tiny --dry-run --device cpu --links rows.jsonl");
    program_expect(3, "--links none.jsonl: cannot be read",
                   "train --preset tiny --dry-run --links none.jsonl");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assumed),        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_measured_twice), cmocka_unit_test(test_one_host),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_dry_run),
    };
    program_find();
    return cmocka_run_group_tests_name("links", tests, temporary_folder_enter, temporary_folder_leave) ? 1
                                                                                                       : 0;
}
