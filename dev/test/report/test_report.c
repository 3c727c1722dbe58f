// Reports: logs read back with their parents, the figures of the table, the picture and the page.
#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/report/report.h"
#include "core/report/run_stats.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKENS 1000 // of a step

// ---- Logs made by hand

static void add_step(ByteBuffer *log, int step, const char *attention, double loss, double seconds) {
    bytes_printf(
        log,
        "{\"step\":%d,\"tokens\":%d,\"loss\":%.9g,\"grad_norm\":1.0,\"lr\":0.002,\"attention\":\"%s\","
        "\"tok_per_s\":1.0,\"mfu\":null,\"mem_gb\":1.0,\"seconds\":%.9g}\n",
        step, step * TOKENS, loss, attention, seconds);
}

static void add_validation(ByteBuffer *log, int step, const char *attention, double loss) {
    bytes_printf(log, "{\"event\":\"validation\",\"step\":%d,\"loss\":%.9g,\"attention\":\"%s\"}\n", step,
                 loss, attention);
}

static void write_log(const char *run, ByteBuffer *log, const char *settings) {
    scratch_write(run, "log.jsonl", log->data, (int64_t)log->size);
    if (settings) scratch_write(run, "run.json", settings, -1);
    bytes_free(log);
}

// Lighthouse at loss 2.125 and 0.5 s a step up to `switch_at`, then dense at 1 s: 3, 2.8, 2.6, ... down to 1.
static void write_run(const char *run, int first, int steps, int switch_at, const char *settings) {
    ByteBuffer log = {NULL, 0, 0};
    for (int s = first; s <= steps; s++) {
        bool lighthouse = s <= switch_at;
        double loss = 3 - 0.2 * (s - switch_at - 1);
        add_step(&log, s, lighthouse ? "lighthouse" : "dense",
                 lighthouse ? 2.125
                 : loss < 1 ? 1
                            : loss,
                 lighthouse ? 0.5 : 1);
        if (s % 10 == 0 && lighthouse) add_validation(&log, s, "lighthouse", 2.25);
        if (s % 10 == 0) add_validation(&log, s, "dense", lighthouse ? 2.5 : 1.5);
    }
    write_log(run, &log, settings);
}

static void add_resume(ByteBuffer *log, int step, const char *ranks) {
    bytes_printf(log, "{\"event\":\"resume\",\"step\":%d%s}\n", step, ranks);
}

static RunLog must_read(const char *run) {
    RunLog log;
    Error error;
    if (!run_log_read(run, &log, &error)) fail_msg("%s", error.message);
    return log;
}

// What is written to standard error while a run is read; release with free().
static char *read_warnings(const char *run, RunLog *log) {
    fflush(stderr);
    int saved = dup(2), file = open("warnings", O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, 2);
    *log = must_read(run);
    dup2(saved, 2);
    close(saved);
    close(file);
    return scratch_read(".", "warnings", NULL);
}

// ---- Reading

static void test_read(void **state) {
    (void)state;
    write_run("runs/split", 1, 40, 20, "{\"ranks\": 2}");
    RunLog log = must_read("runs/split");
    assert_string_equal(log.name, "split");
    assert_int_equal(log.n_steps, 40);
    assert_int_equal(log.n_validations, 6);
    assert_int_equal(log.n_resumes, 0);
    for (int i = 0; i < 40; i++) assert_int_equal(log.steps[i].step, i + 1);
    assert_true(log.steps[19].attention == ATTENTION_LIGHTHOUSE &&
                log.steps[20].attention == ATTENTION_DENSE);
    assert_true(log.steps[39].elapsed == 30 && log.steps[39].tokens == 40 * TOKENS);
    assert_int_equal(log.steps[39].ranks, 2);
    assert_int_equal(run_log_find(&log, 0), -1);
    assert_int_equal(run_log_find(&log, 1), 0);
    assert_int_equal(run_log_find(&log, 99), 39);
    run_log_free(&log);

    log = must_read("runs/split/"); // the same by other words
    assert_string_equal(log.name, "split");
    run_log_free(&log);
    log = must_read("runs/split/log.jsonl");
    assert_string_equal(log.name, "split");
    run_log_free(&log);
    ByteBuffer kept = {NULL, 0, 0};
    add_step(&kept, 1, "dense", 2, 1);
    scratch_write("runs", "dense.log.jsonl", kept.data, (int64_t)kept.size);
    bytes_free(&kept);
    log = must_read("runs/dense.log.jsonl");
    assert_string_equal(log.name, "dense");
    run_log_free(&log);
}

