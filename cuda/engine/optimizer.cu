// Sums of gradients, AdamW on this rank's share, and the weights to all; see optimizer.cuh.
#include "cuda/engine/optimizer.cuh"
#include "core/engine/gradient_room.h"
#include "cuda/kernels/cross_entropy.cuh"

#include <assert.h>

static bool many(const CudaOptimizer *o) {
    return ranks_many(o->ranks);
}

// This rank's share of a bucket, in a flat array.
static int64_t share_begin(const CudaOptimizer *o, int bucket) {
    return param_share_begin(o->table, bucket, ranks_rank(o->ranks));
}

// Of its gradients.
static float *share_gradients(const CudaOptimizer *o, int bucket) {
    return o->gradients + (o->shares ? param_share_offset(o->table, bucket) : share_begin(o, bucket));
}

// Elements of gradients that stay from pass to pass.
static int64_t gradients_held(const CudaOptimizer *o) {
    return o->table->trained_size / (o->shares ? o->table->ranks : 1);
}

// ---- The arrays

void cuda_optimizer_plan(CudaOptimizer *o, MemoryPlan *plan, const EngineConfig *config) {
    const ParamTable *table = o->table;
    bool training = config->training;
    int64_t size = table->trained_size, trained = training ? size : 0;
    o->shares = training && config->share_gradients && many(o);
    int64_t vectors = many(o) ? table->vectors_size : 0, piece = many(o) ? OPTIMIZER_PIECE : 0;
    plan_add(plan, (void **)&o->weights, "weights", "parameters (float32)", size / table->ranks,
             sizeof(float));
    plan_add(plan, (void **)&o->copies, "weights", "working copy (bf16)", size, sizeof(bf16));
    plan_add(plan, (void **)&o->vectors, "weights", "norms and biases (float32)", vectors, sizeof(float));
    plan_add(plan, (void **)&o->moment1, "optimizer", "first moments", trained / table->ranks, sizeof(float));
    plan_add(plan, (void **)&o->moment2, "optimizer", "second moments", trained / table->ranks,
             sizeof(float));
    plan_add(plan, (void **)&o->gradients, "gradients", "gradients", training ? gradients_held(o) : 0,
             sizeof(float));
    plan_add(plan, (void **)&o->room, "gradients", "two buckets of a backward",
             o->shares ? gradient_room_size(table) : 0, sizeof(float));
    plan_add(plan, (void **)&o->piece, "workspace", "weights on their way", piece, sizeof(float));
    if (!training) return;
    plan_add(plan, (void **)&o->norm, "workspace", "gradient norm", 1, sizeof(GradientNorm));
    plan_add(plan, (void **)&o->partial, "workspace", "gradient squares", SQUARES_SLICES, sizeof(double));
    plan_add(plan, (void **)&o->squares, "workspace", "sum of squares", many(o), sizeof(double));
}

