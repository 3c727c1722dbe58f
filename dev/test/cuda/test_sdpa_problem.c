// What the GPU's attention will take for its backward, foretold on the host: against sizes that cuDNN took.
#include "cuda/device/sdpa_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GIB ((int64_t)1 << 30)

static SdpaProblem problem_of(int64_t batch, int64_t heads, int64_t kv_heads, int64_t rows,
                              int64_t head_dim) {
    int64_t all = heads + 2 * kv_heads; // packed, as the engine's dense layers are
    SdpaStrides packed = sdpa_rows_first(all, rows, head_dim);
    SdpaProblem problem = {batch,  heads,    kv_heads,
                           rows,   head_dim, packed,
                           packed, packed,   sdpa_rows_first(heads, rows, head_dim)};
    return problem;
}

static void expect_bytes(int64_t expected, const SdpaProblem *problem, bool deterministic) {
    assert_int_equal(sdpa_backward_bytes(problem, deterministic), expected);
}

static void test_fast(void **data) {
    (void)data;
    SdpaProblem paper = problem_of(1, 8, 8, 98304, 128), million = problem_of(1, 8, 8, 1048576, 128);
    expect_bytes(405798912, &paper, false);    // 0.41 GB
    expect_bytes(4328521728, &million, false); // 4.3 GB
}

// Four query heads to a key/value head: as much again as the float32 dq.
static void test_grouped(void **data) {
    (void)data;
    SdpaProblem equal = problem_of(2, 32, 32, 4096, 128), grouped = problem_of(2, 32, 8, 4096, 128);
    int64_t dq = INT64_C(4) * 2 * 32 * 4096 * 128;
    expect_bytes(dq + dq / 128, &equal, false);
    expect_bytes(2 * dq + dq / 128, &grouped, false);
    int64_t pairs = INT64_C(2) * 2 * 32 * 4096 * 4096;
    expect_bytes(pairs + dq + dq / 128, &grouped, true);
    // One key/value head with its four query heads after the other, where all together take more than 5 GiB.
    SdpaProblem long_grouped = problem_of(1, 8, 2, 1048576, 128);
    expect_bytes(INT64_C(4) * 4 * 1048576 * (2 * 128 + 1), &long_grouped, false);
    long_grouped = problem_of(1, 8, 2, 524288, 128); // 4.3 GB
    expect_bytes(INT64_C(4) * 8 * 524288 * (2 * 128 + 1), &long_grouped, false);
    SdpaProblem heads_of_96 = problem_of(2, 32, 8, 4096, 96); // no less than those of 128
    expect_bytes(2 * dq + dq / 128, &heads_of_96, false);
}

// All heads at once up to 6 GiB, then one key/value head of one sequence.
static void test_deterministic(void **data) {
    (void)data;
    SdpaProblem gathered = problem_of(1, 8, 8, 18432, 128);
    expect_bytes(5435817984 + 589824, &gathered, true); // 5.4 GB
    SdpaProblem paper = problem_of(1, 8, 8, 98304, 128);
    expect_bytes(INT64_C(2) * 98304 * 98304 + 4 * 98304, &paper, true);
    SdpaProblem grouped = problem_of(2, 8, 2, 40960, 64);
    expect_bytes(INT64_C(2) * 4 * 40960 * 40960 + INT64_C(4) * 4 * 40960 * 65, &grouped, true);

    SdpaProblem odd = problem_of(1, 1, 1, 1000, 64); // counted as 1,024 rows
    expect_bytes(2 * 1024 * 1024 + 4 * 1000, &odd, true);

    // On both sides of 6 GiB.
    int64_t below = 0;
    for (int64_t rows = 128; rows <= 65536; rows += 128) {
        SdpaProblem p = problem_of(1, 4, 4, rows, 128);
        int64_t whole = sdpa_kernel_workspace(&p, true), bytes = sdpa_backward_bytes(&p, true);
        assert_int_equal(bytes, whole <= 6 * GIB ? whole : whole / 4);
        if (whole <= 6 * GIB) below = rows;
    }
    assert_int_equal(below, 28288);
}

// Outputs that reach past 2^31 elements are done head by head; deterministic ones mind the keys too.
static void test_reach(void **data) {
    (void)data;
    SdpaProblem out = problem_of(1, 32, 32, 1048576, 128);
    assert_true(sdpa_reach(&out, false) > SDPA_MAX_REACH);
    expect_bytes(INT64_C(4) * 1048576 * 129, &out, false);
    out = problem_of(1, 2, 2, 4096, 128);
    expect_bytes(INT64_C(4) * 2 * 4096 * 129, &out, false);
    out.out.head = INT32_MAX;
    expect_bytes(INT64_C(4) * 4096 * 129, &out, false);

    SdpaProblem keys = problem_of(1, 2, 2, 4096, 128);
    keys.k.head = INT32_MAX;
    expect_bytes(INT64_C(4) * 2 * 4096 * 129, &keys, false);
    expect_bytes(INT64_C(2) * 4096 * 4096 + 4 * 4096, &keys, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_grouped),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
