// Updates of weights and moments that lie in host memory: how they are cut, and what they move.
#include "core/engine/offload.h"
#include "core/engine/update_pieces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Pieces follow each other through all that a rank keeps, none beyond the room or the end of a bucket, each
// in the place of the last but two.
static void check_pieces(const ParamTable *table, int rank, int64_t most) {
    int64_t room = piece_room(table, most), end = 0, largest = 0;
    int place = 0, ends = 0;
    assert_true(room > 0 && room % PARAM_ALIGNMENT == 0);
    for (UpdatePiece p = piece_first(table, room); p.count > 0; p = piece_behind(table, room, &p)) {
        assert_int_equal(piece_kept(table, &p), end);
        assert_true(p.count <= room && p.count % PARAM_ALIGNMENT == 0);
        assert_true(p.within + p.count <= table->buckets[p.bucket].share);
        int64_t within = piece_flat(table, &p, rank) - param_share_begin(table, p.bucket, rank);
        assert_int_equal(within, p.within);
        assert_int_equal(p.place, place);
        place = (place + 1) % PIECE_PLACES;
        end += p.count;
        ends += piece_ends_bucket(table, &p);
        if (p.count > largest) largest = p.count;
    }
    assert_int_equal(end, table->trained_size / table->ranks);
    assert_int_equal(ends, table->n_buckets);
    assert_int_equal(largest, room); // no room is for nothing
}

static void test_pieces(void **state) {
    (void)state;
    static const int64_t most[] = {1, 32, 1000, 4096, INT64_C(1) << 40, 0};
    ModelConfig model = {3, 72, 4, 2, 64, 88, 264, 10000, 1e-5};
    for (int ranks = 1; ranks <= 5; ranks += 2) {
        for (int tied = 0; tied < 2; tied++) {
            model.tied = tied;
            ParamTable table = param_table_create(&model, true);
            param_table_shard(&table, ranks);
            for (size_t i = 0; i < sizeof most / sizeof *most; i++) check_pieces(&table, ranks - 1, most[i]);
            param_table_free(&table);
        }
    }
}

// A place holds no more than it takes to hide the beginning of a copy, however large the model.
static void test_room(void **state) {
    (void)state;
    const ModelConfig large = {32, 4096, 32, 8, 128, 14336, 128256, 500000, 1e-5};
    ParamTable table = param_table_create(&large, false);
    param_table_shard(&table, 1);
    assert_int_equal(piece_room(&table, 0), PIECE_ELEMENTS);
    check_pieces(&table, 0, 0);
    param_table_free(&table);
}

static void test_bytes(void **state) {
    (void)state;
    EngineConfig config;
    Error error;
    Ranks ranks;
    memset(&config, 0, sizeof config);
    config.model = (ModelConfig){32, 4096, 32, 8, 128, 14336, 128256, 500000, 1e-5};
    config.training = true;
    assert_true(offload_update_bytes(&config) == 0);
    config.offload_optimizer = true;
    assert_true(offload_update_bytes(&config) == 12.0 * 8030261248);
    ranks_imagine(&ranks, 4, 8);
    assert_true(ranks_split(&ranks, 1, &error));
    config.ranks = &ranks;
    assert_true(offload_update_bytes(&config) == 12.0 * 8030261248 / 4);
    config.training = false;
    assert_true(offload_update_bytes(&config) == 0);
}

// Each word stands for the bits of what it offloads.
static void test_words(void **state) {
    (void)state;
    EngineConfig config;
    memset(&config, 0, sizeof config);
    for (int offload = OFFLOAD_NONE; offload <= OFFLOAD_ALL; offload++) {
        offload_set(&config, offload);
        assert_int_equal(offload_of(&config), offload);
    }
    assert_int_equal(OFFLOAD_ALL, OFFLOAD_ACTIVATIONS | OFFLOAD_OPTIMIZER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
