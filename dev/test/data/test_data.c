// Shards and the data loader: the format, the cursor, epochs, ranks, prefetch, and every way a file can be
// wrong.
#include "dataloader.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <cmocka.h>

#define V INT64_C(320)

static void open_loader(DataLoader *loader, const char *pattern, int64_t seq_len) {
    Error error = {0, ""};
    expect_ok(dataloader_open(loader, pattern, seq_len, V, &error), &error);
}

// 100 tokens 0 ... 99 in shards of 37, 0, 50 and 13, of both widths.
static void make_stream(void) {
    shard_make_counting("train_00000.bin", 2, 0, 37, V);
    shard_make_counting("train_00001.bin", 2, 0, 0, V);
    shard_make_counting("train_00002.bin", 4, 37, 50, V);
    shard_make_counting("train_00003.bin", 2, 87, 13, V);
}

// The row holds tokens first, first + 1, ..., first + n.
static void assert_row(const int32_t *row, int64_t first, int64_t n) {
    for (int64_t i = 0; i <= n; i++) assert_int_equal(row[i], first + i);
}

static void assert_next(DataLoader *loader, int64_t first) {
    int32_t row[101];
    Error error = {0, ""};
    expect_ok(dataloader_next(loader, 1, row, &error), &error);
    assert_row(row, first, loader->seq_len);
}

// ---- Format

static void test_header_layout(void **state) {
    (void)state;
    const int32_t tokens[] = {256, 'h', 'i', 257, 256, 'x', 257};
    shard_make("a.bin", 2, tokens, 7);
    Error error;
    size_t size;
    unsigned char *data = (unsigned char *)file_read("a.bin", 1000, &size, &error);
    assert_int_equal(size, 64 + 14);
    static const unsigned char start[32] = {'L', 'H', 'S', 'H', 'A', 'R', 'D', '\n', 1, 0, 0, 0, 2, 0, 0, 0,
                                            7,   0,   0,   0,   0,   0,   0,   0,    2, 0, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(data, start, sizeof start);
    assert_int_equal(shard_get(data + 32, 8), XXH3_64bits(data + 64, 14));
    assert_int_equal(shard_get(data + 56, 8), XXH3_64bits(data, 56));
    static const unsigned char payload[14] = {0, 1, 'h', 0, 'i', 0, 1, 1, 0, 1, 'x', 0, 1, 1};
    assert_memory_equal(data + 64, payload, sizeof payload);
    free(data);
    assert_false(file_exists("a.bin.tmp"));
}

// A shard larger than the writer's buffer, and tokens of 4 bytes.
static void test_large_shard_round_trip(void **state) {
    (void)state;
    for (int width = 2; width <= 4; width += 2) {
        shard_make_counting("big.bin", width, 5, 700001, 258);
        int64_t count;
        int32_t *tokens = shards_load("big.bin", &count);
        assert_int_equal(count, 700001);
        for (int64_t i = 0; i < count; i++) assert_int_equal(tokens[i], (5 + i) % 258);
        free(tokens);
    }
    const int32_t wide[] = {70000, 128255};
    shard_make("wide.bin", 4, wide, 2);
    Shard shard;
    Error error;
    int32_t back[2];
    expect_ok(shard_open(&shard, "wide.bin", &error), &error);
    expect_ok(shard_read(&shard, 0, 2, 128256, back, &error), &error);
    assert_memory_equal(back, wide, sizeof wide);
    assert_true(shard_verify(&shard, 128256, &error));
    assert_false(shard_verify(&shard, 128255, &error));
    shard_close(&shard);
}

static void test_abort_leaves_nothing(void **state) {
    (void)state;
    ShardWriter writer;
    Error error;
    const int32_t token = 1;
    assert_true(shard_writer_open(&writer, "a.bin", 2, &error));
    assert_true(shard_writer_append(&writer, &token, 1, &error));
    assert_true(file_exists("a.bin.tmp"));
    assert_false(file_exists("a.bin"));
    shard_writer_abort(&writer);
    assert_false(file_exists("a.bin.tmp"));
    assert_false(file_exists("a.bin"));
    expect_failed(shard_writer_open(&writer, "no/a.bin", 2, &error), &error, STATUS_DATA, "no/a.bin.tmp");
}

// ---- Order

static void test_counts(void **state) {
    (void)state;
    make_stream();
    DataLoader loader;
    open_loader(&loader, "train_*.bin", 9);
    assert_int_equal(loader.n_shards, 4);
    assert_int_equal(loader.n_tokens, 100);
    assert_int_equal(loader.n_sequences, 11);
    dataloader_close(&loader);
    open_loader(&loader, "train_*.bin", 10);
    assert_int_equal(loader.n_sequences, 9); // 100 inputs, but no target for the last
    dataloader_close(&loader);
    open_loader(&loader, "train_*.bin", 99);
    assert_int_equal(loader.n_sequences, 1);
    dataloader_close(&loader);
}

static void test_order_and_epochs(void **state) {
    (void)state;
    make_stream();
    DataLoader loader;
    open_loader(&loader, "train_*.bin", 9);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        for (int64_t g = 0; g < 11; g++) {
            assert_next(&loader, 9 * g);
            assert_int_equal(loader.places.of[0].epoch, epoch);
            assert_int_equal(loader.places.of[0].cursor, 9 * g + 9);
        }
    }
    dataloader_close(&loader);
}

