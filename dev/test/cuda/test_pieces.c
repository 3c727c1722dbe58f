// The order of copies and updates of weights and moments in host memory (cuda/engine/pieces.cu), on streams
// that the host plays: in whatever order events leave open, the arrays end as those of an update in place.
#include "dev/test/support/streams.h"

#define CUDA_COMMON_CUH  // in place of which stands what is played
#define CUDA_CHECK(call) (call)
#include "cuda/engine/pieces.cu"

#include "core/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UPDATES 3

// Of weights and moments that are small whole numbers, so exact: what comes of each depends on all before.
static void update(const Masters *masters, int64_t start, int64_t count, int step) {
    for (int64_t i = 0; i < count; i++) {
        float gradient = (float)((start + i) % 7 + step);
        masters->arrays[1][i] += gradient;
        masters->arrays[2][i] += 2 * gradient;
        masters->arrays[0][i] += masters->arrays[1][i] - masters->arrays[2][i] + 1;
    }
}

typedef struct {
    Masters place;
    int64_t start, count;
    int step;
} Job;

static void run_job(const void *job) {
    const Job *j = (const Job *)job;
    update(&j->place, j->start, j->count, j->step);
}

static Masters masters_create(int64_t count, float value) {
    Masters masters;
    for (int a = 0; a < PIECE_ARRAYS; a++) {
        masters.arrays[a] = (float *)alloc_or_exit((size_t)count, sizeof(float));
        for (int64_t i = 0; i < count; i++) masters.arrays[a][i] = value;
    }
    return masters;
}

static void masters_free(Masters *masters) {
    for (int a = 0; a < PIECE_ARRAYS; a++) free(masters->arrays[a]);
}

static void update_in_pieces(CudaPieces *pieces, const ParamTable *table, const Masters *host, int step) {
    UpdatePiece piece = piece_first(table, pieces->room);
    for (; piece.count > 0; piece = piece_behind(table, pieces->room, &piece)) {
        int64_t start = piece_kept(table, &piece);
        Masters from = masters_from(host, start);
        Job *job = (Job *)alloc_or_exit(1, sizeof *job);
        *job = (Job){pieces_place(pieces, &piece), start, piece.count, step};
        pieces_fetch(pieces, &piece, &from);
        pieces_await(pieces, &piece);
        streams_call(pieces->computes, run_job, job);
        pieces_store(pieces, &piece, &from);
    }
    pieces_finish(pieces);
}

// Where the computing reads host memory behind an update, it finds what has been updated.
static void expect_updates(CudaPieces *pieces, const ParamTable *table, int preferred, uint64_t seed) {
    int64_t count = table->trained_size / table->ranks;
    size_t bytes = (size_t)count * sizeof(float);
    Masters host = masters_create(count, -5), want = masters_create(count, 0),
            read = masters_create(count, -7);
    cudaStream_t computes;
    cudaStreamCreateWithFlags(&computes, cudaStreamNonBlocking);
    pieces_open(pieces, computes, &host, count);
    for (int step = 1; step <= UPDATES; step++) {
        update_in_pieces(pieces, table, &host, step);
        update(&want, 0, count, step);
    }
    for (int a = 0; a < PIECE_ARRAYS; a++)
        cudaMemcpyAsync(read.arrays[a], host.arrays[a], bytes, cudaMemcpyDefault, computes);
    cudaStream_t streams[] = {NULL, computes, pieces->arrives, pieces->leaves};
    streams_run(seed, streams[preferred]);
    for (int a = 0; a < PIECE_ARRAYS; a++) assert_memory_equal(read.arrays[a], want.arrays[a], bytes);
    pieces_close(pieces);
    cudaStreamDestroy(computes);
    masters_free(&host);
    masters_free(&want);
    masters_free(&read);
}

static void test_orders(void **state) {
    (void)state;
    const ModelConfig model = {2, 64, 1, 1, 64, 64, 264, 10000, 1e-5};
    ParamTable table = param_table_create(&model, false);
    for (int ranks = 1; ranks <= 2; ranks++) {
        param_table_shard(&table, ranks);
        for (int i = 0; i < 48; i++) {
            static const int64_t most[] = {2048, 4096, 0};
            CudaPieces pieces;
            memset(&pieces, 0, sizeof pieces);
            pieces.room = piece_room(&table, most[i / 16]);
            pieces.places =
                (float *)alloc_or_exit((size_t)(PIECE_PLACES * PIECE_ARRAYS * pieces.room), sizeof(float));
            expect_updates(&pieces, &table, i % 4, (uint64_t)i);
            free(pieces.places);
        }
    }
    param_table_free(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_orders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