// A run that goes on with other ranks: each step counts those that made it.
static void test_read_ranks(void **state) {
    (void)state;
    static const int ranks[] = {8, 8, 1, 1, 2};
    ByteBuffer log = {NULL, 0, 0};
    for (int s = 1; s <= 5; s++) {
        if (s == 3) add_resume(&log, 2, ",\"ranks\":1");
        if (s == 4) add_resume(&log, 3, ""); // of a program that did not tell them
        if (s == 5) add_resume(&log, 4, ",\"ranks\":2");
        add_step(&log, s, "dense", 2, 360);
    }
    write_log("other", &log, "{\"ranks\": 8}");
    RunLog read = must_read("other");
    assert_int_equal(read.n_steps, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(read.steps[i].ranks, ranks[i]);
    assert_true(fabs(run_stats(&read, 1).gpu_hours - 2.0) < 1e-12);
    run_log_free(&read);
}

// Torn at the end, damaged in between, resumed from an earlier step, a loss that was not finite.
static void test_damaged(void **state) {
    (void)state;
    RunLog log;
    ByteBuffer text = {NULL, 0, 0};
    for (int s = 1; s <= 6; s++) add_step(&text, s, "dense", s, 1);
    add_validation(&text, 6, "dense", 6);
    bytes_printf(&text, "{\"event\":\"resume\",\"step\":4}\n");
    add_step(&text, 5, "dense", 50, 1);
    bytes_printf(&text, "{\"step\":6,\"tokens\":6000,\"loss\":null,\"attention\":\"dense\",\"seconds\":1}\n");
    bytes_printf(&text, "{\"step\":7,\"tokens\":70");
    write_log("run", &text, NULL);
    char *warnings = read_warnings("run", &log);
    assert_string_equal(warnings, ""); // a run that goes on tears its last line all the time
    free(warnings);
    assert_int_equal(log.n_steps, 6);
    assert_true(log.steps[4].loss == 50 && isnan(log.steps[5].loss));
    assert_int_equal(log.n_resumes, 1);
    assert_int_equal(log.resumes[0], 4);
    run_log_free(&log);

    add_step(&text, 1, "dense", 1, 1);
    bytes_printf(&text, "rubbish\n[1]\n{\"step\":2}\n{\"step\":2,\"tokens\":1,\"attention\":\"sparse\"}\n");
    bytes_append(&text, "\0\0\n", 3);
    add_step(&text, 2, "dense", 2, 1);
    write_log("run", &text, NULL);
    warnings = read_warnings("run", &log);
    assert_non_null(
        strstr(warnings, "run/log.jsonl: 5 lines that are no log's are left out, the first in line 2"));
    free(warnings);
    assert_int_equal(log.n_steps, 2);
    run_log_free(&log);
}

static void expect_unread(const char *run, const char *part) {
    RunLog log;
    Error error;
    expect_failed(run_log_read(run, &log, &error), &error, STATUS_DATA, part);
}

static void test_unreadable(void **state) {
    (void)state;
    expect_unread("nothing", "nothing/log.jsonl: there is no log");
    scratch_write("empty", "log.jsonl", "", 0);
    expect_unread("empty", "no step is in it");
    scratch_write("binary", "log.jsonl", "\0\1\2\n\n\377", 6);
    expect_unread("binary", "no step is in it");
    write_run("settings", 1, 3, 0, "{\"parent\": ");
    expect_unread("settings", "settings/run.json");
    write_run("folder", 1, 3, 0, NULL);
    assert_int_equal(mkdir("folder/run.json", 0777), 0);
    expect_unread("folder", "folder/run.json: is a folder, not a run's settings; move it away");
    write_run("odd", 1, 3, 0, "{\"parent\": \"somewhere\"}");
    RunLog odd;
    char *warnings = read_warnings("odd", &odd); // drawn alone
    assert_non_null(strstr(warnings, "odd: its parent somewhere was renamed"));
    assert_int_equal(odd.n_steps, 3);
    free(warnings);
    run_log_free(&odd);
    write_run("circle", 1, 3, 0, "{\"parent\": \"circle/step_00000002\"}");
    expect_unread("circle", "more than 64 parents, or is its own");
}

static void test_parents(void **state) {
    (void)state;
    RunLog log;
    write_run("old/stage", 1, 40, 40, "{}");
    write_run("old/branch", 21, 30, 20, "{\"parent\": \"old/stage/step_00000020\"}");
    write_run("old/twig", 26, 35, 20, "{\"parent\": \"old/branch/step_00000025\"}");
    log = must_read("old/twig");
    assert_int_equal(log.n_steps, 35);
    for (int i = 0; i < 35; i++) {
        assert_int_equal(log.steps[i].step, i + 1);
        assert_int_equal(log.steps[i].attention, i < 20 ? ATTENTION_LIGHTHOUSE : ATTENTION_DENSE);
    }
    assert_int_equal(log.n_validations, 2 * 2 + 1); // of steps 10, 20 and 30: none of the parents' later ones
    assert_true(log.steps[34].elapsed == 20 * 0.5 + 15);
    run_log_free(&log);

    assert_int_equal(rename("old", "new"), 0); // all of them moved together
    log = must_read("new/twig");
    assert_int_equal(log.n_steps, 35);
    run_log_free(&log);

    Error error;
    assert_true(tree_remove("new/stage", &error));
    char *warnings = read_warnings("new/twig", &log);
    assert_non_null(
        strstr(warnings, "its parent old/stage/step_00000020 is not there; the curve begins at step 20"));
    free(warnings);
    assert_int_equal(log.n_steps, 15);
    assert_int_equal(log.steps[0].step, 21);
    RunStats stats = run_stats(&log, 1);
    assert_true(stats.overall == TOKENS); // the first step's tokens are not taken for all before it
    run_log_free(&log);
}

static void expect_alone(const char *run, const char *part) {
    RunLog log;
    char *warnings = read_warnings(run, &log);
    expect_part(warnings, part);
    assert_int_equal(log.steps[0].step, 21);
    free(warnings);
    run_log_free(&log);
}

// What has a parent's name is not the parent: neither another project's run, where a relative path leads from
// here, nor one that came into its place.
static void test_other_parents(void **state) {
    (void)state;
    write_run("stage", 1, 40, 40, "{\"id\": \"aa\"}"); // another project's
    write_run("old/branch", 21, 30, 20, "{\"parent\": \"stage/step_00000020\"}");
    expect_alone("old/branch", "its parent stage/step_00000020 is not there");
    char *real = realpath("stage", NULL), settings[512];
    snprintf(settings, sizeof settings,
             "{\"parent\": \"%s/step_00000020\", \"parent_step\": 20, \"parent_id\": \"bb\"}", real);
    write_run("new/branch", 21, 30, 20, settings);
    expect_alone("new/branch", "/stage/step_00000020 is not there");
    write_run("new/stage", 1, 40, 40, "{\"id\": \"bb\"}"); // moved together with it
    RunLog log = must_read("new/branch");
    assert_int_equal(log.n_steps, 30);
    run_log_free(&log);
    assert_int_equal(chdir("new/branch"), 0); // the same from within
    log = must_read(".");
    assert_int_equal(chdir("../.."), 0);
    assert_int_equal(log.n_steps, 30);
    run_log_free(&log);
    // A renamed checkpoint is found by its step, where run.json tells it.
    snprintf(settings, sizeof settings,
             "{\"parent\": \"%s/best\", \"parent_step\": 20, \"parent_id\": \"aa\"}", real);
    write_run("named", 21, 30, 20, settings);
    log = must_read("named");
    assert_int_equal(log.n_steps, 30);
    run_log_free(&log);
    // A parent whose log does not reach the branch.
    write_run("stage", 1, 15, 40, "{\"id\": \"aa\"}");
    char *warnings = read_warnings("named", &log);
    expect_part(warnings, "ends at step 15, before the branch at step 20: there is a gap");
    free(warnings);
    run_log_free(&log);
    free(real);
}

// ---- Figures

#define assert_near(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static void test_stats(void **state) {
    (void)state;
    write_run("split", 1, 40, 20, "{\"ranks\": 2}");
    RunLog log = must_read("split");
    RunStats stats = run_stats(&log, 3);
    assert_int_equal(stats.updates[ATTENTION_LIGHTHOUSE], 20);
    assert_int_equal(stats.updates[ATTENTION_DENSE], 20);
    assert_near(stats.gpu_hours, 30 * 2 / 3600.0);
    assert_near(stats.tokens_per_second[ATTENTION_LIGHTHOUSE], 2 * TOKENS);
    assert_near(stats.tokens_per_second[ATTENTION_DENSE], TOKENS);
    assert_near(stats.overall, 40 * TOKENS / 30.0);
    assert_int_equal(stats.switch_step, 20);
    assert_near(stats.jump, 0.875);
    assert_int_equal(stats.recovered, 7); // the mean of 2.2, 2.0, 1.8
    assert_near(stats.training, 1);
    assert_int_equal(stats.training_attention, ATTENTION_DENSE);
    assert_near(stats.validation, 1.5);
    assert_near(stats.gap[ATTENTION_LIGHTHOUSE], 2.5 - 2.125); // at the switch, of the stage before it
    assert_near(stats.gap[ATTENTION_DENSE], 0.5);
    stats = run_stats(&log, 1);
    assert_int_equal(stats.recovered, 6);
    log.n_steps = 24; // not yet recovered
    stats = run_stats(&log, 3);
    assert_int_equal(stats.recovered, -1);
    assert_near(stats.gap[ATTENTION_LIGHTHOUSE], 0.375);
    assert_true(isnan(stats.gap[ATTENTION_DENSE])); // of updates that the log lacks
    log.n_steps = 20;                               // still in stage 1
    stats = run_stats(&log, 3);
    assert_int_equal(stats.switch_step, -1);
    assert_true(isnan(stats.jump) && isnan(stats.tokens_per_second[ATTENTION_DENSE]));
    assert_int_equal(stats.training_attention, ATTENTION_LIGHTHOUSE);
    log.n_steps = 40;
    run_log_free(&log);

    assert_int_equal(stats_window(1), 1);
    assert_int_equal(stats_window(1600), 20);
    assert_int_equal(stats_window(16000), 63);
}