static void test_batches_wrap_within(void **state) {
    (void)state;
    make_stream();
    DataLoader loader;
    open_loader(&loader, "train_*.bin", 9);
    int32_t rows[4 * 10];
    Error error = {0, ""};
    for (int64_t step = 0; step < 8; step++) {
        expect_ok(dataloader_next(&loader, 4, rows, &error), &error);
        for (int64_t b = 0; b < 4; b++) assert_row(rows + 10 * b, (4 * step + b) % 11 * 9, 9);
        assert_int_equal(loader.places.of[0].epoch, (4 * step + 3) / 11);
    }
    dataloader_close(&loader);
}

// A cursor saved at another N goes on token by token; one that does not fit any more wraps.
static void test_seek_and_other_length(void **state) {
    (void)state;
    make_stream();
    DataLoader loader;
    open_loader(&loader, "train_*.bin", 9);
    assert_next(&loader, 0);
    assert_next(&loader, 9);
    int64_t cursor = loader.places.of[0].cursor;
    dataloader_close(&loader);
    open_loader(&loader, "train_*.bin", 40);
    dataloader_seek(&loader, cursor, 0);
    assert_next(&loader, 18);
    assert_int_equal(loader.places.of[0].cursor, 58);
    assert_next(&loader, 58); // the last token is 98
    assert_int_equal(loader.places.of[0].epoch, 0);
    assert_next(&loader, 0);
    assert_int_equal(loader.places.of[0].epoch, 1);
    dataloader_seek(&loader, 59, loader.places.of[0].epoch); // 59 + 40 is the last token's position
    assert_next(&loader, 59);
    assert_int_equal(loader.places.of[0].epoch, 1);
    dataloader_seek(&loader, 60, loader.places.of[0].epoch);
    assert_next(&loader, 0);
    assert_int_equal(loader.places.of[0].epoch, 2);
    dataloader_seek(&loader, 1000000, loader.places.of[0].epoch);
    assert_next(&loader, 0);
    assert_int_equal(loader.places.of[0].epoch, 3);
    dataloader_close(&loader);
}

// Ranks together read what one rank reads, and agree on the cursor.
static void test_ranks(void **state) {
    (void)state;
    make_stream();
    DataLoader all, loaders[3];
    open_loader(&all, "train_*.bin", 9);
    for (int r = 0; r < 3; r++) {
        open_loader(&loaders[r], "train_*.bin", 9);
        dataloader_set_ranks(&loaders[r], r, 3);
    }
    Error error = {0, ""};
    for (int step = 0; step < 7; step++) {
        int32_t expected[6 * 10], rows[2 * 10];
        expect_ok(dataloader_next(&all, 6, expected, &error), &error);
        for (int r = 0; r < 3; r++) {
            expect_ok(dataloader_next(&loaders[r], 2, rows, &error), &error);
            assert_memory_equal(rows, expected + 20 * r, sizeof rows);
            assert_int_equal(loaders[r].places.of[0].cursor, all.places.of[0].cursor);
            assert_int_equal(loaders[r].places.of[0].epoch, all.places.of[0].epoch);
        }
    }
    for (int r = 0; r < 3; r++) dataloader_close(&loaders[r]);
    dataloader_close(&all);
}

// Reading in place moves nothing, and prefetch hands over the same tokens, also when the number of rows
// changes.
static void test_prefetch_equals_direct(void **state) {
    (void)state;
    make_stream();
    DataLoader loader, direct;
    open_loader(&loader, "train_*.bin", 7);
    open_loader(&direct, "train_*.bin", 7);
    Error error = {0, ""};
    for (int step = 0; step < 200; step++) {
        int64_t rows = 1 + step * step % 5;
        int32_t a[5 * 8], b[5 * 8], c[8];
        DataPlace place = {loader.places.of[0].cursor, loader.places.of[0].epoch}, third = {21, 0};
        expect_ok(dataloader_read(&direct, place, rows, b, &error), &error);
        expect_ok(dataloader_next(&loader, rows, a, &error), &error);
        assert_memory_equal(a, b, (size_t)rows * 8 * sizeof *a);
        int64_t cursor = loader.places.of[0].cursor;
        expect_ok(dataloader_read(&loader, third, 1, c, &error), &error);
        assert_row(c, 21, 7);
        assert_int_equal(loader.places.of[0].cursor, cursor);
        if (step % 50 == 49) dataloader_seek(&loader, step % 13, loader.places.of[0].epoch);
    }
    assert_int_equal(direct.places.of[0].cursor, 0);
    dataloader_close(&direct);
    dataloader_close(&loader);
}

