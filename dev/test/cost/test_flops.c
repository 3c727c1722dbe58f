// Model FLOPs: a small case counted by hand, and the 530 M model's at 98,304 tokens.
#include "core/cost/flops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static EngineConfig make(ModelConfig model, LighthouseConfig lighthouse) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model = model;
    config.lighthouse = lighthouse;
    config.use_lighthouse = true;
    return config;
}

// One layer, 512 tokens: the counts below are written out.
static EngineConfig small(Scorer scorer) {
    ModelConfig model = {2, 64, 2, 1, 64, 128, 264, 10000, 1e-5};
    LighthouseConfig lighthouse = {scorer, 2, 4, 128, 4};
    EngineConfig config = make(model, lighthouse);
    config.dense_layer[0] = true;
    return config;
}

static void test_by_hand(void **state) {
    (void)state;
    EngineConfig config = small(SCORER_NORM);
    // A layer: q 128 x 64, k and v 64 x 64 each, o 64 x 128, three of 128 x 64, two norms of 64.
    double layer = 8192 + 2 * 4096 + 8192 + 3 * 8192 + 128;
    double weights = 6 * (2 * layer + 64 + 264 * 64) * 512; // two layers, final norm, head; no embedding
    // A score costs 2 x 64 to make and 2 x 64 to use, half of 512 x 512 are needed, in 2 heads; the backward
    // costs twice the forward.
    double dense = 3 * (2 * 64 + 2 * 64) * (512.0 * 512 / 2) * 2;
    // S = 512 / 4 + 1 x 4 x 128 = 640 rows.
    double lighthouse = 3 * (2 * 64 + 2 * 64) * (640.0 * 640 / 2) * 2;
    assert_true(flops_attention(&config, 512, false) == dense);
    assert_true(flops_attention(&config, 512, true) == lighthouse);
    assert_true(flops_sequence(&config, 512, ATTENTION_DENSE) == weights + 2 * dense);
    assert_true(flops_sequence(&config, 512, ATTENTION_LIGHTHOUSE) == weights + dense + lighthouse);
    config.model.tied = true; // its embedding is a head, and computes as one
    assert_true(flops_sequence(&config, 512, ATTENTION_DENSE) == weights + 2 * dense);
}

static void test_scorers(void **state) {
    (void)state;
    EngineConfig norm = small(SCORER_NORM), dilated = small(SCORER_DILATED), gla = small(SCORER_GLA);
    double attention = flops_attention(&norm, 512, true);
    // Four subsequences of 128 tokens, forward alone, once for queries and once for keys.
    double scores = 2 * 4 * (2 * 64 + 2 * 64) * (128.0 * 128 / 2) * 2;
    assert_true(flops_attention(&dilated, 512, true) == attention + scores);
    // A token of a head: 64 x 64 multiply-adds into the state, as many out of it, twice.
    assert_true(flops_attention(&gla, 512, true) == attention + 2 * 512 * 2 * (2 * 64 * 64 + 2 * 64 * 64));
    assert_true(flops_attention(&dilated, 512, false) == flops_attention(&norm, 512, false));
}

static void test_530m(void **state) {
    (void)state;
    ModelConfig model = {30, 1024, 8, 8, 128, 1536, 128256, 10000, 1e-5};
    LighthouseConfig lighthouse = {SCORER_NORM, 3, 4, 1536, 4};
    EngineConfig config = make(model, lighthouse);
    config.dense_layer[0] = config.dense_layer[1] = config.dense_layer[28] = config.dense_layer[29] = true;
    // 6 (530,117,632 - 128,256 x 1,024) 98,304 = 235,212,072,026,112 in both stages; attention of a dense
    // layer 6 x 98,304^2 x 1,024 = 59,373,627,899,904, of a Lighthouse layer 6 x 18,432^2 x 1,024 =
    // 2,087,354,105,856; 30 dense layers, or 4 dense and 26 Lighthouse.
    assert_true(flops_sequence(&config, 98304, ATTENTION_DENSE) == 2016420909023232.0);
    assert_true(flops_sequence(&config, 98304, ATTENTION_LIGHTHOUSE) == 526977790377984.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_scorers),
        cmocka_unit_test(test_530m),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
