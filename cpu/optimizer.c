// Sums of gradients, AdamW on this rank's share, and the weights to all; see optimizer.h.
#include "cpu/optimizer.h"

#include "core/engine/gradient_room.h"
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

// This rank's share of a bucket's gradients.
static real *share_gradients(const Optimizer *o, int bucket) {
    return o->gradients + gradients_share(o->table, o->shares, bucket, ranks_rank(o->ranks));
}

static real *bucket_room(const Optimizer *o, int bucket) {
    return o->room + gradient_room_place(o->table, bucket);
}

static void clear_room(Optimizer *o, int bucket) {
    int64_t size = o->table->buckets[bucket].share * o->table->ranks;
    memset(bucket_room(o, bucket), 0, (size_t)size * sizeof *o->room);
}

// What the last pass began to sum still lies in the room.
void optimizer_begin_pass(Optimizer *o) {
    assert(o->shares || o->sums_begun == 0);
    if (!o->shares) return;
    wait_for_ranks(o, "the sum of the gradients");
    o->sums_begun = 0;
    clear_room(o, o->table->n_buckets - 1);
    if (gradient_room_stays(o->table, 0)) clear_room(o, 0);
}

// The place was that of the bucket before the last, whose sum ends first: the last one's goes on.
void optimizer_open(Optimizer *o, int bucket) {
    if (!o->shares || gradient_room_stays(o->table, bucket)) return;
    Part part = part_switch(o->clock, PART_RANKS);
    collectives_wait_marked(o->queue, "the sum of a bucket's gradients");
    part_switch(o->clock, part);
    clear_room(o, bucket);
}

real *optimizer_whole_gradient(const Optimizer *o, const Param *param) {
    if (!o->shares) return o->gradients + param->offset;
    return o->room + gradient_room_param(o->table, param);
}

void optimizer_begin_sum(Optimizer *o, int bucket) {
    assert(bucket == o->table->n_buckets - 1 - o->sums_begun);
    o->sums_begun++;
    if (!ranks_many(o->ranks)) return;
    const ParamBucket *b = &o->table->buckets[bucket];
    if (o->shares) {
        collectives_mark(o->queue);
        collectives_add_share(o->queue, share_gradients(o, bucket), bucket_room(o, bucket), b->share,
                              ELEMENT_REAL);
    } else {
        collectives_reduce_scatter(o->queue, o->gradients + b->offset, b->share, ELEMENT_REAL);
    }
}

// Ends the sums, and begins and ends those that have not begun: this rank's share of the gradients is then
// the sum.
static void finish_sums(Optimizer *o) {
    while (!o->shares && o->sums_begun < o->table->n_buckets)
        optimizer_begin_sum(o, o->table->n_buckets - 1 - o->sums_begun);
    if (ranks_many(o->ranks)) wait_for_ranks(o, "the sum of the gradients");
}

static double global_norm(Optimizer *o) {
    double squares = 0;
    for (int b = 0; b < o->table->n_buckets; b++) {
        squares += cpu_gradient_squares(share_gradients(o, b), o->table->buckets[b].share);
    }
    if (ranks_many(o->ranks)) ranks_sum(o->ranks, &squares, 1);
    return sqrt(squares);
}

// AdamW on this rank's share of a bucket, run by run of what weight decay takes alike.
static void update_share(Optimizer *o, const AdamW *a, double scale, int bucket) {
    // Its first element in arrays of all and in this rank's.
    int64_t flat = share_begin(o, bucket), kept = param_share_offset(o->table, bucket);
    int64_t share = o->table->buckets[bucket].share;
    real *gradients = share_gradients(o, bucket);
    bool decays;
    for (int64_t done = 0, end; done < share; done = end) {
        int64_t at = flat + done, own = kept + done;
        end = param_decay_run(o->table, at, flat + share, a->matrices, &decays) - flat;
        cpu_adamw_update(o->weights + at, gradients + done, o->moment1 + own, o->moment2 + own, end - done,
                         scale, a->step, a->lr, a->beta1, a->beta2, a->eps, decays ? a->weight_decay : 0);
    }
}

bool optimizer_update(Optimizer *o, const AdamW *a, double *grad_norm, Error *error) {
    finish_sums(o);
    *grad_norm = global_norm(o);
    bool finite = isfinite(*grad_norm);
    bool updates = finite && !adamw_skips(a, *grad_norm);
    double scale = a->clip > 0 ? fmin(1, a->clip / (*grad_norm + 1e-6)) : 1;
    for (int b = 0; updates && b < o->table->n_buckets; b++) {
        const ParamBucket *bucket = &o->table->buckets[b];
        update_share(o, a, scale, b);
        if (ranks_many(o->ranks)) {
            collectives_all_gather(o->queue, o->weights + bucket->offset, bucket->share, ELEMENT_REAL);
        }
    }
    memset(o->gradients, 0, (size_t)gradients_kept(o->table, o->shares) * sizeof *o->gradients);
    o->sums_begun = 0;
    if (ranks_many(o->ranks)) wait_for_ranks(o, "the updated weights");
    return finite || error_set(error, STATUS_NONFINITE, "the gradient's norm is %f", *grad_norm);
}

real *optimizer_gradient(Optimizer *o, const Param *param, int64_t start) {
    if (o->sums_begun > 0) finish_sums(o);
    return share_gradients(o, param->bucket) + (param->offset + start - share_begin(o, param->bucket));
}

real *optimizer_moment(Optimizer *o, TensorKind kind, const Param *param, int64_t start) {
    return (kind == TENSOR_MOMENT1 ? o->moment1 : o->moment2) +
           param_share_place(o->table, param, ranks_rank(o->ranks), start);
}
