// The Lighthouse layer on the GPU where P ranks share the sequences, each with a slice: what crosses from
// rank to rank; the twin is cpu/lighthouse_cp.c.
//
// The hierarchy is the slice's (core/engine/context.h), so selection, order and gather are those of
// lighthouse.cuh. Gathered rows are exchanged around attention; the last entry of each level but the base
// reaches into the next slice, so its row travels there, and its gradient back.
#ifndef CUDA_LIGHTHOUSE_CP_CUH
#define CUDA_LIGHTHOUSE_CP_CUH

#include "cuda/kernels/lighthouse_rows.cuh"

// ---------------------------------------------------------------------------------------------------------------
// Gathered rows as ranks exchange them.

// (B, P, S, tensors, H / P, D): row s of head h lies in the block of the rank that attends for the head, with
// the same row of the tensors that are exchanged together.
typedef struct {
    int64_t batch, rank, row; // elements from one to the next
    int own;                  // H / P
    const bf16 *halo; // (B, H, L-1, D) for a scatter: for levels 1 to L-1 the row of the last entry of
                      // the slice before, zero where there is none
} ExchangedRows;

static inline ExchangedRows exchanged_rows(const CudaLighthouseScratch *scratch, int tensors,
                                           const LighthouseShape *shape) {
    int64_t P = scratch->cp->size, S = shape->hierarchy.n_selected, row = tensors * shape->H / P * shape->D;
    ExchangedRows rows = {P * S * row, S * row, row, (int)(shape->H / P), scratch->halo};
    return rows;
}

// Where row s of a head lies, from the first tensor's first head on.
template <int D>
static inline __device__ int64_t exchanged_row(const ExchangedRows &rows, int64_t b, int head, int64_t s) {
    return b * rows.batch + head / rows.own * rows.rank + s * rows.row + head % rows.own * D;
}

// ---------------------------------------------------------------------------------------------------------------
// Attention.

// Causal attention of all gathered rows of this rank's heads.
static inline SdpaProblem exchanged_problem(const LighthouseShape *shape, int64_t P) {
    int64_t rows = shape->hierarchy.n_selected * P, own = shape->H / P, D = shape->D;
    SdpaStrides in = sdpa_rows_first(3 * own, rows, D), out = sdpa_rows_first(own, rows, D);
    SdpaProblem problem = {shape->B, own, own, rows, D, in, in, in, out};
    return problem;
}

// From the gathered rows in cp->packed to their attention there.
static inline bool cp_attend(Sdpa *sdpa, const CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                             const LighthouseShape *shape, Error *error) {
    const CudaCp *cp = scratch->cp;
    int64_t S = shape->hierarchy.n_selected, width = shape->H / cp->size * shape->D;
    SdpaProblem problem = exchanged_problem(shape, cp->size);
    cuda_context_all_to_all(cp, rows->q, shape->B, S, 3 * width);
    return cuda_sdpa_forward(sdpa, &problem, rows->q, rows->q + width, rows->q + 2 * width, rows->out,
                             rows->lse, scratch->sdpa, scratch->sdpa_bytes, error);
}