static void test_close_while_prefetching(void **state) {
    (void)state;
    shard_make_counting("train_00000.bin", 2, 0, 1 << 20, 258);
    for (int i = 0; i < 50; i++) {
        DataLoader loader;
        Error error = {0, ""};
        int32_t row[1001];
        open_loader(&loader, "train_*.bin", 1000);
        if (i % 2) expect_ok(dataloader_next(&loader, 1, row, &error), &error);
        dataloader_close(&loader);
    }
}

// ---- Errors

static void assert_open_fails(const char *pattern, int64_t seq_len, const char *part) {
    DataLoader loader;
    Error error = {0, ""};
    expect_failed(dataloader_open(&loader, pattern, seq_len, V, &error), &error, STATUS_DATA, part);
    dataloader_close(&loader); // suits a loader that failed to open
}

static void test_nothing_or_too_short(void **state) {
    (void)state;
    assert_open_fails("train_*.bin", 9, "no file matches train_*.bin");
    make_stream();
    assert_open_fails("train_*.bin", 100, "holds 100 tokens, too few for one sequence of 100 + 1");
    assert_open_fails("train_*.bin", 100, "--seq-len 99 or less");
    assert_open_fails("train_00001.bin", 9, "holds 0 tokens");
}

static void test_cut_short(void **state) {
    (void)state;
    make_stream();
    assert_int_equal(truncate("train_00002.bin", 64 + 4 * 49 + 3), 0);
    assert_open_fails("train_*.bin", 9,
                      "shard train_00002.bin is cut short: its header promises 50 tokens, 49 are");
    assert_int_equal(truncate("train_00002.bin", 63), 0);
    assert_open_fails("train_*.bin", 9, "train_00002.bin is cut short: 63 bytes");
    assert_int_equal(truncate("train_00002.bin", 3), 0);
    assert_open_fails("train_*.bin", 9, "train_00002.bin is cut short: 3 bytes");
    assert_int_equal(truncate("train_00002.bin", 0), 0);
    assert_open_fails("train_*.bin", 9, "train_00002.bin is empty");
    make_stream();
    assert_int_equal(truncate("train_00003.bin", 64 + 26 + 5), 0);
    assert_open_fails("train_*.bin", 9, "train_00003.bin has 5 bytes behind its 13 tokens");
}

// Every single bit of the header counts.
static void test_damaged_header(void **state) {
    (void)state;
    for (int64_t offset = 0; offset < SHARD_HEADER_SIZE; offset++) {
        shard_make_counting("a.bin", 2, 0, 50, V);
        file_flip_bit("a.bin", offset);
        assert_open_fails("a.bin", 9,
                          offset < 8    ? "another magic number"
                          : offset < 12 ? "this program reads version 1"
                                        : "header of shard a.bin is damaged (wrong hash)");
    }
}

// One bit flipped anywhere in a shard is found, and its shard named: in the header at open, in the tokens
// when they are first reached.
static void test_every_bit(void **state) {
    (void)state;
    Error error;
    size_t size;
    for (int width = 2; width <= 4; width += 2) {
        shard_make_counting("a.bin", width, 0, 9, V);
        shard_make_counting("b.bin", width, 9, 40, V);
        char *bytes = file_read("b.bin", 1000, &size, &error);
        assert_int_equal(size, SHARD_HEADER_SIZE + 40 * width);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            DataLoader loader;
            int32_t row[10];
            bytes[bit / 8] ^= (char)(1 << bit % 8);
            assert_true(file_write("b.bin", bytes, size, &error));
            bytes[bit / 8] ^= (char)(1 << bit % 8);
            if (bit < 8 * SHARD_HEADER_SIZE) {
                assert_open_fails("[ab].bin", 9, "b.bin");
                continue;
            }
            open_loader(&loader, "[ab].bin", 9);
            expect_failed(dataloader_next(&loader, 1, row, &error), &error, STATUS_DATA, "b.bin is damaged");
            dataloader_close(&loader);
        }
        free(bytes);
    }
}

