// The kernels; see rope.cuh.
#include "cuda/kernels/rope.cuh"

#include <assert.h>

// Angles in float64.
static __global__ void rope_table_kernel(float *cosines, // (positions, D/2)
                                         float *sines,   // (positions, D/2)
                                         int64_t count, int half, RopeFrequencies frequencies) {
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i >= count) return;
    double sine, cosine, angle = (double)(i / half) * frequencies.inverse[i % half];
    sincos(angle, &sine, &cosine);
    cosines[i] = (float)(cosine * frequencies.attention_factor);
    sines[i] = (float)(sine * frequencies.attention_factor);
}

#define ROPE_THREADS 256
#define ROPE_HEADS   2 // neighbouring heads of a token whose loads a thread has under way at once

// A thread block turns ROPE_HEADS heads of neighbouring tokens. LANES lanes make a token: the first D / 16
// own 8 elements each of a head's first half and the 8 they turn with, by the same angles in all heads. Norms
// of neighbouring tokens lie side by side; so that they leave together, they pass through shared memory.
template <int D>
static __global__ void __launch_bounds__(ROPE_THREADS)
    rope_kernel(bf16 *qkv,               // (B, N, H + 2 KV, D)
                const float *cosines,    // (positions, D/2), of the row's position: first + n
                const float *sines,      // (positions, D/2)
                LighthouseScores scores, // (B, H, E), the first N written; or NULL q
                int64_t entries, int64_t rows, int64_t N, int64_t first, int H, int KV, float direction) {
    const int VECTORS = D / 16, LANES = row_lanes(VECTORS), TOKENS = ROPE_THREADS / LANES;
    __shared__ float norms[ROPE_HEADS][TOKENS];
    int groups = (int)ceil_div(H + KV, ROPE_HEADS), start = blockIdx.x % groups * ROPE_HEADS;
    int64_t block_row = blockIdx.x / groups * (int64_t)TOKENS, row = block_row + threadIdx.x / LANES;
    int i = threadIdx.x % LANES, count = row < rows && i < VECTORS ? min(ROPE_HEADS, H + KV - start) : 0;
    Bf16x8 *heads = (Bf16x8 *)(qkv + (row * (H + 2 * KV) + start) * D) + i;
    Bf16x8 low[ROPE_HEADS], high[ROPE_HEADS];
#pragma unroll
    for (int j = 0; j < ROPE_HEADS; j++) {
        if (j >= count) continue;
        low[j] = heads[j * (D / 8)];
        high[j] = heads[j * (D / 8) + VECTORS];
    }
    float cosine[8], sine[8];
    int64_t angles = (first + row % N) * (D / 2) + min(i, VECTORS - 1) * 8;
    const float4 *c = (const float4 *)(cosines + angles), *s = (const float4 *)(sines + angles);
    *(float4 *)cosine = c[0], *(float4 *)(cosine + 4) = c[1];
    *(float4 *)sine = s[0], *(float4 *)(sine + 4) = s[1];
#pragma unroll
    for (int j = 0; j < 8; j++) sine[j] *= direction;

    double squares[ROPE_HEADS] = {};
#pragma unroll
    for (int j = 0; j < ROPE_HEADS; j++) {
        if (j >= count) continue;
        float x[8], y[8], turned_x[8], turned_y[8];
        unpack(x, low[j]);
        unpack(y, high[j]);
#pragma unroll
        for (int e = 0; e < 8; e++) {
            turned_x[e] = x[e] * cosine[e] - y[e] * sine[e];
            turned_y[e] = y[e] * cosine[e] + x[e] * sine[e];
        }
        Bf16x8 low_out = pack(turned_x), high_out = pack(turned_y);
        heads[j * (D / 8)] = low_out;
        heads[j * (D / 8) + VECTORS] = high_out;
        if (scores.q) squares[j] = square_sum(low_out) + square_sum(high_out);
    }
    if (!scores.q) return;

    float norm = row_norms<LANES>(squares);
    if (i < ROPE_HEADS) norms[i][threadIdx.x / LANES] = norm;
    __syncthreads();
    int head = start + threadIdx.x / TOKENS;
    row = block_row + threadIdx.x % TOKENS;
    if (threadIdx.x >= ROPE_HEADS * TOKENS || head >= H + KV || row >= rows) return;
    int64_t b = row / N, n = row % N;
    norm = norms[threadIdx.x / TOKENS][threadIdx.x % TOKENS];
    if (head < H) {
        scores.q[(b * H + head) * entries + n] = norm;
    } else {
        int share = H / KV, reader = (head - H) * share;
        for (int h = reader; h < reader + share; h++) scores.k[(b * H + h) * entries + n] = norm;
    }
}

// ---- Launchers.

void cuda_rope_table(float *cosines, float *sines, int64_t positions, int64_t D, RopeFrequencies frequencies,
                     cudaStream_t stream) {
    int64_t count = positions * (D / 2);
    rope_table_kernel<<<(unsigned)ceil_div(count, 256), 256, 0, stream>>>(cosines, sines, count, (int)(D / 2),
                                                                          frequencies);
    CUDA_CHECK(cudaGetLastError());
}

static inline void rope_launch(bf16 *qkv, const float *cosines, const float *sines, LighthouseScores scores,
                               int64_t entries, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D,
                               int64_t first, float direction, cudaStream_t stream) {
    assert(head_width_known(D));
    auto kernel = FOR_HEAD_WIDTH(D, rope_kernel);
    int64_t blocks = ceil_div(B * N, ROPE_THREADS / row_lanes((int)D / 16)) * ceil_div(H + KV, ROPE_HEADS);
    kernel<<<(unsigned)blocks, ROPE_THREADS, 0, stream>>>(qkv, cosines, sines, scores, entries, B * N, N,
                                                          first, (int)H, (int)KV, direction);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_rope_forward(bf16 *qkv, const float *cosines, const float *sines, LighthouseScores scores,
                       int64_t entries, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D, int64_t first,
                       cudaStream_t stream) {
    rope_launch(qkv, cosines, sines, scores, entries, B, N, H, KV, D, first, 1, stream);
}

void cuda_rope_backward(bf16 *dqkv, const float *cosines, const float *sines, int64_t B, int64_t N, int64_t H,
                        int64_t KV, int64_t D, int64_t first, cudaStream_t stream) {
    LighthouseScores none = {NULL, NULL};
    rope_launch(dqkv, cosines, sines, none, 0, B, N, H, KV, D, first, -1, stream);
}
