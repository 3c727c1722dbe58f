// Token embedding on the GPU: rows of a table, and their gradient; its twin is cpu/embedding.c.
//
// The gradient of a token's row is the sum of dout over all positions that hold the token. To sum without
// atomics and in one fixed order, the host sorts the positions by token (a counting sort, under a millisecond
// for 100,000 tokens and hidden behind the forward pass) and cuts each token's run into pieces: a byte
// vocabulary has few tokens with very many positions each, so the work must spread within a token too.
#ifndef CUDA_EMBEDDING_CUH
#define CUDA_EMBEDDING_CUH

#include "core/engine/plan.h"
#include "cuda/device/common.cuh"

#include <assert.h>
#include <string.h>

#define EMBEDDING_PIECE 64 // positions of one token that are summed in one go

// Positions [begin, end) of the sorted ones, all of one token.
typedef struct {
    int32_t token, begin, end;
    int32_t slot; // where the sum goes: a row of partial sums; -1: the only piece, straight to the gradient
} EmbeddingPiece;

// A token of several pieces: their sums are partial rows [begin, end).
typedef struct {
    int32_t token, begin, end;
} EmbeddingToken;

// The order of summation; lives once on the host and once on the device.
typedef struct {
    int32_t *rows;          // (rows) positions sorted by token, rising within a token
    EmbeddingPiece *pieces; // (n_pieces)
    EmbeddingToken *long_tokens;
    int64_t n_pieces, n_long;
} EmbeddingOrder;

// At most so many of each: every present token has one piece that need not be full.
static inline int64_t embedding_max_pieces(int64_t rows, int64_t V) {
    return rows / EMBEDDING_PIECE + (V < rows ? V : rows);
}
static inline int64_t embedding_max_slots(int64_t rows) {
    return 2 * (rows / EMBEDDING_PIECE);
}

// Adds the order's arrays to a plan, and where they are for the device also the partial sums.
static inline void embedding_plan(MemoryPlan *plan, EmbeddingOrder *order, const char *purpose, int64_t rows,
                                  int64_t V) {
    plan_add(plan, (void **)&order->rows, purpose, "positions by token", rows, sizeof *order->rows);
    plan_add(plan, (void **)&order->pieces, purpose, "pieces of tokens", embedding_max_pieces(rows, V),
             sizeof *order->pieces);
    plan_add(plan, (void **)&order->long_tokens, purpose, "tokens in pieces", embedding_max_slots(rows) / 2,
             sizeof *order->long_tokens);
}