const float *cuda_optimizer_vector(const CudaOptimizer *o, ParamRole role, int layer) {
    int index = param_find(o->table, role, layer);
    if (index < 0) return NULL;
    const Param *param = &o->table->params[index];
    return many(o) ? o->vectors + param->vector : o->weights + param->offset;
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
    return bucket_room(o, param->bucket) + (param->offset - o->table->buckets[param->bucket].offset);
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

// Each rank puts what it keeps of the vectors between zeros, and the sum is whole.
static void gather_vectors(CudaOptimizer *o) {
    size_t bytes = (size_t)o->table->vectors_size * sizeof *o->vectors;
    CUDA_CHECK(cudaMemsetAsync(o->vectors, 0, bytes, o->stream));
    for (int p = 0; p < o->table->count; p++) {
        const Param *param = &o->table->params[p];
        int64_t start, count;
        if (param->vector < 0) continue;
        param_share(o->table, param, ranks_rank(o->ranks), &start, &count);
        if (count == 0) continue;
        CUDA_CHECK(cudaMemcpyAsync(o->vectors + param->vector + start,
                                   cuda_optimizer_tensor(o, TENSOR_WEIGHT, param, start),
                                   (size_t)count * sizeof *o->vectors, cudaMemcpyDeviceToDevice, o->stream));
    }
    collectives_all_reduce(o->queue, o->vectors, o->table->vectors_size, ELEMENT_F32);
}

// AdamW on neighbours of the flat array, run by run of what weight decay takes alike.   flat, kept: the first
// in arrays of all and in this rank's   gradients: (count)
static void update_range(CudaOptimizer *o, const AdamW *a, int64_t flat, int64_t kept, float *gradients,
                         int64_t count) {
    bool decays;
    for (int64_t done = 0, end; done < count; done = end) {
        int64_t at = flat + done, own = kept + done;
        end = param_decay_run(o->table, at, flat + count, a->matrices, &decays) - flat;
        AdamW run = *a;
        if (!decays) run.weight_decay = 0;
        cuda_adamw_update(o->weights + own, o->copies + at, gradients + done, o->moment1 + own,
                          o->moment2 + own, o->norm, end - done, &run, o->stream);
    }
}

static void update_alone(CudaOptimizer *o, const AdamW *a) {
    int64_t size = o->table->trained_size;
    cuda_gradient_squares(o->partial, o->gradients, size, false, o->stream);
    gradient_norm(o->norm, o->partial, SQUARES_SLICES, a->clip, a->most_norm, o->stream);
    update_range(o, a, 0, 0, o->gradients, size);
}

static void update_share(CudaOptimizer *o, const AdamW *a) {
    finish_sums(o);
    global_norm(o, a);
    for (int b = 0; b < o->table->n_buckets; b++) {
        const ParamBucket *bucket = &o->table->buckets[b];
        update_range(o, a, share_begin(o, b), param_share_offset(o->table, b), share_gradients(o, b),
                     bucket->share);
        collectives_all_gather(o->queue, o->copies + bucket->offset, bucket->share, ELEMENT_BF16);
    }
    gather_vectors(o);
    size_t held = (size_t)gradients_held(o) * sizeof *o->gradients;
    CUDA_CHECK(cudaMemsetAsync(o->gradients, 0, held, o->stream));
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

float *cuda_optimizer_tensor(CudaOptimizer *o, TensorKind kind, const Param *param, int64_t start) {
    if (kind == TENSOR_GRADIENT) {
        if (o->sums_begun > 0) finish_sums(o);
        return share_gradients(o, param->bucket) + (param->offset + start - share_begin(o, param->bucket));
    }
    float *kept = kind == TENSOR_WEIGHT ? o->weights : kind == TENSOR_MOMENT1 ? o->moment1 : o->moment2;
    return kept + param_share_place(o->table, param, ranks_rank(o->ranks), start);
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
                               cudaMemcpyDeviceToDevice, o->stream));
}

void cuda_optimizer_write(CudaOptimizer *o, const Param *param, int64_t start, int64_t count,
                          const float *in) {
    int64_t n;
    for (int64_t end = start + count; start < end; start += n, in += n) {
        n = many(o) && end - start > OPTIMIZER_PIECE ? OPTIMIZER_PIECE : end - start;
        int64_t flat = param->offset + start;
        float *piece = many(o) ? o->piece : o->weights + flat;
        CUDA_CHECK(cudaMemcpyAsync(piece, in, (size_t)n * sizeof *in, cudaMemcpyHostToDevice, o->stream));
        round_to_bf16(o->copies + flat, piece, n, o->stream);
        if (!many(o)) continue;
        keep_share(o, param, start, n);
        if (param->vector < 0) continue;
        CUDA_CHECK(cudaMemcpyAsync(o->vectors + param->vector + start, piece, (size_t)n * sizeof *in,
                                   cudaMemcpyDeviceToDevice, o->stream));
    }
}
