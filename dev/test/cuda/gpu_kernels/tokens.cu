// The embedding and the loss, against the CPU's embedding and the loss in float64.
#include "cpu/cpu.h"
#include "cuda/kernels/cross_entropy.cuh"
#include "cuda/kernels/embedding.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"

#include <algorithm>

void check_embedding(GpuChecks *checks, int64_t B, int64_t N, int64_t V, int64_t C, int skew) {
    int64_t rows = B * N, stride = N + 1;
    std::vector<int32_t> tokens((size_t)(B * stride)), starts((size_t)(V + 1));
    for (size_t i = 0; i < tokens.size(); i++) {
        uint64_t bits = mix(77 + i);
        tokens[i] = (int32_t)((int64_t)(bits % 10) < skew ? V / 2 : (int64_t)(bits >> 8) % V);
    }
    Floats weight = numbers(1, V * C), dout = numbers(2, rows * C), dweight = numbers(3, V * C);
    Floats out((size_t)(rows * C));
    bf16 *weight_gpu = up_bf16(weight), *dout_gpu = up_bf16(dout), *out_gpu = room<bf16>(rows * C);
    float *dweight_gpu = up(dweight), *partial = room<float>(embedding_max_slots(rows) * C + 1);
    int32_t *tokens_gpu = up(tokens);
    std::vector<int32_t> order_rows((size_t)rows);
    std::vector<EmbeddingPiece> pieces((size_t)embedding_max_pieces(rows, V));
    std::vector<EmbeddingToken> long_tokens((size_t)(embedding_max_slots(rows) / 2 + 1));
    EmbeddingOrder order = {order_rows.data(), pieces.data(), long_tokens.data(), 0, 0};
    embedding_order(&order, starts.data(), tokens.data(), stride, B, N, V);
    EmbeddingOrder device = {up(order_rows), up(pieces), up(long_tokens), order.n_pieces, order.n_long};

    cpu_embedding_forward(out.data(), tokens.data(), stride, weight.data(), B, N, C);
    cuda_embedding_forward(out_gpu, tokens_gpu, stride, weight_gpu, B, N, C, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * C), out), 0,
              "embedding forward %lld x %lld tokens, V %lld, C %lld", (long long)B, (long long)N,
              (long long)V, (long long)C);
    cpu_embedding_backward(dweight.data(), dout.data(), tokens.data(), stride, B, N, C);
    cuda_embedding_backward(dweight_gpu, partial, dout_gpu, &device, C, 0);
    gpu_check(checks, error_of(down_as(dweight_gpu, V * C), dweight), BOUND_FLOAT32,
              "embedding backward, %d in 10 the same", skew);
    release({weight_gpu, dout_gpu, out_gpu, dweight_gpu, partial, tokens_gpu, device.rows, device.pieces,
             device.long_tokens});
}

// One row's loss and gradient in float64.
static double row_loss(float *gradient, const float *logits, int64_t V, int64_t target, double scale) {
    double highest = *std::max_element(logits, logits + V), sum = 0;
    for (int64_t i = 0; i < V; i++) sum += exp(logits[i] - highest);
    for (int64_t i = 0; i < V; i++) {
        gradient[i] = (float)(scale * (exp(logits[i] - highest) / sum - (i == target ? 1 : 0)));
    }
    return highest + log(sum) - logits[target];
}

// Rows of V numbers with padding behind each, and without it.
static Floats padded(const Floats &x, int64_t rows, int64_t V, float padding) {
    int64_t width = model_padded_vocab(V);
    Floats wide((size_t)(rows * width), padding);
    for (int64_t r = 0; r < rows; r++) std::copy_n(&x[(size_t)(r * V)], V, &wide[(size_t)(r * width)]);
    return wide;
}
static Floats cut(const Floats &wide, int64_t rows, int64_t V) {
    int64_t width = model_padded_vocab(V);
    Floats x((size_t)(rows * V));
    for (int64_t r = 0; r < rows; r++) std::copy_n(&wide[(size_t)(r * width)], V, &x[(size_t)(r * V)]);
    return x;
}

void check_cross_entropy(GpuChecks *checks, int64_t rows, int64_t V, int64_t N, int64_t first, float spread) {
    const double scale = 1.0 / 12345;
    int64_t sequences = ceil_div(first + rows, N), stride = N + 3;
    int64_t width = model_padded_vocab(V);
    Floats logits = numbers(1, rows * V, spread), gradient((size_t)(rows * V));
    std::vector<int32_t> targets((size_t)(sequences * stride));
    for (size_t i = 0; i < targets.size(); i++) targets[i] = (int32_t)(mix(i) % (uint64_t)V);
    std::vector<double> nats((size_t)rows);
    for (int64_t r = 0; r < rows; r++) {
        int64_t n = first + r;
        nats[(size_t)r] = row_loss(&gradient[(size_t)(r * V)], &logits[(size_t)(r * V)], V,
                                   targets[(size_t)(n / N * stride + n % N)], scale);
    }
    bf16 *logits_gpu = up_bf16(padded(logits, rows, V, 100 * spread));
    double *nats_gpu = room<double>(first + rows), *sum_gpu = room<double>(1);
    int32_t *targets_gpu = up(targets);
    cuda_cross_entropy(logits_gpu, nats_gpu, targets_gpu, stride, N, first, rows, V, scale, false, 0);
    Floats kept = cut(down(logits_gpu, rows * width), rows, V);
    gpu_check(checks, gpu_differences(kept.data(), logits.data(), rows * V), 0,
              "cross-entropy without gradient leaves logits, %lld x %lld", (long long)rows, (long long)V);
    std::vector<double> alone = down_as(nats_gpu + first, rows);
    gpu_check(checks, gpu_error(alone.data(), nats.data(), rows), 1e-6, "cross-entropy loss");
    gpu_poison(nats_gpu, (size_t)(first + rows) * sizeof(double));
    cuda_cross_entropy(logits_gpu, nats_gpu, targets_gpu, stride, N, first, rows, V, scale, true, 0);
    std::vector<double> with = down_as(nats_gpu + first, rows);
    gpu_check(checks, gpu_error(with.data(), nats.data(), rows), 1e-6, "cross-entropy loss, with gradient");
    Floats found = down(logits_gpu, rows * width);
    gpu_check(checks, error_of(cut(found, rows, V), gradient), BOUND_BF16, "cross-entropy gradient");
    Floats zeros = padded(cut(found, rows, V), rows, V, 0);
    gpu_check(checks, gpu_differences(found.data(), zeros.data(), rows * width), 0, "... none of padding");
    sum_ordered(sum_gpu, nats_gpu + first, rows, 0);
    double total = 0;
    for (double x : with) total += x;
    gpu_check(checks, fabs(down_as(sum_gpu, 1)[0] - total) / total, 1e-12, "sum of losses");
    release({logits_gpu, nats_gpu, sum_gpu, targets_gpu});
}
