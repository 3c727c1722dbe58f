// Sums of gradients, AdamW on this rank's share, and the weights to all; see optimizer.h.
#include "cpu/optimizer.h"

#include "cpu/cpu.h"

#include <assert.h>

// This rank's share of a bucket, in the flat array.
static int64_t share_begin(const Optimizer *o, int bucket) {
    return param_share_begin(o->table, bucket, ranks_rank(o->ranks));
}

// Until all that is queued has come; the clock tells how long that took.
static void wait_for_ranks(const Optimizer *o, const char *what) {
    Part part = part_switch(o->clock, PART_RANKS);
    collectives_wait(o->queue, what);
    part_switch(o->clock, part);
}

void optimizer_begin_sum(Optimizer *o, int bucket) {
    assert(bucket == o->table->n_buckets - 1 - o->sums_begun);
    o->sums_begun++;
    if (!ranks_many(o->ranks)) return;
    const ParamBucket *b = &o->table->buckets[bucket];
    collectives_reduce_scatter(o->queue, o->gradients + b->offset, b->share, ELEMENT_REAL);
}

void optimizer_finish_sums(Optimizer *o) {
    while (o->sums_begun < o->table->n_buckets)
        optimizer_begin_sum(o, o->table->n_buckets - 1 - o->sums_begun);
    if (ranks_many(o->ranks)) wait_for_ranks(o, "the sum of the gradients");
}

static double global_norm(Optimizer *o) {
    double squares = 0;
    for (int b = 0; b < o->table->n_buckets; b++) {
        squares += cpu_gradient_squares(o->gradients + share_begin(o, b), o->table->buckets[b].share);
    }
    if (ranks_many(o->ranks)) ranks_sum(o->ranks, &squares, 1);
    return sqrt(squares);
}

// AdamW on a share of a bucket, run by run of what weight decay takes alike.   flat, kept: its first element
// in arrays of all and in this rank's
static void update_share(Optimizer *o, const AdamW *a, double scale, int64_t flat, int64_t kept,
                         int64_t share) {
    bool decays;
    for (int64_t done = 0, end; done < share; done = end) {
        int64_t at = flat + done, own = kept + done;
        end = param_decay_run(o->table, at, flat + share, a->matrices, &decays) - flat;
        cpu_adamw_update(o->weights + at, o->gradients + at, o->moment1 + own, o->moment2 + own, end - done,
                         scale, a->step, a->lr, a->beta1, a->beta2, a->eps, decays ? a->weight_decay : 0);
    }
}

bool optimizer_update(Optimizer *o, const AdamW *a, double *grad_norm, Error *error) {
    optimizer_finish_sums(o);
    *grad_norm = global_norm(o);
    bool finite = isfinite(*grad_norm);
    bool updates = finite && !adamw_skips(a, *grad_norm);
    double scale = a->clip > 0 ? fmin(1, a->clip / (*grad_norm + 1e-6)) : 1;
    for (int b = 0; updates && b < o->table->n_buckets; b++) {
        const ParamBucket *bucket = &o->table->buckets[b];
        update_share(o, a, scale, share_begin(o, b), param_share_offset(o->table, b), bucket->share);
        if (ranks_many(o->ranks)) {
            collectives_all_gather(o->queue, o->weights + bucket->offset, bucket->share, ELEMENT_REAL);
        }
    }
    memset(o->gradients, 0, (size_t)o->table->trained_size * sizeof *o->gradients);
    o->sums_begun = 0;
    if (ranks_many(o->ranks)) wait_for_ranks(o, "the updated weights");
    return finite || error_set(error, STATUS_NONFINITE, "the gradient's norm is %f", *grad_norm);
}

real *optimizer_gradient(Optimizer *o, const Param *param, int64_t start) {
    if (o->sums_begun > 0) optimizer_finish_sums(o);
    return o->gradients + param->offset + start;
}

real *optimizer_moment(Optimizer *o, TensorKind kind, const Param *param, int64_t start) {
    return (kind == TENSOR_MOMENT1 ? o->moment1 : o->moment2) +
           param_share_place(o->table, param, ranks_rank(o->ranks), start);
}