// A header with a right hash that lies about sizes is not believed.
static void test_lying_header(void **state) {
    (void)state;
    Error error;
    unsigned char data[SHARD_HEADER_SIZE + 8] = {0};
    ShardHeader header = {2, SHARD_BYTES, INT64_MAX, 1, 0};
    shard_header_encode(&header, data);
    assert_true(file_write("a.bin", data, sizeof data, &error));
    assert_open_fails("a.bin", 9, "cut short");
    header.n_tokens = -1;
    shard_header_encode(&header, data);
    assert_true(file_write("a.bin", data, sizeof data, &error));
    assert_open_fails("a.bin", 9, "cut short");
    header.n_tokens = INT64_MIN + 4; // times 2 it is 8 again, modulo 2^64
    shard_header_encode(&header, data);
    assert_true(file_write("a.bin", data, sizeof data, &error));
    assert_open_fails("a.bin", 9, "cut short");
    header.token_bytes = 3;
    shard_header_encode(&header, data);
    assert_true(file_write("a.bin", data, sizeof data, &error));
    assert_open_fails("a.bin", 9, "3 bytes a token");
}

static void test_other_formats(void **state) {
    (void)state;
    static const struct {
        const char *data;
        size_t size;
        const char *part;
    } cases[] = {
        {"\x1f\x8b\x08\x00", 4, "a.bin is gzip"},
        {"{\"text\": \"x\"}\n", 14, "a.bin is JSON"},
        {"Call me Ishmael.\n", 17, "a.bin is text"},
        {"\x93NUMPY\x01\x00", 8, "a.bin is a NumPy array"},
        {"\x88\xd8\x34\x01....", 8, "a shard of llm.c"},
        {"\x00\x01\x02\x03", 4, "a.bin is no shard"},
        {"\xa1\xd9\x34\x01....", 8, "a shard of llm.c"},
        {"\x28\xb5\x2f\xfd\x04", 5, "a.bin is zstd"},
        {"MMIDIDX\0\0", 9, "a.bin is Megatron's index"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "a.bin is a Git LFS pointer: `git lfs pull`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error;
        assert_true(file_write("a.bin", cases[i].data, cases[i].size, &error));
        assert_open_fails("a.bin", 9, cases[i].part);
    }
    assert_int_equal(mkdir("folder.bin", 0777), 0);
    assert_open_fails("folder.bin", 9, "folder.bin is a folder");
}

// Damage is found when its shard is reached, not before; the cursor stays, and the message comes again.
static void test_damaged_payload(void **state) {
    (void)state;
    make_stream();
    file_flip_bit("train_00002.bin", -1);
    DataLoader loader;
    Error error = {0, ""};
    int32_t row[10];
    open_loader(&loader, "train_*.bin", 9);
    for (int64_t g = 0; g < 4; g++) assert_next(&loader, 9 * g); // tokens 0 ... 36 are the first shard's
    for (int i = 0; i < 2; i++) {
        expect_failed(dataloader_next(&loader, 1, row, &error), &error, STATUS_DATA,
                      "train_00002.bin is damaged");
        assert_int_equal(loader.places.of[0].cursor, 36);
    }
    DataPlace amid = {30, 0};
    expect_failed(dataloader_read(&loader, amid, 1, row, &error), &error, STATUS_DATA, "train_00002.bin");
    dataloader_seek(&loader, 0, 0);
    assert_next(&loader, 0);
    dataloader_close(&loader);
}

static void test_token_outside_vocabulary(void **state) {
    (void)state;
    for (int width = 2; width <= 4; width += 2) {
        shard_make_counting("a.bin", width, 0, 321, 1000);
        DataLoader loader;
        Error error = {0, ""};
        int32_t row[10];
        open_loader(&loader, "a.bin", 9);
        expect_failed(dataloader_next(&loader, 1, row, &error), &error, STATUS_DATA, "a.bin holds token 320");
        assert_non_null(strstr(error.message, "vocabulary has 320"));
        dataloader_close(&loader);
    }
    const int32_t negative[] = {1, -1, 2};
    shard_make("b.bin", 4, negative, 3);
    DataLoader loader;
    Error error = {0, ""};
    int32_t row[3];
    open_loader(&loader, "b.bin", 2);
    expect_failed(dataloader_next(&loader, 1, row, &error), &error, STATUS_DATA,
                  "b.bin holds token 4294967295");
    dataloader_close(&loader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_header_layout),
        IN_FOLDER(test_large_shard_round_trip),
        IN_FOLDER(test_abort_leaves_nothing),
        IN_FOLDER(test_counts),
        IN_FOLDER(test_order_and_epochs),
        IN_FOLDER(test_batches_wrap_within),
        IN_FOLDER(test_seek_and_other_length),
        IN_FOLDER(test_ranks),
        IN_FOLDER(test_prefetch_equals_direct),
        IN_FOLDER(test_close_while_prefetching),
        IN_FOLDER(test_nothing_or_too_short),
        IN_FOLDER(test_cut_short),
        IN_FOLDER(test_damaged_header),
        IN_FOLDER(test_lying_header),
        IN_FOLDER(test_other_formats),
        IN_FOLDER(test_damaged_payload),
        IN_FOLDER(test_every_bit),
        IN_FOLDER(test_token_outside_vocabulary),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