static void test_smooth(void **state) {
    (void)state;
    write_run("split", 1, 8, 4, NULL);
    RunLog log = must_read("split");
    const double values[8] = {1, 2, NAN, 6, 10, NAN, NAN, 40}, wanted[8] = {1, 1.5, 2, 6, 10, 10, NAN, 40};
    double means[8];
    run_smooth(&log, values, 2, means);
    for (int i = 0; i < 8; i++) {
        assert_true(isnan(wanted[i]) ? isnan(means[i]) : fabs(means[i] - wanted[i]) < 1e-12);
    }
    run_log_free(&log);
}

// ---- The whole

// Writes a report and returns its table; release with free().
static char *report_of(const char *const *runs, int count, const char *out, bool published) {
    Error error;
    FILE *console = fopen("console", "w");
    if (!report_write(runs, count, NULL, out, published, console, &error)) fail_msg("%s", error.message);
    fclose(console);
    return scratch_read(".", "console", NULL);
}

static void test_table(void **state) {
    (void)state;
    write_run("one/split", 1, 2000, 1250, NULL);
    write_run("two/split", 1, 2000, 0, NULL);
    write_run("short", 1, 30, 30, NULL);
    write_run("a|b<c", 1, 30, 28, NULL);
    const char *runs[] = {"one/split", "two/split", "short", "a|b<c"};
    char *table = report_of(runs, 4, "loss.svg", true);
    expect_part(
        table, "\n| one/split | 1,250 + 750 | 0.382 | 2.00 K | 1.00 K | 1.45 K | +0.875 | 10 | 1.000 | 1.500 "
               "| +0.375 | +0.500 |\n");
    expect_part(
        table,
        "\n| two/split | 0 + 2,000 | 0.556 | \xe2\x80\x93 | 1.00 K | 1.00 K | \xe2\x80\x93 | \xe2\x80\x93 |");
    expect_part(table, "\n| short | 30 + 0 |");
    expect_part(table,
                "| 2.125 * | 2.500 | +0.375 | \xe2\x80\x93 |\n"); // trained under Lighthouse to its end
    expect_part(table, "\n| a\\|b<c | 28 + 2 |");
    expect_part(table, "| +0.875 | > 2 |");
    expect_part(table, "| published, dense | 0 + 16,000 |");
    expect_part(table, "the mean of the last 22 before the switch");
    free(table);
    table = report_of(runs, 1, "loss.svg", false);
    assert_null(strstr(table, "published"));
    expect_part(table, "\n| split | "); // alone it needs no path
    free(table);
}

