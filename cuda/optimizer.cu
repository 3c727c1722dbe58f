// Sums of gradients, AdamW on this rank's share, and the weights to all; see optimizer.cuh.
#include "cuda/optimizer.cuh"
#include "cuda/cross_entropy.cuh"

#include <assert.h>

static bool many(const CudaOptimizer *o) {
    return ranks_many(o->ranks);
}
static int rank_of(const CudaOptimizer *o) {
    return o->ranks ? o->ranks->rank : 0;
}

// This rank's share of a bucket, in a flat array.
static int64_t share_begin(const CudaOptimizer *o, int bucket) {
    return o->table->buckets[bucket].offset + rank_of(o) * o->table->buckets[bucket].share;
}

// ---- The arrays

static int64_t norm_stride(const ParamTable *table) {
    int64_t C = table->params[param_find(table, PARAM_FINAL_NORM, -1)].cols;
    return (C + PARAM_ALIGNMENT - 1) / PARAM_ALIGNMENT * PARAM_ALIGNMENT;
}
static int64_t norms_size(const ParamTable *table) {
    return (2 * (table->n_buckets - 2) + 1) * norm_stride(table); // two a layer
}

static bool is_norm(const Param *param) {
    return param->role == PARAM_ATTENTION_NORM || param->role == PARAM_FFN_NORM ||
           param->role == PARAM_FINAL_NORM;
}

// Place of a norm among `norms`.
static int64_t norm_offset(const CudaOptimizer *o, const Param *param) {
    int layers = o->table->n_buckets - 2;
    int place = param->layer < 0 ? 2 * layers : 2 * param->layer + (param->role == PARAM_FFN_NORM);
    return place * norm_stride(o->table);
}

void cuda_optimizer_plan(CudaOptimizer *o, MemoryPlan *plan, bool training) {
    const ParamTable *table = o->table;
    int64_t size = table->trained_size, trained = training ? size : 0;
    int64_t norms = many(o) ? norms_size(table) : 0, piece = many(o) ? OPTIMIZER_PIECE : 0;
    plan_add(plan, (void **)&o->weights, "weights", "parameters (float32)", size / table->ranks,
             sizeof(float));
    plan_add(plan, (void **)&o->copies, "weights", "working copy (bf16)", size, sizeof(bf16));
    plan_add(plan, (void **)&o->norms, "weights", "norms (float32)", norms, sizeof(float));
    plan_add(plan, (void **)&o->moment1, "optimizer", "first moments", trained / table->ranks, sizeof(float));
    plan_add(plan, (void **)&o->moment2, "optimizer", "second moments", trained / table->ranks,
             sizeof(float));
    plan_add(plan, (void **)&o->gradients, "gradients", "gradients", trained, sizeof(float));
    plan_add(plan, (void **)&o->piece, "workspace", "weights on their way", piece, sizeof(float));
    if (!training) return;
    plan_add(plan, (void **)&o->norm, "workspace", "gradient norm", 1, sizeof(GradientNorm));
    plan_add(plan, (void **)&o->partial, "workspace", "gradient squares", SQUARES_SLICES, sizeof(double));
    plan_add(plan, (void **)&o->squares, "workspace", "sum of squares", many(o), sizeof(double));
}

const float *cuda_optimizer_norm(const CudaOptimizer *o, ParamRole role, int layer) {
    const Param *param = &o->table->params[param_find(o->table, role, layer)];
    return many(o) ? o->norms + norm_offset(o, param) : o->weights + param->offset;
}

// ---- The update

void cuda_optimizer_begin_sum(CudaOptimizer *o, int bucket) {
    assert(bucket == o->table->n_buckets - 1 - o->sums_begun);
    o->sums_begun++;
    if (!many(o)) return;
    const ParamBucket *b = &o->table->buckets[bucket];
    collectives_reduce_scatter(o->queue, o->gradients + b->offset, b->share, ELEMENT_F32);
}

// Until all that is queued has come; the clock tells what the stream waits.
static void wait_for_ranks(const CudaOptimizer *o, const char *what) {
    bool timed = o->clock->open;
    Part part = timed ? cuda_part_switch(o->clock, PART_RANKS) : PART_RANKS;
    collectives_wait(o->queue, what);
    if (timed) cuda_part_switch(o->clock, part);
}

