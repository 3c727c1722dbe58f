// info --links: what it prints on several ranks, and what it refuses.
#include "core/cost/links.h"
#include "dev/test/support/program.h"
#include "dev/test/support/temporary_folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double number(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

static void expect_near(double value, double expected) {
    if (fabs(value / expected - 1) > 1e-5) fail_msg("%.9g, expected %.9g", value, expected);
}

// One of `ranks` on one host; the operation's sizes rise from 64 KiB of floats, as many for each rank.
static void expect_row(const json_t *row, int ranks, int *sizes) {
    const char *name = json_string_value(json_object_get(row, "name"));
    LinkOperation operation = name && strcmp(name, "all-to-all") == 0 ? LINK_EXCHANGE : LINK_SUM;
    assert_string_equal(name, LINK_OPERATION_NAMES[operation]);
    assert_string_equal(json_string_value(json_object_get(row, "among")), "ranks of a host");
    assert_string_equal(json_string_value(json_object_get(row, "links")), "mpi");
    assert_true(number(row, "ranks") == ranks && number(row, "ranks_per_host") == ranks);
    assert_true(number(row, "hosts") == 1 && number(row, "ms") > 0);
    assert_true(number(row, "least_ms") <= number(row, "ms") && number(row, "ms") <= number(row, "most_ms"));
    assert_true(number(row, "least_ms") > 0 && number(row, "apart_ms") > 0);
    int count = (64 << 10) / 4 / ranks;
    double bytes = number(row, "bytes"), sent = (operation == LINK_SUM ? 2.0 : 1.0) * (ranks - 1) * count * 4;
    if (sizes[operation]++ == 0) assert_true(bytes == sent);
    assert_true(sizes[operation] == 1 || bytes > 15 * sent);
    expect_near(number(row, "gb_per_s"), bytes / number(row, "ms") * 1e-6);
    expect_near(number(row, "assumed_gb_per_s"),
                bytes * 1e-9 / links_seconds(&LINKS_ASSUMED, operation, bytes, ranks, ranks));
}

// One rank speaks, and a plan takes what it says.
static void test_rows(void **state) {
    (void)state;
    int sizes[LINK_OPERATION_COUNT] = {0};
    program_ranks(3, false);
    Outcome outcome = program_run("info --links=true --device cpu");
    program_ranks(1, false);
    if (outcome.status != 0) fail_msg("status %d: %s", outcome.status, outcome.err);
    assert_null(strstr(outcome.err, "warning")); // memory is no link between GPUs
    FILE *file = fopen("links.jsonl", "w");
    assert_non_null(file);
    fputs(outcome.out, file);
    fclose(file);
    char *rest = NULL;
    for (char *line = strtok_r(outcome.out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *row = json_loads(line, 0, NULL);
        if (!row) fail_msg("no JSON: %s", line);
        expect_row(row, 3, sizes);
        json_decref(row);
    }
    assert_true(sizes[LINK_SUM] >= 1 && sizes[LINK_SUM] <= 4);
    assert_true(sizes[LINK_EXCHANGE] >= 1 && sizes[LINK_EXCHANGE] <= 4);
    outcome_free(&outcome);
    char *plan =
        program_output("train --dry-run --preset 530m --ranks 3 --global-batch 3 --links links.jsonl");
    assert_non_null(strstr(plan, "links between hosts are assumed, those within a host measured"));
    free(plan);
}

// What is set for the network is told, in the order of names.
static void test_network(void **state) {
    (void)state;
    setenv("NCCL_SOCKET_IFNAME", "^lo,docker0", 1);
    setenv("NCCL_IB_HCA", "mlx5_0", 1);
    char *text = program_output("info");
    const char *line = strstr(text, "\nnetwork     "), *adapter = strstr(text, " NCCL_IB_HCA=mlx5_0 ");
    const char *interface = strstr(text, " NCCL_SOCKET_IFNAME=^lo,docker0");
    if (!line || line > adapter || !interface || adapter > interface) fail_msg("%s", text);
    free(text);
    unsetenv("NCCL_SOCKET_IFNAME");
    unsetenv("NCCL_IB_HCA");
}

static void expect_refused(int ranks, const char *words, const char *part) {
    program_ranks(ranks, false);
    Outcome outcome = program_run("%s", words);
    program_ranks(1, false);
    if (outcome.status != 2 || !strstr(outcome.err, part))
        fail_msg("%s: status %d, no '%s': %s", words, outcome.status, part, outcome.err);
    outcome_free(&outcome);
}

static void test_refusals(void **state) {
    (void)state;
    expect_refused(1, "info --links", "this is one: start several");
    expect_refused(1, "info --device cpu", "--device goes with info --links");
    expect_refused(1, "info --watchdog 9", "--watchdog goes with info --links");
    expect_refused(2, "info", "info --links work on several ranks");
    expect_refused(2, "info --links --verify", "leave PATH and --verify out");
    expect_refused(2, "info --links run", "leave PATH and --verify out");
    expect_refused(1, "info --links --device cpu : info --links --device cpu --watchdog 9",
                   "some setting of rank 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_network),
                                       cmocka_unit_test(test_refusals)};
    program_find();
    return cmocka_run_group_tests_name("info_links", tests, temporary_folder_enter, temporary_folder_leave)
               ? 1
               : 0;
}
