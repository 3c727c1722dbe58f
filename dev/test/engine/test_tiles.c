// How long a tile is: few rows stay whole, many are cut alike, and a tile suffices for fast products.
#include "core/engine/tiles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static EngineConfig config_of(int64_t ffn, int64_t batch, int64_t context) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model.ffn_dim = ffn;
    config.batch = batch;
    config.context = context;
    return config;
}

static int64_t tile_of(int64_t ffn, int64_t batch, int64_t context) {
    EngineConfig config = config_of(ffn, batch, context);
    return tile_rows(&config);
}

static void test_few_rows_stay_whole(void **state) {
    (void)state;
    assert_int_equal(tile_of(1536, 1, 98304), 98304); // 530m at its context: as ever
    assert_int_equal(tile_of(1536, 2, 98304), 196608);
    assert_int_equal(tile_of(14336, 1, 16384), 16384);
    assert_int_equal(tile_of(65536, 1, 16384), 16384); // however wide
    assert_int_equal(tile_of(256, 1, 1), 1);
    assert_int_equal(tile_of(256, 1, 1000001), 1000001);
}

static void test_many_rows_are_cut(void **state) {
    (void)state;
    assert_int_equal(tile_of(14336, 1, 32768), 16384);  // 8b, 131,072 tokens on four GPUs
    assert_int_equal(tile_of(14336, 1, 262144), 24064); // 1,048,576 on four
    assert_int_equal(tile_of(8192, 1, 1048576), 41984);
    for (int64_t ffn = 256; ffn <= 65536; ffn += 1288) {
        for (int64_t context = 1; context < 2000000; context = context * 3 + 1) {
            int64_t tile = tile_of(ffn, 1, context), parts = (context + tile - 1) / tile;
            if (tile == context) continue;
            assert_true(tile % TILE_UNIT == 0 && tile > TILE_LEAST / 2 && parts > 1);
            assert_true(tile < TILE_LEAST + TILE_UNIT || tile * 6 * ffn <= TILE_BYTES + 6 * ffn * TILE_UNIT);
            assert_true(parts > 32 || context - (parts - 1) * tile > tile / 2); // the last is no crumb
        }
    }
}

// Ranks that share a sequence have a slice each.
static void test_slices(void **state) {
    (void)state;
    Ranks ranks;
    memset(&ranks, 0, sizeof ranks);
    ranks.size = ranks.context_size = 4;
    EngineConfig config = config_of(14336, 1, 131072);
    config.ranks = &ranks;
    assert_int_equal(tile_rows(&config), 16384);
    config.context = 65536;
    assert_int_equal(tile_rows(&config), 16384);
    config.context = 40000;
    assert_int_equal(tile_rows(&config), 10000);
}

static void test_forced(void **state) {
    (void)state;
    EngineConfig config = config_of(1536, 2, 1024);
    config.tile = 384;
    assert_int_equal(tile_rows(&config), 384);
    config.tile = 4096;
    assert_int_equal(tile_rows(&config), 2048);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_rows_stay_whole),
        cmocka_unit_test(test_many_rows_are_cut),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
