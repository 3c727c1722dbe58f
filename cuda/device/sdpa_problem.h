// What causal attention is asked for, and by what parts the backward does it: host arithmetic alone, so that
// plans can be made, and this be tested, where neither CUDA nor a GPU is. See sdpa.cuh.
#ifndef CUDA_DEVICE_SDPA_PROBLEM_H
#define CUDA_DEVICE_SDPA_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Distances between neighbours in elements, multiples of 8; the D values of a head are contiguous.
typedef struct {
    int64_t batch, head, row;
} SdpaStrides;

typedef struct {
    int64_t batch;            // B
    int64_t n_heads;          // H, query heads
    int64_t n_kv_heads;       // KV, divides H
    int64_t rows;             // N, of queries and keys alike
    int64_t head_dim;         // D, one of HEAD_WIDTHS (core/model/model.h)
    SdpaStrides q, k, v, out; // a gradient lies as its tensor does
} SdpaProblem;

typedef enum {
    SDPA_FORWARD,       // out alone
    SDPA_FORWARD_STATS, // out, and what the backward needs
    SDPA_BACKWARD,
} SdpaPass;

// Strides of a tensor [B, heads, N, D].
static inline SdpaStrides sdpa_heads_first(int64_t heads, int64_t rows, int64_t head_dim) {
    SdpaStrides strides = {heads * rows * head_dim, rows * head_dim, head_dim};
    return strides;
}

// Strides of a slice of heads of a tensor [B, N, heads, D], where all heads of the tensor count.
static inline SdpaStrides sdpa_rows_first(int64_t heads, int64_t rows, int64_t head_dim) {
    SdpaStrides strides = {rows * heads * head_dim, head_dim, heads * head_dim};
    return strides;
}

// The backward's kernels count the elements of out and dout, and deterministic ones those of k, in 32 bits:
// what lies further from a tensor's first element is silently misread. Seen on Hopper with 9.14 and 9.19; q,
// v, the gradients and the forward know no such bound.
#define SDPA_MAX_REACH INT32_MAX

// A backward whose kernel wants more than this runs one key/value head at a time. 5 GiB is what eight heads
// of 128 take at 1,048,576 rows; with more, one head has rows enough for a GPU.
#define SDPA_MAX_DETERMINISTIC_WORKSPACE ((int64_t)6 << 30)
#define SDPA_MAX_FAST_WORKSPACE          ((int64_t)5 << 30)

// Elements from the first to behind the last of the tensors that SDPA_MAX_REACH is about.
static inline int64_t sdpa_reach(const SdpaProblem *p, bool deterministic) {
    int64_t b = p->batch - 1, h = p->n_heads - 1, kv = p->n_kv_heads - 1, row = p->rows - 1;
    int64_t out = b * p->out.batch + h * p->out.head + row * p->out.row + p->head_dim;
    int64_t k = b * p->k.batch + kv * p->k.head + row * p->k.row + p->head_dim;
    return deterministic && k > out ? k : out;
}

// One key/value head of one sequence, with its query heads.
static inline SdpaProblem sdpa_single_head(const SdpaProblem *problem) {
    SdpaProblem part = *problem;
    part.batch = 1;
    part.n_heads = problem->n_heads / problem->n_kv_heads;
    part.n_kv_heads = 1;
    return part;
}

// Workspace of cuDNN's backward over a whole problem, as seen with 9.14 and 9.19 on Hopper: a float32 a row;
// for grouped-query heads the size of a dk and a dv of every query head; and a float32 dq, or, where it must
// be deterministic, 2 bytes for each pair of rows. Of heads of 96 no less than what those of 128 take.
static inline int64_t sdpa_kernel_workspace(const SdpaProblem *p, bool deterministic) {
    int64_t rows = p->batch * p->n_heads * p->rows, padded = (p->rows + 127) / 128 * 128;
    int64_t width = (p->head_dim + 63) / 64 * 64, sums = 4 * rows, dq = 4 * rows * width;
    int64_t grouped = p->n_heads > p->n_kv_heads ? dq : 0;
    int64_t pairs = 2 * p->batch * p->n_heads * padded * padded;
    return sums + grouped + (deterministic ? pairs : dq);
}

static inline int64_t sdpa_max_workspace(bool deterministic) {
    return deterministic ? SDPA_MAX_DETERMINISTIC_WORKSPACE : SDPA_MAX_FAST_WORKSPACE;
}

// Bytes that the backward will take, foretold without a GPU: for all heads at once where that is right and
// not too large, else for one key/value head of one sequence.
static inline int64_t sdpa_backward_bytes(const SdpaProblem *problem, bool deterministic) {
    int64_t whole = sdpa_kernel_workspace(problem, deterministic);
    if (whole <= sdpa_max_workspace(deterministic) && sdpa_reach(problem, deterministic) <= SDPA_MAX_REACH)
        return whole;
    SdpaProblem part = sdpa_single_head(problem);
    return sdpa_kernel_workspace(&part, deterministic);
}

#ifdef __cplusplus
}
#endif
#endif
