// Holds the CPU engine against golden cases: test_golden DIR... FILE.json...   (dev/test/golden/README.md has the formats)
// A folder is a case of the Lighthouse layer, a file a whole model. Exit status 1 on any miss.
#include "cpu/cpu.h"
#include "dev/test/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

// `what` misses when its error is above the bound, or not a number.
static void assert_error(const char *name, const char *what, double error, double bound) {
    if (!(error <= bound)) fail_msg("%s: %s is off by %.2e, allowed %.0e", name, what, error, bound);
}

static void test_layer(void **state) {
    const char *folder = (const char *)*state;
    GoldenLayer layer;
    assert_true(golden_layer_open(&layer, folder));
    int64_t N = layer.N, H = layer.H, D = layer.D;
    assert_int_equal(layer.hierarchy.n_selected, layer.S);

    LighthouseShape shape = {layer.hierarchy, layer.config, 1, H, D, 1};
    LighthouseRows rows;
    LighthouseScratch scratch;
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    lighthouse_plan_rows(plan, &rows, &shape, 1);
    lighthouse_plan_scratch(plan, &scratch, &shape, true);
    real *out, *dq, *dk, *dv;
    plan_add(plan, (void **)&out, "test", "out", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dq, "test", "dq", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dk, "test", "dk", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dv, "test", "dv", N * H * D, sizeof(real));
    void *arena = alloc_or_exit(plan->total, 1);
    plan_bind(plan, arena);

    lighthouse_forward(rows_token_major(out, N, H, D, 1), &rows, &scratch, rows_token_major(layer.q, N, H, D, 1),
                       rows_token_major(layer.k, N, H, D, 1), rows_token_major(layer.v, N, H, D, 1), layer.gate,
                       NULL, &shape);
    int64_t E = layer.hierarchy.n_entries;
    assert_error(folder, "score_q", relative_error(scratch.score_q, layer.score_q, H * E), 1e-5);
    assert_error(folder, "score_k", relative_error(scratch.score_k, layer.score_k, H * E), 1e-5);
    for (int64_t i = 0; i < H * layer.S; i++) {
        if (rows.entries[i] != layer.entries[i]) {
            fail_msg("%s: row %lld of head %lld is entry %d, golden %d", folder, (long long)(i % layer.S),
                     (long long)(i / layer.S), rows.entries[i], layer.entries[i]);
        }
    }
    assert_error(folder, "out", golden_rows_error(&layer, out, layer.out), 1e-5);
    assert_error(folder, "sum of out", golden_sum_error(&layer, out, layer.out_sum), 1e-5);

    lighthouse_backward(rows_token_major(dq, N, H, D, 1), rows_token_major(dk, N, H, D, 1),
                        rows_token_major(dv, N, H, D, 1), rows_token_major(layer.dout, N, H, D, 1), &rows, &scratch,
                        &shape);
    assert_error(folder, "dq", golden_rows_error(&layer, dq, layer.dq), 1e-5);
    assert_error(folder, "dk", golden_rows_error(&layer, dk, layer.dk), 1e-5);
    assert_error(folder, "dv", golden_rows_error(&layer, dv, layer.dv), 1e-5);
    assert_error(folder, "sum of dq", golden_sum_error(&layer, dq, layer.dq_sum), 1e-5);
    assert_error(folder, "sum of dv", golden_sum_error(&layer, dv, layer.dv_sum), 1e-5);
    free(arena);
    free(plan);
    golden_layer_close(&layer);
}

int main(int argc, char **argv) {
    struct CMUnitTest *tests = (struct CMUnitTest *)alloc_or_exit((size_t)argc, sizeof *tests);
    for (int i = 1; i < argc; i++) {
        struct CMUnitTest test = {argv[i], test_layer, NULL, NULL, argv[i]};
        tests[i - 1] = test;
    }
    int failed = _cmocka_run_group_tests("golden", tests, (size_t)(argc - 1), NULL, NULL);
    free(tests);
    return failed ? 1 : 0;
}
