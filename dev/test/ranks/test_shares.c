// What each rank has of the work: shares of the parameters, slices of the sequences, and the bytes that move.
#include "core/engine/context.h"
#include "core/cost/traffic.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const ModelConfig MODEL = {3, 72, 4, 2, 64, 88, 264, 10000, 1e-5};

// ---- shares

// Every element of every trained parameter belongs to one rank, and lies in that rank's part of its bucket.
static void check_shares(int ranks) {
    ParamTable table = param_table_create(&MODEL, true);
    param_table_shard(&table, ranks);
    int64_t end = 0;
    assert_int_equal(table.n_buckets, 5); // the embedding, three layers, final norm and head
    assert_int_equal(table.trained_size % ranks, 0);
    for (int b = 0; b < table.n_buckets; b++) {
        assert_int_equal(table.buckets[b].offset, end);
        assert_int_equal(table.buckets[b].share % PARAM_ALIGNMENT, 0);
        assert_int_equal(param_share_offset(&table, b) * ranks, end);
        end += table.buckets[b].share * ranks;
    }
    assert_int_equal(end, table.trained_size);
    for (int p = 0; p < table.count; p++) {
        const Param *param = &table.params[p];
        int64_t next = 0, start, count;
        assert_int_equal(param->offset % PARAM_ALIGNMENT, 0);
        for (int r = 0; r < ranks; r++) {
            param_share(&table, param, r, &start, &count);
            if (!param->trained) {
                assert_true(start == 0 && count == param_size(param) && param->bucket == -1);
                continue;
            }
            if (count == 0) continue;
            const ParamBucket *bucket = &table.buckets[param->bucket];
            int64_t first = param->offset + start - bucket->offset;
            assert_int_equal(start, next);
            assert_true(first >= r * bucket->share && first + count <= (r + 1) * bucket->share);
            next += count;
        }
        if (param->trained) assert_int_equal(next, param_size(param));
    }
    param_table_free(&table);
}

static void test_every_element_has_one_rank(void **state) {
    (void)state;
    static const int counts[] = {1, 2, 3, 4, 7, 64, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) check_shares(counts[i]);
}

static void test_groups(void **state) {
    (void)state;
    Ranks ranks;
    Error error;
    ranks_imagine(&ranks, 12, 8);
    assert_true(ranks_split(&ranks, 4, &error));
    assert_int_equal(ranks.context_size, 4);
    assert_int_equal(ranks.data_size, 3);
    ranks.rank = 6;
    assert_true(ranks_split(&ranks, 4, &error));
    assert_true(ranks.context_rank == 2 && ranks.data_rank == 1);
    assert_false(ranks_split(&ranks, 5, &error));
    assert_string_equal(error.message,
                        "--cp 5 does not divide the 12 ranks of this job; nearest: --cp 4 or --cp 6");
    ranks_imagine(&ranks, 4, 8);
    assert_false(ranks_split(&ranks, 9, &error));
    assert_string_equal(error.message, "--cp 9 does not divide the 4 ranks of this job; nearest: --cp 4");
    ranks_imagine(&ranks, 1, 8);
    assert_false(ranks_split(&ranks, 2, &error));
    assert_string_equal(
        error.message,
        "--cp 2: this job is one rank; start 2 or a multiple with mpirun -np 2, or give --cp 1");
    int device;
    ranks.local_rank = 3;
    assert_true(ranks_device(&ranks, 8, &device, &error) && device == 3);
    assert_true(ranks_device(&ranks, 1, &device, &error) && device == 0);
    assert_false(ranks_device(&ranks, 2, &device, &error));
    assert_int_equal(error.status, STATUS_USAGE);
}

// ---- slices

static void test_slices_are_parts_of_the_hierarchy(void **state) {
    (void)state;
    const LighthouseConfig config = {SCORER_NORM, 3, 4, 512, 4};
    Hierarchy whole, slice;
    Error error;
    int64_t n = 4 * 16 * 140; // chunks of 140 entries, and of 140 in each slice
    assert_true(hierarchy_create(&config, n, &whole, &error));
    assert_true(context_hierarchy(&config, n, 4, &slice, &error));
    assert_int_equal(slice.n * 4, whole.n);
    assert_int_equal(slice.n_selected * 4, whole.n_selected);
    assert_int_equal(slice.n_chunks * 4, whole.n_chunks);
    for (int64_t j = 0; j <= slice.n_chunks; j++) {
        assert_int_equal(hierarchy_chunk_begin(&slice, j) + slice.n_coarse,
                         hierarchy_chunk_begin(&whole, j + slice.n_chunks));
    }
    assert_false(context_hierarchy(&config, n, 3, &slice, &error));
    assert_non_null(strstr(error.message, "--topk 512 must be a multiple of 384"));
    assert_non_null(strstr(error.message, "nearest: --topk 384 or 768"));
}

