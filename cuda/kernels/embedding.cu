// The kernels; see embedding.cuh.
#include "cuda/kernels/embedding.cuh"

#include <assert.h>
#include <string.h>

void embedding_order(EmbeddingOrder *order, int32_t *starts, const int32_t *tokens, int64_t token_stride,
                     int64_t B, int64_t N, int64_t V) {
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

// ---- Launchers.

void cuda_embedding_forward(bf16 *out, const int32_t *tokens, int64_t token_stride, const bf16 *weight,
                            int64_t B, int64_t N, int64_t C, cudaStream_t stream) {
    assert(C % 8 == 0);
    unsigned threads = (unsigned)(C >= 2048 ? 256 : ceil_div(C, 256) * 32);
    embedding_forward_kernel<<<(unsigned)(B * N), threads, 0, stream>>>(out, tokens, token_stride, weight, N,
                                                                        (int)C);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_embedding_backward(float *dweight, float *partial, const bf16 *dout, const EmbeddingOrder *order,
                             int64_t C, cudaStream_t stream) {
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
