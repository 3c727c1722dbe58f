// Sizes of the Lighthouse hierarchy, and its refusals: the nearest values they offer must be valid, and
// nearest.
#include "core/model/hierarchy.h"
#include "dev/test/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static LighthouseConfig make(int64_t levels, int64_t pool, int64_t topk) {
    LighthouseConfig config = {SCORER_NORM, levels, pool, topk, 4};
    return config;
}

static LighthouseConfig dilated(int64_t levels, int64_t pool, int64_t topk, int64_t dilation) {
    LighthouseConfig config = {SCORER_DILATED, levels, pool, topk, dilation};
    return config;
}

static bool valid(LighthouseConfig config, int64_t n) {
    Hierarchy hierarchy;
    Error error;
    return hierarchy_create(&config, n, &hierarchy, &error);
}

// The refusal must be one of usage and hold this text.
static void assert_refused(LighthouseConfig config, int64_t n, const char *text) {
    Hierarchy hierarchy;
    Error error;
    expect_failed(hierarchy_create(&config, n, &hierarchy, &error), &error, STATUS_USAGE, text);
}

static void test_sizes(void **state) {
    (void)state;
    LighthouseConfig config = make(3, 4, 1536);
    Hierarchy h;
    Error error;
    assert_true(hierarchy_create(&config, 98304, &h, &error));
    assert_int_equal(h.n, 98304);
    assert_int_equal(h.n_chunks, 12);
    assert_int_equal(h.n_coarse, 6144);
    assert_int_equal(h.n_selected, 18432); // the paper's S
    const int64_t offset[] = {0, 98304, 98304 + 24576, 98304 + 24576 + 6144}, span[] = {1, 4, 16};
    const int64_t count[] = {98304, 24576, 6144};
    assert_memory_equal(h.level_offset, offset, sizeof offset);
    assert_memory_equal(h.level_count, count, sizeof count);
    assert_memory_equal(h.level_span, span, sizeof span);
    assert_int_equal(h.n_entries, offset[3]);
    assert_int_equal(hierarchy_level(&h, 0), 0);
    assert_int_equal(hierarchy_level(&h, 98303), 0);
    assert_int_equal(hierarchy_level(&h, 98304), 1);
    assert_int_equal(hierarchy_level(&h, offset[2] - 1), 1);
    assert_int_equal(hierarchy_level(&h, offset[2]), 2);
    assert_int_equal(hierarchy_level(&h, offset[3] - 1), 2);

    config = make(4, 4, 4096);
    assert_true(hierarchy_create(&config, 1 << 20, &h, &error));
    assert_int_equal(h.n_selected, 65536);
    config = make(2, 2, 384);
    assert_true(hierarchy_create(&config, 770, &h, &error));
    assert_int_equal(h.n_coarse, 385);
    assert_int_equal(hierarchy_chunk_begin(&h, 0), 0);
    assert_int_equal(hierarchy_chunk_begin(&h, 1), 128);
    assert_int_equal(hierarchy_chunk_begin(&h, 2), 256);
    assert_int_equal(hierarchy_chunk_begin(&h, 3), 385);
}

static void test_million_tokens(void **state) {
    (void)state;
    LighthouseConfig config = make(12, 2, 1 << 20);
    Hierarchy h;
    Error error;
    assert_true(hierarchy_create(&config, (int64_t)1 << 32, &h, &error));
    assert_int_equal(h.n_coarse, 1 << 21);
    assert_int_equal(h.n_entries, ((int64_t)1 << 33) - ((int64_t)1 << 21));
}

static void test_settings(void **state) {
    (void)state;
    assert_refused(make(1, 4, 128), 65536, "--levels 1: must be 2 to 12");
    assert_refused(make(13, 2, 128), 1 << 20, "--levels 13: must be 2 to 12");
    assert_refused(make(3, 1, 128), 65536, "--pool 1: must be a power of two from 2 on; nearest: 2");
    assert_refused(make(3, -4, 128), 65536, "--pool -4: must be a power of two from 2 on; nearest: 2");
    assert_refused(make(3, 3, 128), 65536, "--pool 3: must be a power of two from 2 on; nearest: 2 or 4");
    assert_refused(make(3, 12, 128), 65536, "nearest: 8 or 16");
    assert_refused(make(3, 4, 0), 65536, "--topk 0: must be a multiple of 128; nearest: 128");
    assert_refused(make(3, 4, 127), 65536, "--topk 127: must be a multiple of 128; nearest: 128");
    assert_refused(make(3, 4, 300), 65536, "--topk 300: must be a multiple of 128; nearest: 256 or 384");
    assert_refused(dilated(3, 4, 128, 0), 65536, "--dilation 0: must be at least 1");
    assert_true(valid(make(3, 4, 128), 65536));
    assert_true(valid(make(3, 8, 128), 65536));
    assert_true(valid(make(3, 4, 384), 65536));
}