static void test_picture(void **state) {
    (void)state;
    write_run("split", 1, 400, 250, NULL);
    write_run("a|b<c", 1, 300, 0, NULL);
    const char *runs[] = {"split", "a|b<c"};
    free(report_of(runs, 2, "loss.svg", false));
    char *svg = scratch_read(".", "loss.svg", NULL);
    const char *parts[] = {"Training loss by tokens",
                           "Validation loss by time",
                           "Throughput by tokens",
                           "Training loss around the switch",
                           ">switch to dense<",
                           ">split<",
                           ">a|b&lt;c<",
                           ">250 + 150<",
                           "prefers-color-scheme:dark"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) expect_part(svg, parts[i]);
    assert_null(strstr(svg, ">resumed<")); // no run was
    assert_null(strstr(svg, "nan"));
    assert_memory_equal(svg, "<svg ", 5);
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    free(svg);

    free(report_of(runs + 1, 1, "loss.svg", false)); // without a switch
    svg = scratch_read(".", "loss.svg", NULL);
    expect_part(svg, "Throughput by time");
    assert_null(strstr(svg, "around the switch"));
    free(svg);

    free(report_of(runs, 2, "loss.html", true));
    char *page = scratch_read(".", "loss.html", NULL);
    const char *page_parts[] = {"<!doctype html>", "Training loss by tokens", "<td>250 + 150</td>",
                                "a|b&lt;c</td>",   "arXiv 2605.06554",        "</html>\n"};
    for (size_t i = 0; i < sizeof page_parts / sizeof *page_parts; i++) expect_part(page, page_parts[i]);
    assert_null(strstr(page, "http-equiv"));
    assert_null(strstr(page, "src=")); // nothing is fetched from elsewhere
    free(page);
}

