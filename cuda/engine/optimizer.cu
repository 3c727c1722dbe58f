// Sums of gradients, AdamW on this rank's share, and the weights to all; see optimizer.cuh.
#include "cuda/engine/optimizer.cuh"
#include "core/engine/gradient_room.h"
#include "core/engine/offload.h"
#include "cuda/kernels/cross_entropy.cuh"

#include <assert.h>

static bool many(const CudaOptimizer *o) {
    return ranks_many(o->ranks);
}

static bool offloads(const CudaOptimizer *o) {
    return o->pieces.room > 0;
}

// Whether kernels find vectors apart from the master weights, which are not all here.
static bool apart(const CudaOptimizer *o) {
    return many(o) || offloads(o);
}

// This rank's share of a bucket, in a flat array.
static int64_t share_begin(const CudaOptimizer *o, int bucket) {
    return param_share_begin(o->table, bucket, ranks_rank(o->ranks));
}

// Of its gradients.
static float *share_gradients(const CudaOptimizer *o, int bucket) {
    return o->gradients + gradients_share(o->table, o->shares, bucket, ranks_rank(o->ranks));
}

// ---- The arrays

static const char *const MASTER_PURPOSES[PIECE_ARRAYS] = {"weights", "optimizer", "optimizer"};
static const char *const MASTER_NAMES[PIECE_ARRAYS] = {"parameters (float32)", "first moments",
                                                       "second moments"};

// One of the arrays that may lie on either side, `count` elements of it.
static void plan_master(CudaOptimizer *o, MemoryPlan *plan, int array, const char *purpose, int64_t count) {
    plan_add(plan, (void **)&o->masters.arrays[array], purpose, MASTER_NAMES[array], count, sizeof(float));
}

static int64_t masters_count(const CudaOptimizer *o) {
    return o->table->trained_size / o->table->ranks;
}

void cuda_optimizer_plan(CudaOptimizer *o, MemoryPlan *plan, const EngineConfig *config) {
    const ParamTable *table = o->table;
    bool training = config->training;
    int64_t size = table->trained_size;
    o->shares = training && config->share_gradients && many(o);
    o->pieces.room = offload_masters(config) ? piece_room(table, config->piece) : 0;
    int64_t masters = offloads(o) ? 0 : masters_count(o), moments = training ? masters : 0;
    int64_t vectors = apart(o) ? table->vectors_size : 0, piece = apart(o) ? OPTIMIZER_PIECE : 0;
    plan_master(o, plan, 0, MASTER_PURPOSES[0], masters);
    plan_add(plan, (void **)&o->copies, "weights", "working copy (bf16)", size, sizeof(bf16));
    plan_add(plan, (void **)&o->vectors, "weights", "norms and biases (float32)", vectors, sizeof(float));
    for (int i = 1; i < PIECE_ARRAYS; i++) plan_master(o, plan, i, MASTER_PURPOSES[i], moments);
    plan_add(plan, (void **)&o->pieces.places, "optimizer", "weights and moments, a piece at a time",
             PIECE_PLACES * PIECE_ARRAYS * o->pieces.room, sizeof(float));
    plan_add(plan, (void **)&o->gradients, "gradients", "gradients",
             training ? gradients_kept(table, o->shares) : 0, sizeof(float));
    plan_add(plan, (void **)&o->room, "gradients", "two buckets of a backward",
             o->shares ? gradient_room_size(table) : 0, sizeof(float));
    plan_add(plan, (void **)&o->piece, "workspace", "weights on their way", piece, sizeof(float));
    if (!training) return;
    plan_add(plan, (void **)&o->norm, "workspace", "gradient norm", 1, sizeof(GradientNorm));
    plan_add(plan, (void **)&o->partial, "workspace", "gradient squares", SQUARES_SLICES, sizeof(double));
    plan_add(plan, (void **)&o->squares, "workspace", "sum of squares", many(o), sizeof(double));
}

// What lies on the GPU is left alone.
void cuda_optimizer_plan_host(CudaOptimizer *o, MemoryPlan *plan) {
    for (int i = 0; offloads(o) && i < PIECE_ARRAYS; i++) plan_master(o, plan, i, "host", masters_count(o));
}

