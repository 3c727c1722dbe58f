// A BLAS that computes wrong results on this processor (support/blas_shim.c) is found before anything is
// computed or written by it.
#include "core/base/files.h"
#include "cpu/blas_check.h"
#include "dev/test/support/built.h"
#include "dev/test/support/program.h"
#include "dev/test/support/tiny_run.h"

#include <cblas.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRAIN TINY_TRAIN "--device cpu --layers 1 --steps 1 --out run"

static char shim[PATH_MAX];

static void fault_begin(const char *fault) {
    setenv("BLAS_FAULT", fault, 1);
    setenv("LD_PRELOAD", shim, 1);
}

static void fault_end(void) {
    unsetenv("LD_PRELOAD");
    program_ranks(1, false);
}

// One line that names the library, its kernels and what mends it.
static void expect_refused(const char *fault, const char *part, const char *words) {
    fault_begin(fault);
    Outcome outcome = program_run("%s", words);
    fault_end();
    const char *line = strstr(outcome.err, "error: ");
    if (outcome.status != 4 || !line || strstr(line + 1, "error: ") || !strstr(line, part) ||
        !strstr(line, "OpenBLAS 0.") || !strstr(line, " with kernels for ") ||
        !strstr(line, "install a newer OpenBLAS")) {
        fail_msg("%s, %s: status %d: %s", fault, words, outcome.status, outcome.err);
    }
    outcome_free(&outcome);
}

static void test_this_one_is_right(void **state) {
    (void)state;
    Error error;
    if (!blas_check(&error)) fail_msg("%s", error.message);
}

static void test_wrong_products(void **state) {
    (void)state;
    static const char *const faults[][2] = {{"NT", "computes a wrong product (A B^T of "},
                                            {"NN", "computes a wrong product (A B of "},
                                            {"TN", "computes a wrong product (A^T B of "},
                                            {"added", ", added, row 0, column 0)"},
                                            {"behind", "computes a wrong product"},
                                            {"illegal", "uses an instruction that does not exist"},
                                            {"memory", "reads memory that it was not given"}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        expect_refused(faults[i][0], faults[i][1], TRAIN);
        assert_false(folder_exists("run"));
    }
}

static void test_all_commands(void **state) {
    (void)state;
    free(program_output(TRAIN));
    static const char *const commands[] = {
        "eval --model run --device cpu --data val_*.bin",
        "generate --model run --device cpu --prompt a",
        "niah --model run --device cpu --lengths 96 --trials 1 --depths 50",
        "bench step --device cpu --preset tiny --repeats 1",
        "bench attention --device cpu --seq-len 1024 --topk 128",
        "train --device cpu --resume run --steps 2",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) expect_refused("TN", "", commands[i]);
    fault_begin("TN"); // what computes nothing does not mind, and `info` tells
    char *text = program_output("info");
    assert_non_null(strstr(text, "products    OpenBLAS "));
    assert_non_null(strstr(text, "computes a wrong product (A^T B of "));
    free(text);
    DONE("info run --verify");
    DONE(TINY_TRAIN "--device cpu --dry-run --out other");
    fault_end();
}

// OpenBLAS takes no notice of a name that it does not have.
static void test_core_type(void **state) {
    (void)state;
    const char *before = getenv("OPENBLAS_CORETYPE");
    char *kept = before ? copy_or_exit(before) : NULL;
    setenv("OPENBLAS_CORETYPE", "Haswel", 1);
    program_expect(0, "OPENBLAS_CORETYPE=Haswel is no core type of this OpenBLAS, which takes kernels for ",
                   "info");
    setenv("OPENBLAS_CORETYPE", openblas_get_corename(), 1);
    Outcome outcome = program_run("info");
    assert_null(strstr(outcome.err, "OPENBLAS_CORETYPE"));
    outcome_free(&outcome);
    unsetenv("OPENBLAS_CORETYPE");
    if (kept) setenv("OPENBLAS_CORETYPE", kept, 1);
    free(kept);
}

static void test_ranks(void **state) {
    (void)state;
    program_ranks(2, false);
    expect_refused("NN", "computes a wrong product", TRAIN);
    assert_false(folder_exists("run"));
    program_ranks(2, false);
    fault_begin("other");
    Outcome outcome = program_run("%s", TRAIN);
    fault_end();
    const char *said = strstr(outcome.err, "warning: rank 1 on ");
    if (outcome.status != 0 || !said || !strstr(said, "with kernels for Other, rank 0 on ") ||
        strstr(said + 1, "warning: rank ")) {
        fail_msg("status %d: %s", outcome.status, outcome.err);
    }
    outcome_free(&outcome);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_one_is_right),
        IN_TINY_FOLDER(test_wrong_products),
        IN_TINY_FOLDER(test_all_commands),
        cmocka_unit_test(test_core_type),
        IN_TINY_FOLDER(test_ranks),
    };
    program_find();
    built_find("blas_shim.so", shim);
    // The shim comes before the sanitizer's own library, which need not be first for what it does.
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 0);
    return cmocka_run_group_tests_name("blas", tests, NULL, NULL) ? 1 : 0;
}