// One step, a constant loss, no finite loss: nothing to divide by.
static void test_smallest(void **state) {
    (void)state;
    write_run("one", 1, 1, 0, NULL);
    write_run("constant", 1, 9, 9, NULL);
    scratch_write("lost", "log.jsonl",
                  "{\"step\":1,\"tokens\":5,\"loss\":null,\"attention\":\"dense\",\"seconds\":0}\n", -1);
    const char *runs[] = {"one", "constant", "lost"};
    for (int i = 0; i < 3; i++) {
        char *table = report_of(runs + i, 1, "loss.svg", false), *svg = scratch_read(".", "loss.svg", NULL);
        assert_null(strstr(svg, "nan"));
        assert_null(strstr(svg, "inf"));
        assert_null(strstr(table, "nan"));
        free(table);
        free(svg);
    }
}

// A long log is thinned to a bounded picture, and its highest point stays.
static void test_long(void **state) {
    (void)state;
    ByteBuffer text = {NULL, 0, 0};
    size_t sizes[2];
    for (int round = 0; round < 2; round++) {
        int steps = round ? 40000 : 4000;
        for (int s = 1; s <= steps; s++) {
            add_step(&text, s, s <= steps / 2 ? "lighthouse" : "dense", 2 + 0.1 * (s * 7919 % 97), 1);
        }
        write_log("run", &text, NULL);
        const char *runs[] = {"run"};
        free(report_of(runs, 1, "loss.svg", false));
        free(scratch_read(".", "loss.svg", &sizes[round]));
    }
    assert_true(sizes[1] < sizes[0] * 5 / 4 && sizes[1] < 200000);
}

