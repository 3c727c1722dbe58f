// Timings of the kernels at the size of the 530m preset.
#include "cpu/cpu.h"
#include "cuda/kernels/adamw.cuh"
#include "cuda/kernels/cross_entropy.cuh"
#include "cuda/kernels/embedding.cuh"
#include "cuda/kernels/rmsnorm.cuh"
#include "cuda/kernels/rope.cuh"
#include "cuda/kernels/swiglu.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"
#include "dev/test/cuda/gpu_kernels/microseconds.cuh"

template <typename Run> static void time_one(const char *name, double bytes, Run run) {
    double us = microseconds(run);
    printf("%-28s %9.1f us %8.2f TB/s\n", name, us, bytes / us / 1e6);
}

// Bytes are those that must move once.
void time_kernels(void) {
    const int64_t rows = 98304, C = 1024, F = 1536, H = 8, KV = 8, D = 128, V = 128256, params = 530117632;
    const double row_bytes = (double)(rows * C) * 2;
    bf16 *x = filled(rows * 2 * F, 1), *y = filled(rows * 2 * F, 2), *z = filled(rows * 2 * F, 3);
    float *weight = up(numbers(4, C)), *dweight = room<float>(C), *partial = room<float>(COLUMN_SLICES * C);
    float *cosines = room<float>(rows * D / 2), *sines = room<float>(rows * D / 2);
    LighthouseScores scores = {room<float>(H * rows), room<float>(H * rows)};
    const RopeScaling plain = {ROPE_DEFAULT};
    cuda_rope_table(cosines, sines, rows, D, rope_frequencies(&plain, 10000, D, 0), 0);
    time_one("copy", 2 * 3 * row_bytes, [&] {
        CUDA_CHECK(cudaMemcpyAsync(x, y, (size_t)(3 * row_bytes), cudaMemcpyDeviceToDevice, 0));
    });
    time_one("rmsnorm forward", 2 * row_bytes, [&] { cuda_rmsnorm_forward(y, x, weight, rows, C, 1e-5, 0); });
    time_one("rmsnorm backward", 5 * row_bytes,
             [&] { cuda_rmsnorm_backward(z, dweight, y, partial, y, x, weight, rows, C, 1e-5, 0); });
    time_one("rope forward with norms", 4 * row_bytes,
             [&] { cuda_rope_forward(x, cosines, sines, scores, rows, 1, rows, H, KV, D, 0, 0); });
    time_one("rope backward", 4 * row_bytes,
             [&] { cuda_rope_backward(x, cosines, sines, 1, rows, H, KV, D, 0, 0); });
    time_one("swiglu forward", 4.5 * row_bytes, [&] { cuda_swiglu_forward(y, x, rows, F, 0); });
    time_one("swiglu backward", 9 * row_bytes, [&] { cuda_swiglu_backward(y, x, rows, F, 0); });
    release({y, z, partial, cosines, sines, scores.q, scores.k, weight, dweight});

    int64_t chunk = cross_entropy_chunk(rows, V);
    bf16 *logits = filled(chunk * V, 1);
    std::vector<int32_t> tokens((size_t)rows), starts((size_t)V + 1), order_rows((size_t)rows);
    for (size_t i = 0; i < tokens.size(); i++) tokens[i] = (int32_t)(mix(i) % 100 + mix(i + 1) % 100);
    int32_t *tokens_gpu = up(tokens);
    double *nats = room<double>(rows);
    time_one("cross-entropy, a chunk", 2.0 * (double)(chunk * V) * 2,
             [&] { cuda_cross_entropy(logits, nats, tokens_gpu, rows, rows, 0, chunk, V, 1, true, 0); });
    std::vector<EmbeddingPiece> pieces((size_t)embedding_max_pieces(rows, V));
    std::vector<EmbeddingToken> long_tokens((size_t)embedding_max_slots(rows) / 2);
    EmbeddingOrder order = {order_rows.data(), pieces.data(), long_tokens.data(), 0, 0};
    embedding_order(&order, starts.data(), tokens.data(), rows, 1, rows, V);
    EmbeddingOrder device = {up(order_rows), up(pieces), up(long_tokens), order.n_pieces, order.n_long};
    float *dtable = room<float>(V * C), *slots = room<float>(embedding_max_slots(rows) * C);
    time_one("embedding backward", row_bytes,
             [&] { cuda_embedding_backward(dtable, slots, x, &device, C, 0); });
    release({x, logits, tokens_gpu, nats, device.rows, device.pieces, device.long_tokens, dtable, slots});

    float *flat[4];
    for (float *&array : flat) array = room<float>(params);
    for (float *array : flat) CUDA_CHECK(cudaMemset(array, 0, (size_t)params * sizeof(float)));
    bf16 *copy = room<bf16>(params);
    GradientNorm *norm = room<GradientNorm>(1);
    double *squares = room<double>(SQUARES_SLICES);
    AdamW a = {
        .step = 7, .lr = 1e-4, .beta1 = 0.9, .beta2 = 0.95, .eps = ADAMW_EPS, .weight_decay = 0.1, .clip = 1};
    time_one("gradient norm", 4.0 * params, [&] {
        cuda_gradient_squares(squares, flat[1], params, false, 0);
        gradient_norm(norm, squares, SQUARES_SLICES, 1, 0, 0);
    });
    time_one("adamw", 34.0 * params,
             [&] { cuda_adamw_update(flat[0], copy, flat[1], flat[2], flat[3], norm, params, &a, 0); });
    release({flat[0], flat[1], flat[2], flat[3], copy, norm, squares});
}