static void test_lengths(void **state) {
    (void)state;
    assert_refused(
        make(3, 4, 128), 10001,
        "--seq-len 10001 does not go with --pool 4 --levels 3 --topk 128: it must be a multiple of 16 "
        "and at least --topk coarse entries of P^(L-1) tokens long; nearest: --seq-len 10000, or "
        "--seq-len 10016");
    assert_refused(make(3, 4, 128), 100, "nearest: --seq-len 2048"); // nearer multiples of 16 are too short
    assert_refused(make(3, 4, 512), 4096,
                   "nearest: --seq-len 8192, or --topk 256, or --levels 2, or --pool 2");
    assert_refused(make(6, 4, 128), 1000, "or --levels 2");
    assert_refused(dilated(2, 4, 128, 6), 1000, "--dilation 6: it must be a multiple of 12");
    assert_refused(dilated(2, 4, 128, 6), 1000, "nearest: --seq-len 996, or --seq-len 1008");
    assert_refused(make(12, 1024, 128), 100, "make several of them smaller");
}

// The value behind `text`, -1 where it is not there; *message moves behind it.
static int64_t offered(const char **message, const char *text) {
    const char *found = strstr(*message, text);
    if (!found) return -1;
    char *end;
    int64_t value = strtoll(found + strlen(text), &end, 10);
    *message = end;
    return value;
}

// Offers of topk, levels and pool are the largest below the asked ones that fit, and missing where none does.
static void check_settings_offered(LighthouseConfig config, int64_t n, const char *offers) {
    LighthouseConfig other = config;
    const char *rest = offers;
    int64_t topk = offered(&rest, "--topk "), levels = offered(&rest, "--levels ");
    int64_t pool = offered(&rest, "--pool ");
    for (other.topk -= 128; other.topk > 0 && !valid(other, n);) other.topk -= 128;
    assert_int_equal(topk, other.topk > 0 ? other.topk : -1);
    other = config;
    for (other.levels--; other.levels > 1 && !valid(other, n);) other.levels--;
    assert_int_equal(levels, other.levels > 1 ? other.levels : -1);
    other = config;
    for (other.pool /= 2; other.pool > 1 && !valid(other, n);) other.pool /= 2;
    assert_int_equal(pool, other.pool > 1 ? other.pool : -1);
}

// Every length up to `longest`, itself valid: the lengths offered are the nearest valid ones on both sides.
static void check_offers(LighthouseConfig config, int64_t longest) {
    int64_t below = -1, above = 1;
    assert_true(valid(config, longest));
    for (int64_t n = 1; n <= longest; n++) {
        Hierarchy h;
        Error error;
        if (hierarchy_create(&config, n, &h, &error)) {
            below = n;
            continue;
        }
        for (above = above > n ? above : n; !valid(config, above);) above++;
        const char *rest = strstr(error.message, "nearest: ");
        assert_non_null(rest);
        if (below > 0) assert_int_equal(offered(&rest, "--seq-len "), below);
        assert_int_equal(offered(&rest, "--seq-len "), above);
        assert_int_equal(offered(&rest, "--seq-len "), -1);
        check_settings_offered(config, n, rest);
    }
}

static void test_offers_are_valid_and_nearest(void **state) {
    (void)state;
    check_offers(make(2, 2, 128), 500);
    check_offers(make(3, 2, 384), 2000);
    check_offers(make(3, 4, 128), 3200);
    check_offers(make(5, 4, 128), 65536 / 2 + 256);
    check_offers(dilated(2, 4, 256, 6), 2400);
    check_offers(dilated(3, 2, 128, 5), 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_million_tokens),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_offers_are_valid_and_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