static void test_refused(void **state) {
    (void)state;
    Error error;
    write_run("run", 1, 3, 0, NULL);
    const char *runs[] = {"run", "missing"};
    assert_false(report_write(runs, 0, NULL, "loss.svg", false, stdout, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_false(report_write(runs, 1, NULL, "loss.pdf", false, stdout, &error));
    assert_int_equal(error.status, STATUS_USAGE);
    assert_false(report_write(runs, 2, NULL, "loss.svg", false, stdout, &error));
    assert_int_equal(error.status, STATUS_DATA);
    assert_false(scratch_exists(".", "loss.svg"));
    assert_false(report_write(runs, 1, NULL, "no/such/folder.svg", false, stdout, &error));
    assert_int_equal(error.status, STATUS_DATA);
    expect_part(error.message, "no/such/folder.svg");
}

#define BANDS(a, b)                                                                                         \
    "{\"bands\": [{\"from\": 0, \"to\": 4096, \"nats_per_target\": " a "}, {\"from\": 4096, \"to\": 8192, " \
    "\"nats_per_target\": " b "}], \"last_tenth\": {\"nats_per_target\": 1.5}}"

static char *report_with(const char *files, int status, const char *part) {
    const char *runs[] = {"run"};
    Error error = {0, ""};
    FILE *console = fopen("table", "w");
    bool ok = report_write(runs, 1, files, "loss.svg", false, console, &error);
    fclose(console);
    if (status) expect_failed(ok, &error, status, part);
    if (!status) expect_ok(ok, &error);
    return scratch_read(".", "table", NULL);
}

// What eval --by-position printed is drawn and stands in the table; anything else is refused.
static void test_positions(void **state) {
    (void)state;
    write_run("run", 1, 3, 0, NULL);
    scratch_write(".", "before.json", BANDS("2.25", "3.5"), -1);
    scratch_write(".", "after.json", BANDS("2.125", "1.75"), -1);
    char *table = report_with("before.json,after.json", 0, NULL);
    expect_part(table, "| nats a target, positions up to | before | after |");
    expect_part(
        table,
        "| 4096 | 2.2500 | 2.1250 |\n| 8192 | 3.5000 | 1.7500 |\n| the last tenth | 1.5000 | 1.5000 |");
    free(table);
    char *picture = scratch_read(".", "loss.svg", NULL);
    expect_part(picture, ">Loss by position<");
    expect_part(picture, ">after<");
    free(picture);
    scratch_write(".", "short.json",
                  "{\"bands\": [{\"to\": 3000, \"nats_per_target\": 1.25}], \"last_tenth\": "
                  "{\"nats_per_target\": 1.5}}",
                  -1);
    table = report_with("before.json,short.json", 0, NULL); // whose bands end elsewhere
    expect_part(table, "| 3000 |  | 1.2500 |\n| 4096 | 2.2500 |  |\n| 8192 | 3.5000 |  |\n| the last");
    free(table);
    static const char *const bad[] = {"{}", "{\"bands\": []}", "{\"bands\": [7], \"last_tenth\": {}}",
                                      BANDS("null", "1"),
                                      "{\"bands\": [{\"to\": 0, \"nats_per_target\": 1}], \"last_tenth\": "
                                      "{\"nats_per_target\": 1}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        scratch_write(".", "bad.json", bad[i], -1);
        free(report_with("before.json,bad.json", STATUS_DATA,
                         "bad.json: is not what 'eval --by-position' prints"));
    }
    free(report_with("none.json", STATUS_DATA, "none.json"));
    free(report_with(
        "after.json,after.json,after.json,after.json,after.json,after.json,after.json,after.json,after.json",
        STATUS_USAGE, "more than 8 files"));
}

static void test_named_twice(void **state) {
    (void)state;
    write_run("run", 1, 3, 0, NULL);
    const char *runs[] = {"run", "./run/"};
    char *table = report_of(runs, 2, "loss.svg", false);
    expect_part(table, "| run |");
    assert_null(strstr(table, "| ./run/ |"));
    free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_read),          IN_FOLDER(test_read_ranks),  IN_FOLDER(test_damaged),
        IN_FOLDER(test_unreadable),    IN_FOLDER(test_parents),     IN_FOLDER(test_stats),
        IN_FOLDER(test_smooth),        IN_FOLDER(test_table),       IN_FOLDER(test_picture),
        IN_FOLDER(test_smallest),      IN_FOLDER(test_long),        IN_FOLDER(test_refused),
        IN_FOLDER(test_other_parents), IN_FOLDER(test_named_twice), IN_FOLDER(test_positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