void cuda_optimizer_start(CudaOptimizer *o) {
    pieces_open(&o->pieces, o->stream, &o->masters, masters_count(o));
}

void cuda_optimizer_stop(CudaOptimizer *o) {
    pieces_close(&o->pieces);
}

const float *cuda_optimizer_vector(const CudaOptimizer *o, ParamRole role, int layer) {
    int index = param_find(o->table, role, layer);
    if (index < 0) return NULL;
    const Param *param = &o->table->params[index];
    return apart(o) ? o->vectors + param->vector : o->masters.arrays[0] + param->offset;
}

// ---- The update

// Until all that is queued has come; the clock tells what the stream waits.
static void wait_for_ranks(const CudaOptimizer *o, const char *what) {
    bool timed = o->clock->open;
    Part part = timed ? cuda_part_switch(o->clock, PART_RANKS) : PART_RANKS;
    collectives_wait(o->queue, what);
    if (timed) cuda_part_switch(o->clock, part);
}

static float *bucket_room(const CudaOptimizer *o, int bucket) {
    return o->room + gradient_room_place(o->table, bucket);
}

static void clear_room(const CudaOptimizer *o, int bucket) {
    size_t size = (size_t)(o->table->buckets[bucket].share * o->table->ranks) * sizeof *o->room;
    CUDA_CHECK(cudaMemsetAsync(bucket_room(o, bucket), 0, size, o->stream));
}

// What the last pass began to sum still lies in the room.
void cuda_optimizer_begin_pass(CudaOptimizer *o) {
    assert(o->shares || o->sums_begun == 0);
    if (!o->shares) return;
    wait_for_ranks(o, "the sum of the gradients");
    o->sums_begun = 0;
    clear_room(o, o->table->n_buckets - 1);
    if (gradient_room_stays(o->table, 0)) clear_room(o, 0);
}

// The place was that of the bucket before the last, whose sum ends first: the last one's goes on.
void cuda_optimizer_open(CudaOptimizer *o, int bucket) {
    if (!o->shares || gradient_room_stays(o->table, bucket)) return;
    bool timed = o->clock->open;
    Part part = timed ? cuda_part_switch(o->clock, PART_RANKS) : PART_RANKS;
    collectives_wait_marked(o->queue, "the sum of a bucket's gradients");
    if (timed) cuda_part_switch(o->clock, part);
    clear_room(o, bucket);
}

float *cuda_optimizer_whole_gradient(const CudaOptimizer *o, const Param *param) {
    if (!o->shares) return o->gradients + param->offset;
    return o->room + gradient_room_param(o->table, param);
}

void cuda_optimizer_begin_sum(CudaOptimizer *o, int bucket) {
    assert(bucket == o->table->n_buckets - 1 - o->sums_begun);
    o->sums_begun++;
    if (!many(o)) return;
    const ParamBucket *b = &o->table->buckets[bucket];
    if (o->shares) {
        collectives_mark(o->queue);
        collectives_add_share(o->queue, share_gradients(o, bucket), bucket_room(o, bucket), b->share,
                              ELEMENT_F32);
    } else {
        collectives_reduce_scatter(o->queue, o->gradients + b->offset, b->share, ELEMENT_F32);
    }
}

// Ends the sums, and begins and ends those that have not begun: this rank's share of the gradients is then
// the sum.
static void finish_sums(CudaOptimizer *o) {
    while (!o->shares && o->sums_begun < o->table->n_buckets)
        cuda_optimizer_begin_sum(o, o->table->n_buckets - 1 - o->sums_begun);
    if (many(o)) wait_for_ranks(o, "the sum of the gradients");
}

// Of the gradients of all ranks, whose squares add up on the GPUs: to the same bits everywhere.
static void global_norm(CudaOptimizer *o, const AdamW *a) {
    for (int b = 0; b < o->table->n_buckets; b++) {
        cuda_gradient_squares(o->partial, share_gradients(o, b), o->table->buckets[b].share, b > 0,
                              o->stream);
    }
    sum_ordered(o->squares, o->partial, SQUARES_SLICES, o->stream);
    collectives_all_reduce(o->queue, o->squares, 1, ELEMENT_F64);
    wait_for_ranks(o, "the gradient's norm");
    gradient_norm(o->norm, o->squares, 1, a->clip, a->most_norm, o->stream);
}

