// The order of sequences from epoch to epoch, and data sets that are not whole, many, or change while they
// are read.
#include "core/base/permutation.h"
#include "dataloader.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define V         INT64_C(320)
#define N         INT64_C(9)  // inputs of a sequence
#define T         INT64_C(98) // tokens: 10 sequences, and 7 are left over
#define SEQUENCES 10

// ---- Permutations

static void assert_permutation(int64_t n, uint64_t seed, uint64_t stream) {
    bool *seen = (bool *)alloc_or_exit((size_t)n, sizeof *seen);
    for (int64_t i = 0; i < n; i++) {
        int64_t value = permutation_at(seed, stream, n, i);
        if (value < 0 || value >= n || seen[value]) fail_msg("%d: of %d to %d", (int)n, (int)i, (int)value);
        seen[value] = true;
    }
    free(seen);
}

static void test_permutation_is_one(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 300; n++) {
        for (uint64_t stream = 1; stream < 5; stream++) assert_permutation(n, 7, stream);
    }
    static const int64_t large[] = {1023, 1024, 1025, 4096, 4097, 65537, 100000};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) assert_permutation(large[i], 1, 3);
    int64_t huge = (INT64_C(1) << 40) + 1, value = permutation_at(1, 2, huge, huge - 1);
    assert_true(value >= 0 && value < huge);
}

// Over many streams every number stands at the first place about as often as any other, and at the last.
static void test_permutation_is_even(void **state) {
    (void)state;
    static const int64_t sizes[] = {2, 3, 5, 16, 17, 40};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t n = sizes[s], count[2][64] = {{0}}, draws = 2000 * n;
        for (int64_t stream = 0; stream < draws; stream++) {
            count[0][permutation_at(1, (uint64_t)stream, n, 0)]++;
            count[1][permutation_at(1, (uint64_t)stream, n, n - 1)]++;
        }
        for (int64_t value = 0; value < n; value++) { // 2,000 each, with a deviation of 45
            for (int end = 0; end < 2; end++) assert_in_range(count[end][value], 1750, 2250);
        }
    }
}

// ---- Epochs

// Tokens 0 ... 97 in five shards.
static void make_stream(void) {
    shard_make_counting("train_00000.bin", 2, 0, 37, V);
    shard_make_counting("train_00001.bin", 4, 37, 3, V);
    shard_make_counting("train_00002.bin", 2, 40, 0, V);
    shard_make_counting("train_00003.bin", 2, 40, 50, V);
    shard_make_counting("train_00004.bin", 4, 90, 8, V);
}

static void open_shuffled(DataLoader *loader, int64_t seq_len, uint64_t seed) {
    Error error = {0, ""};
    expect_ok(dataloader_open(loader, "train_*.bin", seq_len, V, &error), &error);
    dataloader_shuffle(loader, seed);
}

// The first tokens of the next `count` sequences, each of which must hold tokens that follow each other.
static void next_starts(DataLoader *loader, int64_t count, int64_t *starts) {
    for (int64_t i = 0; i < count; i++) {
        int32_t row[101];
        Error error = {0, ""};
        expect_ok(dataloader_next(loader, 1, row, &error), &error);
        starts[i] = row[0];
        for (int64_t k = 0; k <= loader->seq_len; k++) assert_int_equal(row[k], row[0] + k);
        assert_true(row[0] + loader->seq_len < T);
    }
}

// An epoch's starts are offset + g N, each g once; gives the offset.
static int64_t assert_whole_epoch(const int64_t *starts) {
    bool seen[SEQUENCES] = {false};
    int64_t offset = starts[0] % N;
    for (int i = 0; i < SEQUENCES; i++) {
        int64_t g = (starts[i] - offset) / N;
        assert_int_equal(starts[i], offset + g * N);
        assert_true(g >= 0 && g < SEQUENCES && !seen[g]);
        seen[g] = true;
    }
    return offset;
}