// Ends the sums, and begins and ends those that have not begun: this rank's share of the gradients is then
// the sum.
static void finish_sums(CudaOptimizer *o) {
    while (o->sums_begun < o->table->n_buckets)
        cuda_optimizer_begin_sum(o, o->table->n_buckets - 1 - o->sums_begun);
    if (many(o)) wait_for_ranks(o, "the sum of the gradients");
}

// Of the gradients of all ranks, whose squares add up on the cards: to the same bits everywhere.
static void global_norm(CudaOptimizer *o, const AdamW *a) {
    for (int b = 0; b < o->table->n_buckets; b++) {
        gradient_squares(o->partial, o->gradients + share_begin(o, b), o->table->buckets[b].share, b > 0,
                         o->stream);
    }
    sum_ordered(o->squares, o->partial, SQUARES_SLICES, o->stream);
    collectives_all_reduce(o->queue, o->squares, 1, ELEMENT_F64);
    wait_for_ranks(o, "the gradient's norm");
    gradient_norm(o->norm, o->squares, 1, a->clip, a->most_norm, o->stream);
}

// Each rank puts what it keeps of the norms between zeros, and the sum is whole.
static void gather_norms(CudaOptimizer *o) {
    size_t bytes = (size_t)norms_size(o->table) * sizeof *o->norms;
    CUDA_CHECK(cudaMemsetAsync(o->norms, 0, bytes, o->stream));
    for (int p = 0; p < o->table->count; p++) {
        const Param *param = &o->table->params[p];
        int64_t start, count;
        if (!is_norm(param)) continue;
        param_share(o->table, param, rank_of(o), &start, &count);
        if (count == 0) continue;
        CUDA_CHECK(cudaMemcpyAsync(o->norms + norm_offset(o, param) + start,
                                   cuda_optimizer_tensor(o, TENSOR_WEIGHT, param, start),
                                   (size_t)count * sizeof *o->norms, cudaMemcpyDeviceToDevice, o->stream));
    }
    collectives_all_reduce(o->queue, o->norms, norms_size(o->table), ELEMENT_F32);
}

static void update_alone(CudaOptimizer *o, const AdamW *a) {
    int64_t size = o->table->trained_size;
    gradient_squares(o->partial, o->gradients, size, false, o->stream);
    gradient_norm(o->norm, o->partial, SQUARES_SLICES, a->clip, a->most_norm, o->stream);
    adamw_update(o->weights, o->copies, o->gradients, o->moment1, o->moment2, o->norm, size, a, o->stream);
}

static void update_share(CudaOptimizer *o, const AdamW *a) {
    finish_sums(o);
    global_norm(o, a);
    for (int b = 0; b < o->table->n_buckets; b++) {
        const ParamBucket *bucket = &o->table->buckets[b];
        int64_t flat = share_begin(o, b), kept = param_share_offset(o->table, b);
        adamw_update(o->weights + kept, o->copies + flat, o->gradients + flat, o->moment1 + kept,
                     o->moment2 + kept, o->norm, bucket->share, a, o->stream);
        collectives_all_gather(o->queue, o->copies + bucket->offset, bucket->share, ELEMENT_BF16);
    }
    gather_norms(o);
    CUDA_CHECK(
        cudaMemsetAsync(o->gradients, 0, (size_t)o->table->trained_size * sizeof *o->gradients, o->stream));
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
        return o->gradients + param->offset + start;
    }
    const ParamBucket *bucket = &o->table->buckets[param->bucket];
    int64_t within = param->offset + start - share_begin(o, param->bucket);
    assert(within >= 0 && within <= bucket->share);
    float *kept = kind == TENSOR_WEIGHT ? o->weights : kind == TENSOR_MOMENT1 ? o->moment1 : o->moment2;
    return kept + param_share_offset(o->table, param->bucket) + within;
}

// Keeps what lies in this rank's share of elements [start, start + count), which are in o->piece.
static void keep_share(CudaOptimizer *o, const Param *param, int64_t start, int64_t count) {
    int64_t first, size;
    param_share(o->table, param, rank_of(o), &first, &size);
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
        if (!is_norm(param)) continue;
        CUDA_CHECK(cudaMemcpyAsync(o->norms + norm_offset(o, param) + start, piece, (size_t)n * sizeof *in,
                                   cudaMemcpyDeviceToDevice, o->stream));
    }
}