// What this rank keeps of a vector, to its place.
static void gather_vector(CudaOptimizer *o, const Param *param) {
    int64_t start, count;
    if (param->vector < 0) return;
    param_share(o->table, param, ranks_rank(o->ranks), &start, &count);
    if (count == 0) return;
    CUDA_CHECK(cudaMemcpyAsync(o->vectors + param->vector + start,
                               cuda_optimizer_tensor(o, TENSOR_WEIGHT, param, start),
                               (size_t)count * sizeof *o->vectors, cudaMemcpyDefault, o->stream));
}

// Each rank puts what it keeps between zeros, and the sum is whole.
static void gather_vectors(CudaOptimizer *o) {
    size_t bytes = (size_t)o->table->vectors_size * sizeof *o->vectors;
    CUDA_CHECK(cudaMemsetAsync(o->vectors, 0, bytes, o->stream));
    for (int p = 0; p < o->table->count; p++) gather_vector(o, &o->table->params[p]);
    if (many(o)) collectives_all_reduce(o->queue, o->vectors, o->table->vectors_size, ELEMENT_F32);
}

// AdamW on neighbours of the flat array, run by run of what weight decay takes alike.   flat: the first in
// the array of all   masters, gradients: (count)
static void update_range(CudaOptimizer *o, const AdamW *a, int64_t flat, const Masters *masters,
                         float *gradients, int64_t count) {
    bool decays;
    for (int64_t done = 0, end; done < count; done = end) {
        int64_t at = flat + done;
        end = param_decay_run(o->table, at, flat + count, a->matrices, &decays) - flat;
        Masters m = masters_from(masters, done);
        AdamW run = *a;
        if (!decays) run.weight_decay = 0;
        cuda_adamw_update(m.arrays[0], o->copies + at, gradients + done, m.arrays[1], m.arrays[2], o->norm,
                          end - done, &run, o->stream);
    }
}

static void await_piece(CudaOptimizer *o, const UpdatePiece *piece) {
    bool timed = o->clock->open;
    Part part = timed ? cuda_part_switch(o->clock, PART_HOST) : PART_HOST;
    pieces_await(&o->pieces, piece);
    if (timed) cuda_part_switch(o->clock, part);
}

// A piece through the GPU.
static void update_piece(CudaOptimizer *o, const AdamW *a, const UpdatePiece *piece) {
    Masters host = masters_from(&o->masters, piece_kept(o->table, piece));
    Masters here = pieces_place(&o->pieces, piece);
    pieces_fetch(&o->pieces, piece, &host);
    await_piece(o, piece);
    update_range(o, a, piece_flat(o->table, piece, ranks_rank(o->ranks)), &here,
                 share_gradients(o, piece->bucket) + piece->within, piece->count);
    pieces_store(&o->pieces, piece, &host);
}

static void gather_bucket(CudaOptimizer *o, int bucket) {
    const ParamBucket *b = &o->table->buckets[bucket];
    if (many(o)) collectives_all_gather(o->queue, o->copies + b->offset, b->share, ELEMENT_BF16);
}

// All pieces are put on their streams at once: these find out when each may go on.
static void update_offloaded(CudaOptimizer *o, const AdamW *a) {
    UpdatePiece piece = piece_first(o->table, o->pieces.room);
    for (; piece.count > 0; piece = piece_behind(o->table, o->pieces.room, &piece)) {
        update_piece(o, a, &piece);
        if (piece_ends_bucket(o->table, &piece)) gather_bucket(o, piece.bucket);
    }
    Part part = o->clock->open ? cuda_part_switch(o->clock, PART_HOST) : PART_HOST;
    pieces_finish(&o->pieces);
    if (o->clock->open) cuda_part_switch(o->clock, part);
    gather_vectors(o);
}