// The first epoch is as packed. Every other has each sequence once, in an order and from an offset of its
// own; all tokens come as inputs that way.
static void test_epochs_reshuffle(void **state) {
    (void)state;
    enum { EPOCHS = 40 };
    make_stream();
    DataLoader loader;
    open_shuffled(&loader, N, 1);
    assert_int_equal(loader.n_sequences, SEQUENCES);
    int64_t starts[EPOCHS][SEQUENCES];
    bool offsets[8] = {false};
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        next_starts(&loader, SEQUENCES, starts[epoch]);
        assert_int_equal(loader.places.of[0].epoch, epoch);
        assert_int_equal(loader.places.of[0].cursor, N * SEQUENCES);
        int64_t offset = assert_whole_epoch(starts[epoch]);
        assert_in_range(offset, 0, 7);
        offsets[offset] = true;
        for (int other = 0; other < epoch; other++)
            assert_memory_not_equal(starts[epoch], starts[other], sizeof *starts);
    }
    for (int i = 0; i < SEQUENCES; i++) assert_int_equal(starts[0][i], N * i);
    for (int i = 0; i < 8; i++) assert_true(offsets[i]);
    dataloader_close(&loader);

    int64_t again[SEQUENCES];
    open_shuffled(&loader, N, 1); // nothing but seed and epoch counts
    dataloader_seek(&loader, 0, 5);
    next_starts(&loader, SEQUENCES, again);
    assert_memory_equal(again, starts[5], sizeof again);
    dataloader_close(&loader);
    open_shuffled(&loader, N, 2);
    dataloader_seek(&loader, 0, 5);
    next_starts(&loader, SEQUENCES, again);
    assert_memory_not_equal(again, starts[5], sizeof again);
    dataloader_close(&loader);
}

// From any saved cursor and epoch a run goes on as if it had not stopped, and all numbers of ranks and rows
// read the same sequences.
static void test_resumed_and_on_ranks(void **state) {
    (void)state;
    make_stream();
    DataLoader whole, resumed, ranks[3];
    open_shuffled(&whole, N, 1);
    for (int r = 0; r < 3; r++) {
        open_shuffled(&ranks[r], N, 1);
        dataloader_set_ranks(&ranks[r], r, 3);
    }
    Error error = {0, ""};
    for (int step = 0; step < 12; step++) { // of 6 rows: epochs end within steps
        int32_t expected[6 * (N + 1)], rows[6 * (N + 1)];
        open_shuffled(&resumed, N, 1);
        dataloader_seek(&resumed, whole.places.of[0].cursor, whole.places.of[0].epoch);
        expect_ok(dataloader_next(&whole, 6, expected, &error), &error);
        expect_ok(dataloader_next(&resumed, 6, rows, &error), &error);
        assert_memory_equal(rows, expected, sizeof rows);
        dataloader_close(&resumed);
        for (int r = 0; r < 3; r++) {
            expect_ok(dataloader_next(&ranks[r], 2, rows, &error), &error);
            assert_memory_equal(rows, expected + 2 * r * (N + 1), sizeof rows / 3);
            assert_int_equal(ranks[r].places.of[0].cursor, whole.places.of[0].cursor);
            assert_int_equal(ranks[r].places.of[0].epoch, whole.places.of[0].epoch);
        }
    }
    for (int r = 0; r < 3; r++) dataloader_close(&ranks[r]);
    dataloader_close(&whole);
}

// Another length amid a later epoch: as many tokens are still to come as were left, each sequence of the new
// length at most once, and the next epoch is whole.
static void test_other_length(void **state) {
    (void)state;
    make_stream();
    for (int64_t length = 1; length < T; length++) {
        DataLoader loader;
        open_shuffled(&loader, length, 1);
        dataloader_seek(&loader, 4 * N, 2);
        int64_t left = (T - 1 - 4 * N) / length, starts[T];
        bool seen[T] = {false};
        next_starts(&loader, left, starts);
        assert_int_equal(loader.places.of[0].epoch, 2);
        for (int64_t i = 0; i < left; i++) {
            assert_false(seen[starts[i]]);
            seen[starts[i]] = true;
        }
        next_starts(&loader, loader.n_sequences, starts);
        assert_int_equal(loader.places.of[0].epoch, 3);
        assert_int_equal(loader.places.of[0].cursor, loader.n_sequences * length);
        dataloader_close(&loader);
    }
}