// From the gradient of that in cp->packed to the gathered rows' own there.
static inline bool cp_attend_backward(Sdpa *sdpa, const CudaLighthouseRows *rows,
                                      CudaLighthouseScratch *scratch, const LighthouseShape *shape,
                                      Error *error) {
    const CudaCp *cp = scratch->cp;
    int64_t S = shape->hierarchy.n_selected, width = shape->H / cp->size * shape->D;
    SdpaProblem problem = exchanged_problem(shape, cp->size);
    cuda_context_all_to_all(cp, scratch->dout, shape->B, S, width);
    if (!cuda_sdpa_backward(sdpa, &problem, rows->q, rows->q + width, rows->q + 2 * width, rows->out,
                            scratch->dout, rows->lse, scratch->dq, scratch->dq + width,
                            scratch->dq + 2 * width, scratch->sdpa, scratch->sdpa_bytes, error))
        return false;
    cuda_context_return(cp, scratch->dq, shape->B, S, 3 * width);
    return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Halos: the last entry of level l covers the first p^l - 1 positions of the next slice.

#define HALO_THREADS 256

// Row of the last entry of a level, -1 where it is not selected.   position: (E) of one head
static inline __device__ int last_row(const int32_t *position, int level, const Levels &levels) {
    return position[levels.offset[level + 1] - 1];
}

// halo[head, l - 1] = the gathered row of the last entry of level l, zero where it is not selected. D / 8
// threads have a row.
template <int D>
static __global__ void __launch_bounds__(HALO_THREADS)
    take_halo_kernel(uint4 *halo,              // (B, H, L-1, D)
                     const bf16 *gathered,     // as `exchanged` says
                     const int32_t *positions, // (B, H, E)
                     const __grid_constant__ Levels levels, int H, int heads /* B H */,
                     const __grid_constant__ ExchangedRows exchanged) {
    int i = (int)(blockIdx.x * HALO_THREADS + threadIdx.x), lane = i % (D / 8), row = i / (D / 8);
    int head = row / (levels.levels - 1), level = row % (levels.levels - 1) + 1;
    if (head >= heads) return;
    int s = last_row(positions + (int64_t)head * levels.entries, level, levels);
    const uint4 *from = (const uint4 *)(gathered + exchanged_row<D>(exchanged, head / H, head % H, s)) + lane;
    halo[i] = s >= 0 ? *from : make_uint4(0, 0, 0, 0);
}

// halo[head, l - 1] = sum of dout over the positions that the last entry of level l of the slice before
// covers here. A block has one such row; HALO_THREADS / D lots of tokens, added up in order, and threads that
// are left over.
template <int D>
static __global__ void __launch_bounds__(HALO_THREADS)
    sum_halo_kernel(float *halo /* (B, H, L-1, D) */, const __grid_constant__ CudaRows dout,
                    const __grid_constant__ Levels levels, int H) {
    const int LOTS = HALO_THREADS / D;
    __shared__ float sums[LOTS][D];
    int head = (int)blockIdx.x / (levels.levels - 1), level = (int)blockIdx.x % (levels.levels - 1) + 1;
    int covered = (1 << levels.log_pool * level) - 1, lot = threadIdx.x / D, d = threadIdx.x % D;
    const bf16 *token = dout.data + head / H * dout.batch + head % H * dout.head + d;
    float sum = 0;
#pragma unroll 4
    for (int t = lot < LOTS ? lot : covered; t < covered; t += LOTS)
        sum += __bfloat162float(token[t * dout.row]);
    if (lot < LOTS) sums[lot][d] = sum;
    __syncthreads();
    if (lot > 0) return;
    for (int other = 1; other < LOTS; other++) sum += sums[other][d];
    halo[(int64_t)blockIdx.x * D + d] = sum;
}

// Adds to the gradient of the last entries' rows what the next slice saw of them. A thread has two elements.
template <int D>
static __global__ void __launch_bounds__(HALO_THREADS)
    add_halo_kernel(bf16 *dgathered,          // as `exchanged` says
                    const float2 *halo,       // (B, H, L-1, D)
                    const int32_t *positions, // (B, H, E)
                    const __grid_constant__ Levels levels, int H, int heads /* B H */,
                    const __grid_constant__ ExchangedRows exchanged) {
    int i = (int)(blockIdx.x * HALO_THREADS + threadIdx.x), lane = i % (D / 2), row = i / (D / 2);
    int head = row / (levels.levels - 1), level = row % (levels.levels - 1) + 1;
    if (head >= heads) return;
    int s = last_row(positions + (int64_t)head * levels.entries, level, levels);
    if (s < 0) return;
    __nv_bfloat162 *to =
        (__nv_bfloat162 *)(dgathered + exchanged_row<D>(exchanged, head / H, head % H, s)) + lane;
    *to = __floats2bfloat162_rn(__low2float(*to) + halo[i].x, __high2float(*to) + halo[i].y);
}

static inline int64_t halo_rows(const LighthouseShape *shape) {
    return shape->B * shape->H * (shape->hierarchy.levels - 1);
}

// The attention of this slice's rows back from the ranks that have made it, in cp->packed; and in
// scratch->halo the rows that reach into this slice from the one before.
static inline void cp_return_rows(CudaContext *context, const CudaLighthouseRows *rows,
                                  const CudaLighthouseScratch *scratch, const LighthouseShape *shape) {
    const CudaCp *cp = scratch->cp;
    ExchangedRows exchanged = exchanged_rows(scratch, 1, shape);
    Levels levels = levels_of(&shape->hierarchy);
    int64_t count = halo_rows(shape) * shape->D;
    assert(head_width_known(shape->D));
    auto kernel = FOR_HEAD_WIDTH(shape->D, take_halo_kernel);
    cuda_context_return(cp, rows->out, shape->B, shape->hierarchy.n_selected, exchanged.row);
    kernel<<<(unsigned)ceil_div(count / 8, HALO_THREADS), HALO_THREADS, 0, context->stream>>>(
        (uint4 *)scratch->halo_out, cp->packed, rows->positions, levels, (int)shape->H,
        (int)(shape->B * shape->H), exchanged);
    CUDA_CHECK(cudaGetLastError());
    collectives_shift(cp->queue, 1, scratch->halo, scratch->halo_out, count, ELEMENT_BF16);
    cuda_context_wait(cp, "the rows that reach past a slice");
}

// Sends back the gradient of the rows that have reached into this slice; cp_add_halo waits for the
// others'.
static inline void cp_send_halo(CudaContext *context, CudaRows dout, const CudaLighthouseScratch *scratch,
                                const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    auto kernel = FOR_HEAD_WIDTH(shape->D, sum_halo_kernel);
    kernel<<<(unsigned)halo_rows(shape), HALO_THREADS, 0, context->stream>>>(scratch->halo_grad_out, dout,
                                                                             levels, (int)shape->H);
    CUDA_CHECK(cudaGetLastError());
    collectives_shift(scratch->cp->queue, -1, scratch->halo_grad, scratch->halo_grad_out,
                      halo_rows(shape) * shape->D, ELEMENT_F32);
}

// Adds what the next slice has seen of this one's last entries to the gradient of rows in cp->packed.
static inline void cp_add_halo(CudaContext *context, const CudaLighthouseRows *rows,
                               const CudaLighthouseScratch *scratch, const LighthouseShape *shape) {
    ExchangedRows exchanged = exchanged_rows(scratch, 1, shape);
    Levels levels = levels_of(&shape->hierarchy);
    int64_t pairs = halo_rows(shape) * shape->D / 2;
    auto kernel = FOR_HEAD_WIDTH(shape->D, add_halo_kernel);
    cuda_context_wait(scratch->cp, "the gradient of rows that reach past a slice");
    kernel<<<(unsigned)ceil_div(pairs, HALO_THREADS), HALO_THREADS, 0, context->stream>>>(
        scratch->cp->packed, (const float2 *)scratch->halo_grad, rows->positions, levels, (int)shape->H,
        (int)(shape->B * shape->H), exchanged);
    CUDA_CHECK(cudaGetLastError());
}

// ---------------------------------------------------------------------------------------------------------------
// Scores of the dilated scorer.

// All rows of this rank's heads, from the slice's tokens (B, n, H + 2 KV, D).
static inline void cp_exchange_tokens(CudaContext *context, const CudaLighthouseScratch *scratch, bf16 *qkv,
                                      const LighthouseShape *shape) {
    const CudaCp *cp = scratch->cp;
    int64_t n = shape->hierarchy.n, KV = shape->H / shape->share;
    cuda_context_pack(context, cp, qkv, shape->B, n, shape->H, KV, shape->D);
    cuda_context_all_to_all(cp, scratch->whole_qkv, shape->B, n,
                            (shape->H + 2 * context_heads(KV, cp->size)) / cp->size * shape->D);
}

// Base scores of the slice for all heads, from scratch->whole_scores (2, B, H / P, n P).
static inline void cp_return_scores(CudaContext *context, const CudaLighthouseScratch *scratch,
                                    const LighthouseShape *shape) {
    const CudaCp *cp = scratch->cp;
    int64_t n = shape->hierarchy.n, E = shape->hierarchy.n_entries, B = shape->B, own = shape->H / cp->size;
    size_t row = (size_t)n * sizeof(float);
    int64_t block = 2 * B * own * n;
    for (int64_t r = 0; r < cp->size; r++) // (P, 2, B, H / P, n)
        CUDA_CHECK(cudaMemcpy2DAsync(scratch->packed_scores + r * block, row, scratch->whole_scores + r * n,
                                     (size_t)cp->size * row, row, (size_t)(2 * B * own),
                                     cudaMemcpyDeviceToDevice, context->stream));
    collectives_all_to_all(cp->queue, scratch->whole_scores, scratch->packed_scores, block, ELEMENT_F32);
    cuda_context_wait(cp, "the scores of the dilated scorer");
    float *scores[2] = {scratch->scores.q, scratch->scores.k};
    for (int64_t i = 0; i < cp->size * 2 * B; i++) {
        int64_t r = i / (2 * B), side = i / B % 2, b = i % B;
        CUDA_CHECK(cudaMemcpy2DAsync(scores[side] + (b * shape->H + r * own) * E, (size_t)E * sizeof(float),
                                     scratch->whole_scores + i * own * n, row, row, (size_t)own,
                                     cudaMemcpyDeviceToDevice, context->stream));
    }
}

#endif
