// Ranks that keep their shares of the gradients alone: where whole gradients lie meanwhile, what that takes,
// and the advice to do so.
#include "core/engine/fit.h"
#include "core/engine/gradient_room.h"
#include "dev/test/support/small_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t size_of(const ParamTable *table, int bucket) {
    return table->buckets[bucket].share * table->ranks;
}

static bool apart(const ParamTable *table, int a, int b) {
    int64_t x = gradient_room_place(table, a), y = gradient_room_place(table, b);
    return x + size_of(table, a) <= y || y + size_of(table, b) <= x;
}

// Neighbours lie apart, a bucket that stays from all; and the room is no larger than that needs.
static void check_room(const ModelConfig *model, int ranks, int64_t want) {
    ParamTable table = param_table_create(model, true);
    param_table_shard(&table, ranks);
    int64_t end = 0;
    for (int b = 0; b < table.n_buckets; b++) {
        int64_t place = gradient_room_place(&table, b);
        assert_true(place >= 0 && place % PARAM_ALIGNMENT == 0);
        if (place + size_of(&table, b) > end) end = place + size_of(&table, b);
        if (b > 0) assert_true(apart(&table, b, b - 1));
        if (b > 0 && gradient_room_stays(&table, 0)) assert_true(apart(&table, b, 0));
        assert_true(gradient_room_stays(&table, b) == (b == 0 && model->tied));
    }
    assert_int_equal(end, gradient_room_size(&table));
    int64_t layer = size_of(&table, 1), first = size_of(&table, 0),
            last = size_of(&table, table.n_buckets - 1);
    int64_t ends = first > last ? first : last;
    if (model->tied) ends = last;
    int64_t two = model->n_layers > 1 && ends < layer ? 2 * layer : layer + ends;
    assert_int_equal(end, two + (model->tied ? first : 0));
    if (want) assert_int_equal(end, want);
    param_table_free(&table);
}

static void test_places(void **state) {
    (void)state;
    static const int ranks[] = {2, 3, 4, 64};
    ModelConfig model = {4, 72, 4, 2, 64, 88, 264, 10000, 1e-5};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        for (int shape = 0; shape < 8; shape++) {
            model.tied = shape & 1;
            model.n_layers = shape & 2 ? 4 : 1;
            model.vocab_size = shape & 4 ? 5000 : 264; // larger than a layer, or smaller
            check_room(&model, ranks[i], 0);
        }
    }
    // Llama 3.1 8B: head and final norm, and a layer, instead of all 8,030,261,248.
    const ModelConfig large = {32, 4096, 32, 8, 128, 14336, 128256, 500000, 1e-5};
    check_room(&large, 4, INT64_C(4096) * 128256 + 4096 + INT64_C(218112000));
}

static MemoryPlan *plan_of(const EngineConfig *config) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    if (!engine_cpu()->plan(config, plan, &error)) fail_msg("%s", error.message);
    return plan;
}

// Of several ranks; one holds all, whatever it is asked for.
static void test_plan(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_GLA, 2, 264);
    Ranks ranks;
    Error error;
    config.ranks = &ranks;
    for (int size = 1; size <= 4; size++) {
        ranks_imagine(&ranks, size, 8);
        assert_true(ranks_split(&ranks, 1, &error));
        ParamTable table = param_table_create(&config.model, true);
        param_table_shard(&table, size);
        config.share_gradients = false;
        MemoryPlan *kept = plan_of(&config);
        config.share_gradients = true;
        MemoryPlan *shared = plan_of(&config);
        int64_t all = table.trained_size, held = size > 1 ? all / size + gradient_room_size(&table) : all;
        assert_int_equal(plan_purpose_bytes(kept, "gradients"), all * (int64_t)sizeof(float));
        assert_int_equal(plan_purpose_bytes(shared, "gradients"), held * (int64_t)sizeof(float));
        int64_t less = (int64_t)(kept->total - shared->total), want = (all - held) * (int64_t)sizeof(float);
        assert_in_range(less - want + 2 * PLAN_ALIGNMENT, 0,
                        4 * PLAN_ALIGNMENT); // buffers' starts are aligned
        config.training = false;
        MemoryPlan *neither = plan_of(&config);
        assert_int_equal(plan_purpose_bytes(neither, "gradients"), 0);
        config.training = true;
        param_table_free(&table);
        free(kept);
        free(shared);
        free(neither);
    }
}

static size_t available;

static size_t memory_available(const Ranks *ranks) {
    (void)ranks;
    return available;
}

static size_t plan_total(const EngineConfig *config) {
    MemoryPlan *plan = plan_of(config);
    size_t total = plan->total;
    free(plan);
    return total;
}

// Where so many bytes are free.
static void expect_advice(const EngineConfig *config, size_t bytes, const char *want) {
    EngineApi api = *engine_cpu();
    Error error;
    api.memory_available = memory_available;
    available = bytes;
    MemoryPlan *plan = plan_of(config);
    bool fits = fit_check(&api, config, plan, &error);
    free(plan);
    if (fits || !strstr(error.message, want))
        fail_msg("wanted '%s', it said '%s'", want, fits ? "that it fits" : error.message);
}

static void test_advice(void **state) {
    (void)state;
    EngineConfig config = small_engine_config(SCORER_NORM, 2, 264);
    Ranks ranks;
    Error error;
    config.ranks = &ranks;
    config.model.n_layers = 8;
    config.micro_steps = 1;
    ranks_imagine(&ranks, 4, 8);
    assert_true(ranks_split(&ranks, 1, &error));
    EngineConfig shared = config, block = config, both = config, short_one = config;
    shared.share_gradients = both.share_gradients = true;
    block.recompute = both.recompute = true;
    expect_advice(&config, plan_total(&shared), "; --zero 2 would fit");
    expect_advice(&config, plan_total(&both), "; --zero 2 --recompute block would fit");
    expect_advice(&block, plan_total(&both), "; --zero 2 would fit");
    expect_advice(&shared, plan_total(&both), "; --recompute block would fit");
    both.batch = 1;
    expect_advice(&config, plan_total(&both), "is --batch 1 --zero 2 --recompute block");
    expect_advice(&shared, plan_total(&both), "is --batch 1 --recompute block");
    both.context = short_one.context = 260;
    expect_advice(&config, plan_total(&both), "is --seq-len 260 --batch 1 --zero 2 --recompute block");
    ranks_imagine(&ranks, 1, 8); // one rank has nothing to share
    assert_true(ranks_split(&ranks, 1, &error));
    expect_advice(&config, plan_total(&block), "; --recompute block would fit");
    both.share_gradients = false;
    expect_advice(&config, plan_total(&both), "is --seq-len 260 --batch 1 --recompute block");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