// ---- traffic

static void expect_bytes(double got, double want) {
    if (!(fabs(got - want) <= 1e-9 * want)) fail_msg("%f bytes, not %f", got, want);
}

static void test_traffic(void **state) {
    (void)state;
    static const Transport by = {4, 2, 3, 5, 7, 6, false, false}, once = {4, 2, 3, 5, 7, 6, true, true};
    Ranks ranks;
    EngineConfig config;
    Error error;
    memset(&config, 0, sizeof config);
    config.model = MODEL;
    config.lighthouse.levels = 2;
    config.lighthouse.pool = 2;
    config.lighthouse.topk = 256;
    config.context = 1024;
    config.ranks = &ranks;
    ranks_imagine(&ranks, 4, 8);
    assert_true(ranks_split(&ranks, 2, &error));
    ParamTable table = param_table_create(&MODEL, false);
    param_table_shard(&table, 4);
    Traffic dense = traffic_update(&config, ATTENTION_DENSE, 5, &by);
    config.micro_steps = 5; // gradients are summed once, or in every micro-step
    expect_bytes(traffic_update(&config, ATTENTION_DENSE, 5, &by).gradients, dense.gradients);
    config.share_gradients = true;
    Traffic often = traffic_update(&config, ATTENTION_DENSE, 5, &by);
    expect_bytes(often.gradients, 5 * dense.gradients);
    expect_bytes(traffic_total(&often), traffic_total(&dense) + 4 * dense.gradients);
    config.micro_steps = 1;
    expect_bytes(traffic_update(&config, ATTENTION_DENSE, 5, &by).gradients, dense.gradients);
    config.share_gradients = false;
    expect_bytes(dense.gradients, 4.0 * (double)table.trained_size * 3 / 4);
    expect_bytes(dense.weights, 2.0 * (double)table.trained_size * 3 / 4);
    // Half of the 512 tokens' q, k, v and out leaves, and of their gradients; 3 layers of 4 + 2 + 2 + 4
    // heads.
    expect_bytes(dense.attention, 5.0 * 3 * 2 * 3 * 512 / 2 * 12 * 64);
    assert_true(dense.halos == 0);
    // S = 512 + 512 rows, half of them here; the last entry of level 1 of 4 heads, and its gradient.
    Traffic lighthouse = traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &by);
    expect_bytes(lighthouse.attention, 5.0 * 3 * 2 * 3 * 512 / 2 * 4 * 4 * 64);
    expect_bytes(lighthouse.halos, 5.0 * 3 * (3 + 5) * 4 * 64);
    config.one_stage = true; // where rows come back once more, so does the halo's
    Traffic twice = traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &once);
    expect_bytes(twice.attention, lighthouse.attention * 9 / 8);
    expect_bytes(twice.halos, 5.0 * 3 * (2 * 3 + 5) * 4 * 64);
    expect_bytes(traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &by).attention, lighthouse.attention);
    // q, k, v of 512 tokens and the norms of 4 heads, for both scores together or for each.
    config.lighthouse.scorer = SCORER_DILATED;
    config.lighthouse.dilation = 4;
    Traffic dilated = traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &once);
    expect_bytes(dilated.attention - twice.attention, 5.0 * 3 * 512 / 2 * (8 * 64 * 3 + 2 * 4 * 7));
    dilated = traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &by);
    expect_bytes(dilated.attention - lighthouse.attention, 5.0 * 3 * 512 / 2 * (2 * 8 * 64 * 3 + 2 * 4 * 7));
    config.lighthouse.scorer = SCORER_GLA;
    Traffic gla = traffic_update(&config, ATTENTION_LIGHTHOUSE, 5, &by);
    expect_bytes(gla.halos - lighthouse.halos, 5.0 * 3 * 2 * 4 * 4 * 64 * 64 * 6);
    config.lighthouse.scorer = SCORER_NORM;
    config.recompute = true; // all layers but the last go forward again
    Traffic again = traffic_update(&config, ATTENTION_DENSE, 5, &by);
    expect_bytes(again.attention, dense.attention * 8 / 6);
    assert_true(ranks_split(&ranks, 1, &error));
    assert_true(traffic_update(&config, ATTENTION_DENSE, 5, &by).attention == 0);
    param_table_free(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_element_has_one_rank),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_slices_are_parts_of_the_hierarchy),
        cmocka_unit_test(test_traffic),
    };
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL) ? 1 : 0;
}
