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
void embedding_order(EmbeddingOrder *order, int32_t *starts, const int32_t *tokens, int64_t token_stride,
                     int64_t B, int64_t N, int64_t V);

// out (B, N, C) = weight[token]; token of row (b, n) is tokens[b * token_stride + n], in device memory
void cuda_embedding_forward(bf16 *out, const int32_t *tokens, int64_t token_stride, const bf16 *weight,
                            int64_t B, int64_t N, int64_t C, cudaStream_t stream);

// dweight (V, C) += the rows of dout (rows, C), summed by token in `order`, whose arrays lie in device
// memory.
//   partial: (embedding_max_slots(rows), C)
void cuda_embedding_backward(float *dweight, float *partial, const bf16 *dout, const EmbeddingOrder *order,
                             int64_t C, cudaStream_t stream);

#endif
