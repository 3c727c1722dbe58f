// Tensors of more than 2^31 elements: a few of their rows against the same rows alone.
#include "cuda/kernels/cross_entropy.cuh"
#include "cuda/kernels/rmsnorm.cuh"
#include "cuda/kernels/rope.cuh"
#include "cuda/kernels/swiglu.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"

#define LARGE 2300000000ll

// Where samples are taken: at the beginning, on both sides of element 2^31, and at the end.
static std::vector<int64_t> sample_rows(int64_t rows, int64_t width) {
    int64_t edge = (1ll << 31) / width;
    return {0, 1, edge - 1, edge, edge + 1, rows - 2, rows - 1};
}

// The rows of a small tensor `expected` against those of a large one on the GPU.
static double sample_error(const bf16 *large, const bf16 *expected, const std::vector<int64_t> &rows,
                           int64_t width) {
    Floats a, b = down(expected, (int64_t)rows.size() * width);
    for (int64_t row : rows) {
        Floats one = down(large + row * width, width);
        a.insert(a.end(), one.begin(), one.end());
    }
    return gpu_differences(a.data(), b.data(), (int64_t)a.size());
}

// A small tensor of the sampled rows.
static bf16 *sample(const bf16 *large, const std::vector<int64_t> &rows, int64_t width) {
    bf16 *small = gpu_alloc<bf16>((int64_t)rows.size() * width);
    for (size_t i = 0; i < rows.size(); i++) {
        CUDA_CHECK(cudaMemcpy(small + (int64_t)i * width, large + rows[i] * width,
                              (size_t)width * sizeof(bf16), cudaMemcpyDeviceToDevice));
    }
    return small;
}

static void check_large_rows(GpuChecks *checks) {
    const int64_t C = 1024, F = 1024, rows = LARGE / C, half_rows = LARGE / (2 * F);
    std::vector<int64_t> at = sample_rows(rows, C), half_at = sample_rows(half_rows, 2 * F);
    int64_t n = (int64_t)at.size();
    Floats weight = numbers(9, C);
    bf16 *x = filled(rows * C, 1), *y = filled(rows * C, 2), *z = filled(rows * C, 3);
    bf16 *x_small = sample(x, at, C), *y_small = sample(y, at, C), *z_small = sample(z, at, C);
    bf16 *gate_up_small = sample(x, half_at, 2 * F), *d_small = sample(y, half_at, F);
    float *weight_gpu = up(weight), *dweight = up(weight), *partial = room<float>(COLUMN_SLICES * C);

    cuda_rmsnorm_backward(y, dweight, z, partial, z, x, weight_gpu, rows, C, 1e-5, 0);
    cuda_rmsnorm_backward(y_small, dweight, z_small, partial, z_small, x_small, weight_gpu, n, C, 1e-5, 0);
    gpu_check(checks, sample_error(y, y_small, at, C), 0, "rmsnorm backward of %lld rows: dx",
              (long long)rows);
    gpu_check(checks, sample_error(z, z_small, at, C), 0, "rmsnorm backward of %lld rows: output",
              (long long)rows);
    cuda_rmsnorm_forward(z, x, weight_gpu, rows, C, 1e-5, 0);
    gpu_check(checks, sample_error(z, z_small, at, C), 0, "rmsnorm forward of %lld rows", (long long)rows);

    fill_kernel<<<(unsigned)ceil_div(rows * C, 256), 256>>>(y, rows * C, 2);
    cuda_swiglu_forward(z, x, half_rows, F, 0);
    cuda_swiglu_backward(y, x, half_rows, F, 0);
    bf16 *out_small = room<bf16>(n * F);
    cuda_swiglu_forward(out_small, gate_up_small, n, F, 0);
    cuda_swiglu_backward(d_small, gate_up_small, n, F, 0);
    gpu_check(checks, sample_error(z, out_small, half_at, F), 0, "swiglu forward of %lld rows",
              (long long)half_rows);
    gpu_check(checks, sample_error(x, gate_up_small, half_at, 2 * F), 0, "swiglu backward of %lld rows",
              (long long)half_rows);
    release({x, y, z, x_small, y_small, z_small, gate_up_small, d_small, weight_gpu, dweight, partial,
             out_small});
}

static void check_large_rope(GpuChecks *checks) {
    const int64_t H = 8, KV = 4, D = 128, width = (H + 2 * KV) * D, N = LARGE / width, E = N;
    std::vector<int64_t> at = sample_rows(N, width);
    bf16 *qkv = filled(N * width, 1), *small = sample(qkv, at, width);
    float *cosines = room<float>(N * D / 2), *sines = room<float>(N * D / 2);
    LighthouseScores scores = {room<float>(H * E), room<float>(H * E)}, none = {NULL, NULL};
    const RopeScaling plain = {ROPE_DEFAULT};
    cuda_rope_table(cosines, sines, N, D, rope_frequencies(&plain, 10000, D, 0), 0);
    cuda_rope_forward(qkv, cosines, sines, scores, E, 1, N, H, KV, D, 0, 0);
    for (size_t i = 0; i < at.size(); i++) {
        cuda_rope_forward(small + (int64_t)i * width, cosines, sines, none, 0, 1, 1, H, KV, D, at[i], 0);
    }
    gpu_check(checks, sample_error(qkv, small, at, width), 0, "rope of %lld rows", (long long)N);
    Floats last_cosines = down_as(cosines + (N - 1) * D / 2, D / 2), expected((size_t)(D / 2));
    for (int64_t i = 0; i < D / 2; i++) {
        expected[(size_t)i] = (float)cos((double)(N - 1) * pow(10000, -2.0 * (double)i / (double)D));
    }
    gpu_check(checks, error_of(last_cosines, expected), 1e-6, "rope angles at position %lld",
              (long long)N - 1);
    release({qkv, small, cosines, sines, scores.q, scores.k});
}

static void check_large_cross_entropy(GpuChecks *checks) {
    const int64_t V = 128256, rows = LARGE / V;
    std::vector<int64_t> at = sample_rows(rows, V);
    int64_t n = (int64_t)at.size();
    bf16 *logits = filled(rows * V, 1), *small = sample(logits, at, V);
    std::vector<int32_t> targets((size_t)rows), small_targets;
    for (size_t i = 0; i < targets.size(); i++) targets[i] = (int32_t)(mix(i) % (uint64_t)V);
    for (int64_t row : at) small_targets.push_back(targets[(size_t)row]);
    int32_t *targets_gpu = up(targets), *small_targets_gpu = up(small_targets);
    double *nats = room<double>(rows);
    cuda_cross_entropy(logits, nats, targets_gpu, rows, rows, 0, rows, V, 1, true, 0);
    cuda_cross_entropy(small, nats, small_targets_gpu, n, n, 0, n, V, 1, true, 0);
    gpu_check(checks, sample_error(logits, small, at, V), 0, "cross-entropy of %lld x %lld", (long long)rows,
              (long long)V);
    release({logits, small, targets_gpu, small_targets_gpu, nats});
}

void check_large(GpuChecks *checks) {
    check_large_rows(checks);
    check_large_rope(checks);
    check_large_cross_entropy(checks);
}