// Without dataloader_shuffle, as for validation, every epoch is as packed.
static void test_order_is_kept(void **state) {
    (void)state;
    make_stream();
    DataLoader loader;
    Error error = {0, ""};
    int64_t starts[SEQUENCES];
    expect_ok(dataloader_open(&loader, "train_*.bin", N, V, &error), &error);
    for (int epoch = 0; epoch < 3; epoch++) {
        next_starts(&loader, SEQUENCES, starts);
        for (int i = 0; i < SEQUENCES; i++) assert_int_equal(starts[i], N * i);
    }
    dataloader_close(&loader);
}

// ---- Many shards, and too few

// More shards than a process may have files open, in random order.
static void test_many_shards(void **state) {
    (void)state;
    enum { SHARDS = 300, TOKENS = 7 };
    struct rlimit before, few;
    for (int i = 0; i < SHARDS; i++) {
        char path[32];
        snprintf(path, sizeof path, "train_%05d.bin", i);
        shard_make_counting(path, 4, (int64_t)i * TOKENS, TOKENS, 100000);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 16;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    DataLoader loader;
    Error error = {0, ""};
    expect_ok(dataloader_open(&loader, "train_*.bin", 20, 100000, &error), &error);
    dataloader_shuffle(&loader, 1);
    dataloader_seek(&loader, 0, 1);
    int32_t row[21];
    for (int64_t i = 0; i < 2 * loader.n_sequences; i++) {
        expect_ok(dataloader_next(&loader, 1, row, &error), &error);
        for (int k = 0; k <= 20; k++) assert_int_equal(row[k], row[0] + k);
    }
    dataloader_close(&loader);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// What is warned of when a data set is opened; release with free().
static char *warned_of(const char *pattern) {
    DataLoader loader;
    Error error = {0, ""};
    fflush(stderr);
    int terminal = dup(STDERR_FILENO), file = open("warnings", O_RDWR | O_CREAT | O_TRUNC, 0666);
    assert_true(terminal >= 0 && file >= 0);
    dup2(file, STDERR_FILENO);
    bool ok = dataloader_open(&loader, pattern, 3, V, &error);
    fflush(stderr);
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(file);
    expect_ok(ok, &error);
    dataloader_close(&loader);
    char *text = file_read("warnings", 1 << 20, NULL, &error);
    assert_non_null(text);
    return text;
}

static void assert_warned(const char *pattern, const char *part) {
    char *text = warned_of(pattern);
    if (part) expect_part(text, part);
    if (!part) assert_string_equal(text, "");
    free(text);
}

static void test_missing_shards(void **state) {
    (void)state;
    static const char *const names[] = {
        "train_00000.bin", "train_00001.bin", "train_00003.bin", "part-0.bin",
        "part-1.bin",      "part-3.bin",      "y2019.bin",       "y2024.bin",
        "first_1.bin",     "first_2.bin",     "plain.bin",       "late_00001.bin",
        "run7/a_9.bin",    "run7/a_10.bin",   "wide_00000.bin",  "wide_00009.bin"};
    assert_int_equal(mkdir("run7", 0777), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        shard_make_counting(names[i], 2, 20 * (int64_t)i, 10, V);
    }
    assert_warned("train_*.bin", "shard train_00002.bin is missing, where 3 others are, up to train_00003");
    assert_warned("part-*.bin", "shard part-2.bin is missing");
    assert_warned("late_*.bin", "shard late_00000.bin is missing");
    assert_warned("wide_*.bin", "shard wide_00001.bin and 7 more like it are missing");
    assert_warned("y*.bin", NULL); // years, of which nobody knows how many there were
    assert_warned("first_*.bin", NULL);
    assert_warned("plain.bin", NULL);
    assert_warned("run7/*.bin", NULL);
    assert_warned("train_0000[01].bin", NULL);
    shard_make_counting("train_00002.bin", 2, 700, 10, V);
    assert_warned("train_*.bin", NULL);
    assert_warned("train_0000[023].bin", NULL); // left out on purpose
}

// A download's second copy, or a link: its tokens would count twice in every epoch.
static void test_shard_twice(void **state) {
    (void)state;
    shard_make_counting("train_0.bin", 2, 0, 30, V);
    shard_make_counting("train_1.bin", 2, 30, 30, V);
    assert_warned("train_*.bin", NULL);
    shard_make_counting("train_0 (1).bin", 2, 0, 30, V);
    assert_warned("train_*.bin", "train_0.bin holds the same tokens as train_0 (1).bin; they count twice");
    assert_int_equal(symlink("train_1.bin", "train_2.bin"), 0);
    assert_warned("train_*.bin", "(and 1 more like it); they count twice");
}

// ---- Shards that change while they are read

// Gives the second shard of two another time of its last change: two within one tick of the clock look alike.
static void stamp(void) {
    static time_t second;
    struct timespec times[2] = {{++second, 0}, {second, 0}};
    utimensat(AT_FDCWD, "b.bin", times, 0); // it may be gone
}

// Reads on, after something has happened to that shard.
static void assert_read_fails(DataLoader *loader, const char *part) {
    int32_t row[N + 1];
    Error error = {0, ""};
    stamp();
    dataloader_seek(loader, 45, 0);
    expect_failed(dataloader_next(loader, 1, row, &error), &error, STATUS_DATA, part);
    expect_part(error.message, "b.bin");
}

static void assert_read_goes_on(DataLoader *loader) {
    int64_t start;
    stamp();
    dataloader_seek(loader, 45, 0);
    next_starts(loader, 1, &start);
    assert_int_equal(start, 45);
}

static void make_pair(DataLoader *loader) {
    Error error = {0, ""};
    shard_make_counting("a.bin", 2, 0, 40, V);
    shard_make_counting("b.bin", 2, 40, 58, V);
    expect_ok(dataloader_open(loader, "[ab].bin", N, V, &error), &error);
    assert_read_goes_on(loader);
}

static void test_shards_that_change(void **state) {
    (void)state;
    DataLoader loader;
    make_pair(&loader);
    assert_int_equal(truncate("b.bin", 100), 0);
    assert_read_fails(&loader, "is cut short");
    assert_int_equal(truncate("b.bin", 0), 0);
    assert_read_fails(&loader, "is empty");
    assert_int_equal(unlink("b.bin"), 0);
    assert_read_fails(&loader, "No such file");
    shard_make_counting("b.bin", 2, 41, 58, V); // of another pack
    assert_read_fails(&loader, "was replaced by another");
    shard_make_counting("b.bin", 4, 40, 58, V);
    assert_read_fails(&loader, "was replaced by another");
    shard_make_counting("b.bin", 2, 40, 58, V); // the same again
    assert_read_goes_on(&loader);
    file_flip_bit("b.bin", -1);
    assert_read_fails(&loader, "is damaged");
    file_flip_bit("b.bin", -1);
    assert_read_goes_on(&loader);
    assert_read_goes_on(&loader); // touched
    assert_int_equal(unlink("b.bin"), 0);
    assert_int_equal(mkfifo("b.bin", 0666), 0);
    assert_read_fails(&loader, "no regular file");
    dataloader_close(&loader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permutation_is_one),
        cmocka_unit_test(test_permutation_is_even),
        IN_FOLDER(test_epochs_reshuffle),
        IN_FOLDER(test_resumed_and_on_ranks),
        IN_FOLDER(test_other_length),
        IN_FOLDER(test_order_is_kept),
        IN_FOLDER(test_many_shards),
        IN_FOLDER(test_missing_shards),
        IN_FOLDER(test_shard_twice),
        IN_FOLDER(test_shards_that_change),
    };
    return cmocka_run_group_tests_name("data order", tests, NULL, NULL);
}