// Fills a host order for rows (b, n) holding tokens[b * token_stride + n] of [0, V).   starts: (V + 1)
// scratch
static inline void embedding_order(EmbeddingOrder *order, int32_t *starts, const int32_t *tokens,
                                   int64_t token_stride, int64_t B, int64_t N, int64_t V) {
    assert(B * N < (1ll << 31));
    memset(starts, 0, (size_t)(V + 1) * sizeof *starts);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t n = 0; n < N; n++) starts[tokens[b * token_stride + n] + 1]++;
    }
    for (int64_t v = 0; v < V; v++) starts[v + 1] += starts[v];
    order->n_pieces = order->n_long = 0;
    int32_t slots = 0;
    for (int32_t v = 0; v < (int32_t)V; v++) {
        int32_t begin = starts[v], end = starts[v + 1];
        bool whole = end - begin <= EMBEDDING_PIECE;
        EmbeddingToken cut = {v, slots, slots};
        for (int32_t at = begin; at < end; at += EMBEDDING_PIECE) {
            int32_t stop = at + EMBEDDING_PIECE < end ? at + EMBEDDING_PIECE : end;
            EmbeddingPiece piece = {v, at, stop, whole ? -1 : slots++};
            order->pieces[order->n_pieces++] = piece;
        }
        cut.end = slots;
        if (!whole) order->long_tokens[order->n_long++] = cut;
    }
    for (int64_t b = 0; b < B; b++) {
        for (int64_t n = 0; n < N; n++)
            order->rows[starts[tokens[b * token_stride + n]]++] = (int32_t)(b * N + n);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Kernels.

// A row a thread block.
static __global__ void
embedding_forward_kernel(bf16 *out,             // (B, N, C)
                         const int32_t *tokens, // of row (b, n): tokens[b * stride + n]
                         int64_t token_stride,
                         const bf16 *weight, // (V, C)
                         int64_t N, int C) {
    int64_t row = blockIdx.x, token = tokens[row / N * token_stride + row % N];
    const Bf16x8 *from = (const Bf16x8 *)(weight + token * C);
    Bf16x8 *to = (Bf16x8 *)(out + row * C);
    for (int i = threadIdx.x; i < C / 8; i += blockDim.x) to[i] = from[i];
}

// Block (piece, stretch of columns), 8 columns a thread: adds the piece's rows in order.
static __global__ void embedding_pieces_kernel(float *dweight,   // (V, C)
                                               float *partial,   // (slots, C)
                                               const bf16 *dout, // (rows, C)
                                               const int32_t *rows, const EmbeddingPiece *pieces, int C) {
    EmbeddingPiece piece = pieces[blockIdx.x];
    int vector = blockIdx.y * blockDim.x + threadIdx.x;
    if (vector >= C / 8) return;
    float sum[8] = {}, x[8];
#pragma unroll 4
    for (int i = piece.begin; i < piece.end; i++) {
        unpack(x, ((const Bf16x8 *)(dout + rows[i] * (int64_t)C))[vector]);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] += x[j];
    }
    float *to = (piece.slot < 0 ? dweight + piece.token * (int64_t)C : partial + piece.slot * (int64_t)C) +
                vector * 8;
    for (int j = 0; j < 8; j++) to[j] = piece.slot < 0 ? to[j] + sum[j] : sum[j];
}

// Block (token, stretch of columns), a column a thread: adds the token's partial sums in order.
static __global__ void embedding_tokens_kernel(float *dweight,       // (V, C)
                                               const float *partial, // (slots, C)
                                               const EmbeddingToken *tokens, int C) {
    EmbeddingToken token = tokens[blockIdx.x];
    int c = blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= C) return;
    float sum = 0;
#pragma unroll 8
    for (int slot = token.begin; slot < token.end; slot++) sum += partial[slot * (int64_t)C + c];
    dweight[token.token * (int64_t)C + c] += sum;
}

// ---------------------------------------------------------------------------------------------------------------
// Launchers.

// out (B, N, C) = weight[token]; token of row (b, n) is tokens[b * token_stride + n], in device memory
static inline void cuda_embedding_forward(bf16 *out, const int32_t *tokens, int64_t token_stride,
                                          const bf16 *weight, int64_t B, int64_t N, int64_t C,
                                          cudaStream_t stream) {
    assert(C % 8 == 0);
    unsigned threads = (unsigned)(C >= 2048 ? 256 : ceil_div(C, 256) * 32);
    embedding_forward_kernel<<<(unsigned)(B * N), threads, 0, stream>>>(out, tokens, token_stride, weight, N,
                                                                        (int)C);
    CUDA_CHECK(cudaGetLastError());
}

// dweight (V, C) += the rows of dout (rows, C), summed by token in `order`, whose arrays lie in device
// memory.
//   partial: (embedding_max_slots(rows), C)
static inline void cuda_embedding_backward(float *dweight, float *partial, const bf16 *dout,
                                           const EmbeddingOrder *order, int64_t C, cudaStream_t stream) {
    assert(C % 8 == 0);
    dim3 pieces((unsigned)order->n_pieces, (unsigned)ceil_div(C, 1024));
    embedding_pieces_kernel<<<pieces, 128, 0, stream>>>(dweight, partial, dout, order->rows, order->pieces,
                                                        (int)C);
    CUDA_CHECK(cudaGetLastError());
    if (order->n_long == 0) return;
    dim3 tokens((unsigned)order->n_long, (unsigned)ceil_div(C, 128));
    embedding_tokens_kernel<<<tokens, 128, 0, stream>>>(dweight, partial, order->long_tokens, (int)C);
    CUDA_CHECK(cudaGetLastError());
}

#endif
