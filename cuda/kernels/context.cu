// Packing for ranks that share sequences, and the exchange; see context.cuh.
#include "cuda/kernels/context.cuh"

#include <assert.h>

// ---------------------------------------------------------------------------------------------------------------
// Packing the heads of tokens.

#define PACK_THREADS 256
#define PACK_ROWS    4 // rows whose loads a thread has under way at once

// to = the sum of a row and its copies in the blocks of the ranks behind, in their order; rounded once.
static __device__ void sum_copies(uint4 *to, const uint4 *packed, int copies, int64_t block) {
    float sum[8] = {}, elements[8];
    for (int copy = 0; copy < copies; copy++) {
        unpack(elements, *(const Bf16x8 *)(packed + copy * block));
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += elements[i];
    }
    *(Bf16x8 *)to = pack(sum);
}

// A thread moves 16 bytes of PACK_ROWS neighbouring rows; blockIdx.y is the sequence and the rank. Of the
// rank's own + 2 own_kv heads in a packed row, the first come from the P own heads that lead a token, the
// others from the kv = P own_kv / copies behind these, and again kv. `copies` neighbouring ranks have the
// same; the first one's thread gives back their sum.
template <bool PACK>
static __global__ void __launch_bounds__(PACK_THREADS)
    pack_kernel(uint4 *packed, // (B, P, n, own + 2 own_kv, lanes)
                uint4 *tokens, // (B, n, P own + 2 kv, lanes)
                int P, int n, int own, int own_kv, int copies, int lanes) {
    int width = (own + 2 * own_kv) * lanes, thread = (int)(blockIdx.x * PACK_THREADS + threadIdx.x);
    int column = thread % width, row = thread / width * PACK_ROWS, kv = P * own_kv / copies;
    int rank = (int)blockIdx.y % P, place = column / lanes, head = rank * own + place;
    bool summed = !PACK && copies > 1 && place >= own;
    if (place >= own) {
        int side = (place - own) / own_kv; // keys, values
        head = P * own + side * kv + (rank * own_kv + (place - own) % own_kv) / copies;
    }
    if (summed && rank % copies != 0) return;
    int64_t step = (int64_t)(P * own + 2 * kv) * lanes;
    uint4 *token = tokens + ((int64_t)(blockIdx.y / P) * n + row) * step + head * lanes + column % lanes;
    uint4 *place_in_block = packed + ((int64_t)blockIdx.y * n + row) * width + column;
    for (int i = 0; summed && i < PACK_ROWS && row + i < n; i++)
        sum_copies(token + i * step, place_in_block + (int64_t)i * width, copies, (int64_t)n * width);
    if (summed) return;
    uint4 x[PACK_ROWS];
#pragma unroll
    for (int i = 0; i < PACK_ROWS; i++)
        if (row + i < n) x[i] = PACK ? token[i * step] : place_in_block[(int64_t)i * width];
#pragma unroll
    for (int i = 0; i < PACK_ROWS; i++)
        if (row + i < n) (PACK ? place_in_block[(int64_t)i * width] : token[i * step]) = x[i];
}

template <bool PACK>
static void pack_launch(CudaContext *context, const CudaCp *cp, bf16 *tokens, int64_t B, int64_t n,
                        int64_t heads, int64_t kv_heads, int64_t D) {
    int64_t P = cp->size, attended = kv_heads ? context_heads(kv_heads, P) : 0;
    int64_t copies = kv_heads ? attended / kv_heads : 1, width = (heads + 2 * attended) / P * (D / 8);
    int64_t threads = ceil_div(n, PACK_ROWS) * width;
    assert(heads % P == 0 && attended % P == 0 && copies * kv_heads == attended && D % 8 == 0);
    assert(threads + PACK_THREADS <= INT32_MAX);
    dim3 grid((unsigned)ceil_div(threads, PACK_THREADS), (unsigned)(B * P));
    pack_kernel<PACK><<<grid, PACK_THREADS, 0, context->stream>>>(
        (uint4 *)cp->packed, (uint4 *)tokens, (int)P, (int)n, (int)(heads / P), (int)(attended / P),
        (int)copies, (int)(D / 8));
    CUDA_CHECK(cudaGetLastError());
}

void cuda_context_pack(CudaContext *context, const CudaCp *cp, bf16 *tokens, int64_t B, int64_t n,
                       int64_t heads, int64_t kv_heads, int64_t D) {
    pack_launch<true>(context, cp, tokens, B, n, heads, kv_heads, D);
}

void cuda_context_unpack(CudaContext *context, const CudaCp *cp, bf16 *tokens, int64_t B, int64_t n,
                         int64_t heads, int64_t kv_heads, int64_t D) {
    pack_launch<false>(context, cp, tokens, B, n, heads, kv_heads, D);
}

// ---------------------------------------------------------------------------------------------------------------
// Exchanging. Each sequence by itself, so that its rows lie together; all are under way at once.

void cuda_context_wait(const CudaCp *cp, const char *what) {
    Part part = cuda_part_switch(cp->clock, PART_RANKS);
    collectives_wait(cp->queue, what);
    cuda_part_switch(cp->clock, part);
}

void cuda_context_all_to_all(const CudaCp *cp, bf16 *whole, int64_t B, int64_t n, int64_t width) {
    int64_t block = n * width;
    for (int64_t at = 0; at < B * cp->size * block; at += cp->size * block)
        collectives_all_to_all(cp->queue, whole + at, cp->packed + at, block, ELEMENT_BF16);
    cuda_context_wait(cp, "the all-to-all from sequence to heads");
}

void cuda_context_return(const CudaCp *cp, const bf16 *whole, int64_t B, int64_t n, int64_t width) {
    int64_t block = n * width;
    for (int64_t at = 0; at < B * cp->size * block; at += cp->size * block)
        collectives_all_to_all(cp->queue, cp->packed + at, whole + at, block, ELEMENT_BF16);
    cuda_context_wait(cp, "the all-to-all from heads to sequence");
}