static void update_buckets(CudaOptimizer *o, const AdamW *a) {
    for (int b = 0; b < o->table->n_buckets; b++) {
        Masters masters = masters_from(&o->masters, param_share_offset(o->table, b));
        update_range(o, a, share_begin(o, b), &masters, share_gradients(o, b), o->table->buckets[b].share);
        gather_bucket(o, b);
    }
    gather_vectors(o);
}

static void update_alone(CudaOptimizer *o, const AdamW *a) {
    int64_t size = o->table->trained_size;
    cuda_gradient_squares(o->partial, o->gradients, size, false, o->stream);
    gradient_norm(o->norm, o->partial, SQUARES_SLICES, a->clip, a->most_norm, o->stream);
    if (offloads(o)) {
        update_offloaded(o, a);
    } else {
        update_range(o, a, 0, &o->masters, o->gradients, size);
    }
}

static void update_share(CudaOptimizer *o, const AdamW *a) {
    finish_sums(o);
    global_norm(o, a);
    if (offloads(o)) {
        update_offloaded(o, a);
    } else {
        update_buckets(o, a);
    }
    size_t kept = (size_t)gradients_kept(o->table, o->shares) * sizeof *o->gradients;
    CUDA_CHECK(cudaMemsetAsync(o->gradients, 0, kept, o->stream));
    wait_for_ranks(o, "the updated weights");
}

void cuda_optimizer_update(CudaOptimizer *o, const AdamW *adamw) {
    if (many(o)) {
        update_share(o, adamw);
    } else {
        update_alone(o, adamw);
    }
    o->sums_begun = 0;
}

// ---- Tensors in and out

bool cuda_optimizer_on_host(const CudaOptimizer *o, TensorKind kind, const Param *param) {
    return offloads(o) && param->trained && kind != TENSOR_GRADIENT;
}

float *cuda_optimizer_tensor(CudaOptimizer *o, TensorKind kind, const Param *param, int64_t start) {
    if (kind == TENSOR_GRADIENT) {
        if (o->sums_begun > 0) finish_sums(o);
        return share_gradients(o, param->bucket) + (param->offset + start - share_begin(o, param->bucket));
    }
    int array = kind == TENSOR_WEIGHT ? 0 : kind == TENSOR_MOMENT1 ? 1 : 2;
    return o->masters.arrays[array] + param_share_place(o->table, param, ranks_rank(o->ranks), start);
}

// Keeps what lies in this rank's share of elements [start, start + count), which are in o->piece.
static void keep_share(CudaOptimizer *o, const Param *param, int64_t start, int64_t count) {
    int64_t first, size;
    param_share(o->table, param, ranks_rank(o->ranks), &first, &size);
    int64_t end = start + count < first + size ? start + count : first + size;
    if (first < start) first = start;
    if (first >= end) return;
    CUDA_CHECK(cudaMemcpyAsync(cuda_optimizer_tensor(o, TENSOR_WEIGHT, param, first),
                               o->piece + (first - start), (size_t)(end - first) * sizeof *o->piece,
                               cudaMemcpyDefault, o->stream));
}

void cuda_optimizer_write(CudaOptimizer *o, const Param *param, int64_t start, int64_t count,
                          const float *in) {
    int64_t n;
    for (int64_t end = start + count; start < end; start += n, in += n) {
        n = apart(o) && end - start > OPTIMIZER_PIECE ? OPTIMIZER_PIECE : end - start;
        int64_t flat = param->offset + start;
        float *piece = apart(o) ? o->piece : o->masters.arrays[0] + flat;
        CUDA_CHECK(cudaMemcpyAsync(piece, in, (size_t)n * sizeof *in, cudaMemcpyHostToDevice, o->stream));
        round_to_bf16(o->copies + flat, piece, n, o->stream);
        if (!apart(o)) continue;
        keep_share(o, param, start, n);
        if (param->vector < 0) continue;
        CUDA_CHECK(cudaMemcpyAsync(o->vectors + param->vector + start, piece, (size_t)n * sizeof *in,
                                   cudaMemcpyDeviceToDevice, o->stream));
    }
}
