// Holds the CPU engine against golden cases: test_golden DIR... FILE.json...   (dev/test/golden/README.md has
// the formats) A folder is a case of the Lighthouse layer, a file a whole model. Exit status 1 on any miss.
#include "cpu/cpu.h"
#include "dev/test/support/golden.h"
#include "dev/test/support/golden_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

// `what` misses when its error is above the bound, or not a number. Every error is shown.
static void assert_error(const char *name, const char *what, double error, double bound) {
    print_message("%-36s %-60s %.1e\n", name, what, error);
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
    lighthouse_plan_scratch(plan, &scratch, &shape, true, NULL);
    real *out, *dq, *dk, *dv;
    plan_add(plan, (void **)&out, "test", "out", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dq, "test", "dq", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dk, "test", "dk", N * H * D, sizeof(real));
    plan_add(plan, (void **)&dv, "test", "dv", N * H * D, sizeof(real));
    void *arena = alloc_or_exit(plan->total, 1);
    plan_bind(plan, arena);

    lighthouse_forward(rows_token_major(out, N, H, D, 1), &rows, &scratch,
                       rows_token_major(layer.q, N, H, D, 1), rows_token_major(layer.k, N, H, D, 1),
                       rows_token_major(layer.v, N, H, D, 1), layer.gate, NULL, &shape);
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
                        rows_token_major(dv, N, H, D, 1), rows_token_major(layer.dout, N, H, D, 1), &rows,
                        &scratch, &shape);
    assert_error(folder, "dq", golden_rows_error(&layer, dq, layer.dq), 1e-5);
    assert_error(folder, "dk", golden_rows_error(&layer, dk, layer.dk), 1e-5);
    assert_error(folder, "dv", golden_rows_error(&layer, dv, layer.dv), 1e-5);
    assert_error(folder, "sum of dq", golden_sum_error(&layer, dq, layer.dq_sum), 1e-5);
    assert_error(folder, "sum of dv", golden_sum_error(&layer, dv, layer.dv_sum), 1e-5);
    free(arena);
    free(plan);
    golden_layer_close(&layer);
}

// Loss and every gradient of one stage, each to 1e-5 of its norm.
static void check_stage(const GoldenModel *model, const char *path, const char *stage, Attention attention) {
    char what[128];
    Engine *engine = golden_model_engine(model, engine_cpu());
    Error error;
    double nats, targets = (double)model->config.context;
    assert_true(
        engine_forward_backward(engine, model->tokens, attention, model->config.context, &nats, &error));
    double expected = golden_model_loss(model, stage);
    snprintf(what, sizeof what, "%s loss", stage);
    assert_error(path, what, fabs(nats / targets - expected) / expected, 1e-5);
    for (int p = 0; p < engine->table.count; p++) {
        const char *name = engine->table.params[p].name;
        double norm, projection, golden_norm, golden_projection;
        golden_model_gradient(model, engine, p, &norm, &projection);
        golden_model_expected(model, stage, name, &golden_norm, &golden_projection);
        snprintf(what, sizeof what, "%s gradient of %s", stage, name);
        assert_error(path, what, fabs(norm - golden_norm) / golden_norm, 1e-5);
        assert_error(path, what, fabs(projection - golden_projection) / golden_norm, 1e-5);
    }
    engine_destroy(engine);
}

// Ten AdamW steps on the one sequence, the first `switch_at` under Lighthouse attention.
static void check_schedule(const GoldenModel *model, const char *path, const char *schedule, int switch_at) {
    char what[128];
    Engine *engine = golden_model_engine(model, engine_cpu());
    Error error;
    double nats, norm, targets = (double)model->config.context;
    for (int step = 0; step < 10; step++) {
        Attention attention = step < switch_at ? ATTENTION_LIGHTHOUSE : ATTENTION_DENSE;
        AdamW adamw = golden_model_adamw(model, step);
        assert_true(
            engine_forward_backward(engine, model->tokens, attention, model->config.context, &nats, &error));
        double expected = golden_model_step_loss(model, schedule, step);
        snprintf(what, sizeof what, "loss of step %d of %s", step, schedule);
        assert_error(path, what, fabs(nats / targets - expected) / expected, 1e-5);
        assert_true(engine_update(engine, &adamw, &norm, &error));
    }
    engine_destroy(engine);
}

static void test_model(void **state) {
    const char *path = (const char *)*state;
    GoldenModel model;
    assert_true(golden_model_open(&model, path));
    check_stage(&model, path, "dense", ATTENTION_DENSE);
    check_stage(&model, path, "lighthouse", ATTENTION_LIGHTHOUSE);
    check_schedule(&model, path, "dense", 0);
    check_schedule(&model, path, "lighthouse", 10);
    check_schedule(&model, path, "lighthouse5_dense5", 5);
    golden_model_close(&model);
}

static bool is_model(const char *path) {
    size_t length = strlen(path);
    return length > 5 && strcmp(path + length - 5, ".json") == 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: test_golden DIR... FILE.json...\n");
        return 2;
    }
    struct CMUnitTest *tests = (struct CMUnitTest *)alloc_or_exit((size_t)argc, sizeof *tests);
    for (int i = 1; i < argc; i++) {
        struct CMUnitTest test = {argv[i], is_model(argv[i]) ? test_model : test_layer, NULL, NULL, argv[i]};
        tests[i - 1] = test;
    }
    int failed = _cmocka_run_group_tests("golden", tests, (size_t)(argc - 1), NULL, NULL);
    free(tests);
    return failed ? 1 : 0;
}
