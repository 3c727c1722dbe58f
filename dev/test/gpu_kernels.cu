// Kernels of the CUDA engine, forward and backward, against their CPU twins, and their timings. Needs a GPU.
//   test_gpu_kernels          every check: awkward shapes, one row, tensors of more than 2^31 elements
//   test_gpu_kernels small    the checks without the large tensors
//   test_gpu_kernels time     microseconds and bytes a second at the size of the 530m preset
// Exit status 1 when a check fails. Errors are ||x - twin|| / ||twin||. Inputs are bf16 numbers on both
// sides, so that the error is that of the arithmetic and one rounding of the result: at most 2^-9, in the
// norm near 1.7e-3 for bf16 results; and of float32 sums else. Outputs are poisoned before each run.
#include "cpu/cpu.h"
#include "cuda/adamw.cuh"
#include "cuda/cached_attention.cuh"
#include "cuda/cross_entropy.cuh"
#include "cuda/embedding.cuh"
#include "cuda/matmul.cuh"
#include "cuda/rmsnorm.cuh"
#include "cuda/rope.cuh"
#include "cuda/swiglu.cuh"
#include "dev/test/support/gpu_check.cuh"

#include <algorithm>
#include <vector>

#define BOUND_BF16    2.5e-3 // one rounding of the result
#define BOUND_SUM     4e-3   // a result added to what was there, or of inputs rounded on the way
#define BOUND_FLOAT32 2e-5

typedef std::vector<float> Floats;

// ---------------------------------------------------------------------------------------------------------------
// Random numbers: element i of a stream is a function of the seed and i, on the host and on the card.

static __host__ __device__ uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// Of mean 0 and variance 1, uniform in +-sqrt(3), rounded to bf16.
static __host__ __device__ bf16 number(uint64_t seed, int64_t i) {
    uint64_t bits = mix(mix(seed) + 0x9e3779b97f4a7c15ull * (uint64_t)(i + 1));
    return __float2bfloat16(((float)(bits >> 40) / 16777216.0f - 0.5f) * 3.4641016f);
}

static Floats numbers(uint64_t seed, int64_t count, float scale = 1) {
    Floats x((size_t)count);
    for (int64_t i = 0; i < count; i++) {
        x[(size_t)i] = __bfloat162float(__float2bfloat16(scale * __bfloat162float(number(seed, i))));
    }
    return x;
}

static __global__ void fill_kernel(bf16 *out, int64_t count, uint64_t seed) {
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < count) out[i] = number(seed, i);
}

static bf16 *filled(int64_t count, uint64_t seed) {
    bf16 *data = gpu_alloc<bf16>(count);
    fill_kernel<<<(unsigned)ceil_div(count, 256), 256>>>(data, count, seed);
    CUDA_CHECK(cudaGetLastError());
    CUDA_CHECK(cudaDeviceSynchronize());
    return data;
}

// Device copies of host values, as bf16 or as they are, and poisoned room for results.
static bf16 *up_bf16(const Floats &x) {
    bf16 *device = gpu_alloc<bf16>((int64_t)x.size());
    gpu_upload_bf16(device, x.data(), (int64_t)x.size());
    return device;
}
template <typename T> static T *up(const std::vector<T> &x) {
    T *device = gpu_alloc<T>((int64_t)x.size());
    gpu_upload(device, x.data(), (int64_t)x.size());
    return device;
}
template <typename T> static T *room(int64_t count) {
    T *device = gpu_alloc<T>(count);
    gpu_poison(device, (size_t)count * sizeof(T));
    return device;
}
static void release(std::initializer_list<void *> all) {
    for (void *memory : all) CUDA_CHECK(cudaFree(memory));
}

// Elements of a bf16 or float32 tensor on the card.
static Floats down(const bf16 *device, int64_t count) {
    float *host = gpu_download_bf16(device, count);
    Floats x(host, host + count);
    free(host);
    return x;
}
template <typename T> static std::vector<T> down_as(const T *device, int64_t count) {
    T *host = gpu_download(device, count);
    std::vector<T> x(host, host + count);
    free(host);
    return x;
}
static double error_of(const Floats &a, const Floats &b) {
    return a.size() == b.size() ? gpu_error(a.data(), b.data(), (int64_t)a.size()) : NAN;
}

// ---------------------------------------------------------------------------------------------------------------
// Checks.

static void check_rmsnorm(GpuChecks *checks, int64_t rows, int64_t C) {
    const double eps = 1e-5;
    Floats x = numbers(1, rows * C), weight = numbers(2, C), dout = numbers(3, rows * C),
           dx = numbers(4, rows * C);
    Floats dweight = numbers(5, C), out((size_t)(rows * C)), rstd((size_t)rows);
    std::vector<double> slices((size_t)(RMSNORM_SLICES * C));
    bf16 *x_gpu = up_bf16(x), *out_gpu = room<bf16>(rows * C), *normed = up_bf16(dout), *dx_gpu = up_bf16(dx);
    float *weight_gpu = up(weight), *dweight_gpu = up(dweight),
          *partial = room<float>(rmsnorm_slices(rows) * C);

    rmsnorm_forward(out.data(), rstd.data(), x.data(), weight.data(), rows, C, eps);
    rmsnorm_forward(out_gpu, x_gpu, weight_gpu, rows, C, eps, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * C), out), BOUND_BF16, "rmsnorm forward %lld x %lld",
              (long long)rows, (long long)C);

    rmsnorm_backward(dx.data(), dweight.data(), slices.data(), dout.data(), x.data(), weight.data(),
                     rstd.data(), rows, C);
    rmsnorm_backward(dx_gpu, dweight_gpu, normed, partial, normed, x_gpu, weight_gpu, rows, C, eps, 0);
    gpu_check(checks, error_of(down(dx_gpu, rows * C), dx), BOUND_BF16, "rmsnorm dx");
    gpu_check(checks, error_of(down_as(dweight_gpu, C), dweight), BOUND_FLOAT32, "rmsnorm dweight");
    Floats again = down(normed, rows * C), first = down(out_gpu, rows * C);
    gpu_check(checks, gpu_differences(again.data(), first.data(), rows * C), 0, "rmsnorm output once more");
    release({x_gpu, out_gpu, normed, dx_gpu, weight_gpu, dweight_gpu, partial});
}

// Heads [first, first + count) of a packed tensor (rows, heads, D).
static Floats heads_of(const Floats &packed, int64_t heads, int64_t D, int64_t first, int64_t count) {
    Floats out;
    for (size_t row = 0; row < packed.size() / (size_t)(heads * D); row++) {
        auto at = packed.begin() + (int64_t)row * heads * D + first * D;
        out.insert(out.end(), at, at + count * D);
    }
    return out;
}

static void check_rope(GpuChecks *checks, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D,
                       int64_t start) {
    int64_t heads = H + 2 * KV, count = B * N * heads * D, half = D / 2, E = N + 5;
    Floats qkv = numbers(1, count), cosines((size_t)((start + N) * half)), sines = cosines;
    float *cosines_gpu = room<float>((start + N) * half), *sines_gpu = room<float>((start + N) * half);
    LighthouseScores scores = {room<float>(B * H * E), room<float>(B * H * E)};
    bf16 *qkv_gpu = up_bf16(qkv), *back_gpu = up_bf16(qkv);
    rope_table(cosines.data(), sines.data(), start + N, D, 10000);
    rope_table(cosines_gpu, sines_gpu, start + N, D, 10000, 0);
    gpu_check(checks, error_of(down_as(cosines_gpu, (start + N) * half), cosines), 1e-7,
              "rope cosines %lld x %lld", (long long)(start + N), (long long)D);
    gpu_check(checks, N + start > 1 ? error_of(down_as(sines_gpu, (start + N) * half), sines) : 0, 1e-7,
              "rope sines");

    Floats qk = heads_of(qkv, heads, D, 0, H + KV);
    rope_forward(qk.data(), cosines.data(), sines.data(), B, N, H + KV, D, start);
    rope_forward(qkv_gpu, cosines_gpu, sines_gpu, scores, E, B, N, H, KV, D, start, 0);
    Floats out = down(qkv_gpu, count), turned = heads_of(out, heads, D, 0, H + KV);
    gpu_check(checks, error_of(turned, qk), BOUND_BF16, "rope forward B %lld N %lld H %lld KV %lld D %lld",
              (long long)B, (long long)N, (long long)H, (long long)KV, (long long)D);
    gpu_check(checks, error_of(heads_of(out, heads, D, H + KV, KV), heads_of(qkv, heads, D, H + KV, KV)), 0,
              "rope leaves values alone");

    Floats score_q = down_as(scores.q, B * H * E), score_k = down_as(scores.k, B * H * E), expected, got;
    for (int64_t i = 0; i < B * H * N; i++) {
        int64_t b = i / (H * N), h = i / N % H, n = i % N, head[2] = {h, H + h / (H / KV)};
        for (int side = 0; side < 2; side++) {
            const float *row = &turned[(size_t)(((b * N + n) * (H + KV) + head[side]) * D)];
            double squares = 0;
            for (int64_t d = 0; d < D; d++) squares += (double)row[d] * row[d];
            expected.push_back((float)sqrt(squares));
            got.push_back((side ? score_k : score_q)[(size_t)((b * H + h) * E + n)]);
        }
    }
    gpu_check(checks, gpu_differences(got.data(), expected.data(), (int64_t)got.size()), 0, "rope norms");

    if (start == 0) {
        Floats back = heads_of(qkv, heads, D, 0, H + KV);
        rope_backward(back.data(), cosines.data(), sines.data(), B, N, H + KV, D, 0);
        rope_backward(back_gpu, cosines_gpu, sines_gpu, B, N, H, KV, D, 0, 0);
        gpu_check(checks, error_of(heads_of(down(back_gpu, count), heads, D, 0, H + KV), back), BOUND_BF16,
                  "rope backward");
    }
    release({cosines_gpu, sines_gpu, scores.q, scores.k, qkv_gpu, back_gpu});
}

// gate | up of rows side by side, and apart.
static void split(const Floats &gate_up, Floats *gate, Floats *up_half, int64_t rows, int64_t F) {
    for (int64_t row = 0; row < rows; row++) {
        auto at = gate_up.begin() + row * 2 * F;
        gate->insert(gate->end(), at, at + F);
        up_half->insert(up_half->end(), at + F, at + 2 * F);
    }
}

static void check_swiglu(GpuChecks *checks, int64_t rows, int64_t F) {
    Floats gate_up = numbers(1, rows * 2 * F, 4), dout = numbers(2, rows * F), gate, up_half, dgate_gpu,
           dup_gpu;
    split(gate_up, &gate, &up_half, rows, F);
    Floats out(gate.size()), dgate(gate.size()), dup(gate.size());
    bf16 *gate_up_gpu = up_bf16(gate_up), *out_gpu = room<bf16>(rows * F), *dout_gpu = up_bf16(dout);
    swiglu_forward(out.data(), gate.data(), up_half.data(), rows * F);
    swiglu_backward(dgate.data(), dup.data(), dout.data(), gate.data(), up_half.data(), rows * F);
    swiglu_forward(out_gpu, gate_up_gpu, rows, F, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * F), out), BOUND_BF16, "swiglu forward %lld x %lld",
              (long long)rows, (long long)F);
    swiglu_backward(dout_gpu, gate_up_gpu, rows, F, 0);
    split(down(gate_up_gpu, rows * 2 * F), &dgate_gpu, &dup_gpu, rows, F);
    gpu_check(checks, error_of(dgate_gpu, dgate), BOUND_BF16, "swiglu dgate");
    gpu_check(checks, error_of(dup_gpu, dup), BOUND_BF16, "swiglu dup");
    Floats again = down(dout_gpu, rows * F), first = down(out_gpu, rows * F);
    gpu_check(checks, gpu_differences(again.data(), first.data(), rows * F), 0, "swiglu output once more");
    release({gate_up_gpu, out_gpu, dout_gpu});
}

// `skew` of ten tokens are the same one.
static void check_embedding(GpuChecks *checks, int64_t B, int64_t N, int64_t V, int64_t C, int skew) {
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

    embedding_forward(out.data(), tokens.data(), stride, weight.data(), B, N, C);
    embedding_forward(out_gpu, tokens_gpu, stride, weight_gpu, B, N, C, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * C), out), 0,
              "embedding forward %lld x %lld tokens, V %lld, C %lld", (long long)B, (long long)N,
              (long long)V, (long long)C);
    embedding_backward(dweight.data(), dout.data(), tokens.data(), stride, B, N, C);
    embedding_backward(dweight_gpu, partial, dout_gpu, &device, C, 0);
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

// Rows first ... first + rows - 1 of sequences of N tokens.
static void check_cross_entropy(GpuChecks *checks, int64_t rows, int64_t V, int64_t N, int64_t first,
                                float spread) {
    const double scale = 1.0 / 12345;
    int64_t sequences = ceil_div(first + rows, N), stride = N + 3;
    Floats logits = numbers(1, rows * V, spread), gradient((size_t)(rows * V));
    std::vector<int32_t> targets((size_t)(sequences * stride));
    for (size_t i = 0; i < targets.size(); i++) targets[i] = (int32_t)(mix(i) % (uint64_t)V);
    std::vector<double> nats((size_t)rows);
    for (int64_t r = 0; r < rows; r++) {
        int64_t n = first + r;
        nats[(size_t)r] = row_loss(&gradient[(size_t)(r * V)], &logits[(size_t)(r * V)], V,
                                   targets[(size_t)(n / N * stride + n % N)], scale);
    }
    bf16 *logits_gpu = up_bf16(logits);
    double *nats_gpu = room<double>(first + rows), *sum_gpu = room<double>(1);
    int32_t *targets_gpu = up(targets);
    cross_entropy(logits_gpu, nats_gpu, targets_gpu, stride, N, first, rows, V, scale, false, 0);
    Floats kept = down(logits_gpu, rows * V);
    gpu_check(checks, gpu_differences(kept.data(), logits.data(), rows * V), 0,
              "cross-entropy without gradient leaves logits, %lld x %lld", (long long)rows, (long long)V);
    std::vector<double> alone = down_as(nats_gpu + first, rows);
    gpu_check(checks, gpu_error(alone.data(), nats.data(), rows), 1e-6, "cross-entropy loss");
    gpu_poison(nats_gpu, (size_t)(first + rows) * sizeof(double));
    cross_entropy(logits_gpu, nats_gpu, targets_gpu, stride, N, first, rows, V, scale, true, 0);
    std::vector<double> with = down_as(nats_gpu + first, rows);
    gpu_check(checks, gpu_error(with.data(), nats.data(), rows), 1e-6, "cross-entropy loss, with gradient");
    gpu_check(checks, error_of(down(logits_gpu, rows * V), gradient), BOUND_BF16, "cross-entropy gradient");
    sum_ordered(sum_gpu, nats_gpu + first, rows, 0);
    double total = 0;
    for (double x : with) total += x;
    gpu_check(checks, fabs(down_as(sum_gpu, 1)[0] - total) / total, 1e-12, "sum of losses");
    release({logits_gpu, nats_gpu, sum_gpu, targets_gpu});
}

static void check_adamw(GpuChecks *checks, int64_t count, double clip, bool finite) {
    Floats w = numbers(1, count), g = numbers(2, count), m = numbers(3, count, 0.1f),
           v = numbers(4, count, 0.1f);
    for (float &x : v) x = x * x;
    if (!finite) g[(size_t)count - 3] = INFINITY;
    Floats w_before = w, m_before = m;
    float *w_gpu = up(w), *g_gpu = up(g), *m_gpu = up(m), *v_gpu = up(v);
    bf16 *copy = room<bf16>(count);
    GradientNorm *norm_gpu = room<GradientNorm>(1);
    double *partial = room<double>(SQUARES_SLICES);
    AdamW a = {7, 1e-2, 0.9, 0.95, 1e-8, 0.1, clip, 0};

    double norm = sqrt(gradient_squares(g.data(), count)),
           scale = clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1;
    int64_t half = count / 8 * 4; // in two pieces, as shares come
    gradient_squares(partial, g_gpu, half, false, 0);
    gradient_squares(partial, g_gpu + half, count - half, true, 0);
    gradient_norm(norm_gpu, partial, SQUARES_SLICES, clip, 0, 0);
    adamw_update(w_gpu, copy, g_gpu, m_gpu, v_gpu, norm_gpu, count, &a, 0);
    GradientNorm result = down_as(norm_gpu, 1)[0];
    Floats zero((size_t)count, 0.0f), g_after = down_as(g_gpu, count), w_after = down_as(w_gpu, count);
    gpu_check(checks, gpu_differences(g_after.data(), zero.data(), count), 0, "adamw zeroes gradients, %lld",
              (long long)count);
    if (!finite) {
        Floats m_after = down_as(m_gpu, count);
        gpu_check(checks, isfinite(result.norm), 0, "a norm that is not finite is reported");
        gpu_check(checks, gpu_differences(w_after.data(), w_before.data(), count), 0, "... and weights stay");
        gpu_check(checks, gpu_differences(m_after.data(), m_before.data(), count), 0, "... and moments stay");
    } else {
        gpu_check(checks, fabs(result.norm - norm) / norm, 1e-12, "gradient norm");
        adamw_update(w.data(), g.data(), m.data(), v.data(), count, scale, a.step, a.lr, a.beta1, a.beta2,
                     a.eps, a.weight_decay);
        Floats step((size_t)count), step_gpu((size_t)count), rounded((size_t)count);
        for (size_t i = 0; i < w.size(); i++) {
            step[i] = w[i] - w_before[i];
            step_gpu[i] = w_after[i] - w_before[i];
            rounded[i] = __bfloat162float(__float2bfloat16(w_after[i]));
        }
        Floats copied = down(copy, count);
        gpu_check(checks, error_of(step_gpu, step), BOUND_FLOAT32, "adamw step, clip %g", clip);
        gpu_check(checks, error_of(down_as(m_gpu, count), m), 1e-6, "adamw first moments");
        gpu_check(checks, error_of(down_as(v_gpu, count), v), 1e-6, "adamw second moments");
        gpu_check(checks, gpu_differences(copied.data(), rounded.data(), count), 0, "adamw working copy");
    }
    release({w_gpu, g_gpu, m_gpu, v_gpu, copy, norm_gpu, partial});
}

typedef struct {
    CudaContext context;
    Matmul *matmul;
    void *workspace;
} Products;

static void must(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

static void check_matmul(GpuChecks *checks, Products *products, int64_t rows, int64_t n_in, int64_t n_out) {
    Error error;
    Matmul *matmul = products->matmul;
    Floats in = numbers(1, rows * n_in), weight = numbers(2, n_out * n_in),
           residual = numbers(3, rows * n_out);
    Floats dout = numbers(4, rows * n_out), dweight = numbers(5, n_out * n_in);
    Floats out((size_t)(rows * n_out)), din((size_t)(rows * n_in));
    bf16 *in_gpu = up_bf16(in), *weight_gpu = up_bf16(weight), *residual_gpu = up_bf16(residual);
    bf16 *dout_gpu = up_bf16(dout), *out_gpu = room<bf16>(rows * n_out), *din_gpu = room<bf16>(rows * n_in);
    float *dweight_gpu = up(dweight), *exact = room<float>(rows * n_out);

    matmul_forward(out.data(), in.data(), weight.data(), rows, n_in, n_out);
    must(matmul_forward(matmul, out_gpu, in_gpu, weight_gpu, NULL, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down(out_gpu, rows * n_out), out), BOUND_BF16,
              "matmul forward %lld x %lld -> %lld", (long long)rows, (long long)n_in, (long long)n_out);
    must(matmul_forward_float32(matmul, exact, in_gpu, weight_gpu, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down_as(exact, rows * n_out), out), BOUND_FLOAT32,
              "matmul forward to float32");
    for (size_t i = 0; i < out.size(); i++) out[i] += residual[i];
    gpu_poison(out_gpu, (size_t)(rows * n_out) * sizeof(bf16));
    must(matmul_forward(matmul, out_gpu, in_gpu, weight_gpu, residual_gpu, rows, n_in, n_out, &error),
         &error);
    gpu_check(checks, error_of(down(out_gpu, rows * n_out), out), BOUND_BF16, "matmul forward with residual");
    matmul_backward_input(din.data(), dout.data(), weight.data(), rows, n_in, n_out, false);
    must(matmul_backward_input(matmul, din_gpu, dout_gpu, weight_gpu, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down(din_gpu, rows * n_in), din), BOUND_BF16, "matmul backward, input");
    matmul_backward_weight(dweight.data(), dout.data(), in.data(), rows, n_in, n_out);
    must(matmul_backward_weight(matmul, dweight_gpu, dout_gpu, in_gpu, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down_as(dweight_gpu, n_out * n_in), dweight), BOUND_FLOAT32,
              "matmul backward, weight");
    release({in_gpu, weight_gpu, residual_gpu, dout_gpu, out_gpu, din_gpu, dweight_gpu, exact});
}

static void check_cached_attention(GpuChecks *checks, int64_t N, int64_t position, int64_t H, int64_t KV,
                                   int64_t D) {
    int64_t heads = H + 2 * KV, n_k = position + N, width = KV * D, room_rows = n_k + 3;
    Floats qkv = numbers(1, N * heads * D), k = numbers(2, room_rows * width),
           v = numbers(3, room_rows * width);
    bf16 *qkv_gpu = up_bf16(qkv), *k_gpu = up_bf16(k), *v_gpu = up_bf16(v), *out_gpu = room<bf16>(N * H * D);
    Floats q = heads_of(qkv, heads, D, 0, H), new_k = heads_of(qkv, heads, D, H, KV);
    Floats new_v = heads_of(qkv, heads, D, H + KV, KV), out((size_t)(N * H * D));
    std::copy(new_k.begin(), new_k.end(), k.begin() + position * width);
    std::copy(new_v.begin(), new_v.end(), v.begin() + position * width);
    sdpa_forward(rows_token_major(out.data(), N, H, D, 1), NULL, rows_token_major(q.data(), N, H, D, 1),
                 rows_token_major(k.data(), n_k, KV, D, H / KV),
                 rows_token_major(v.data(), n_k, KV, D, H / KV), 1, H, N, n_k, D);
    cache_append(k_gpu, v_gpu, qkv_gpu, N, position, H, KV, D, 0);
    cached_attention_forward(out_gpu, qkv_gpu, k_gpu, v_gpu, N, position, H, KV, D, 0);
    gpu_check(checks,
              error_of(down(k_gpu, room_rows * width), k) + error_of(down(v_gpu, room_rows * width), v), 0,
              "cache of %lld tokens behind %lld", (long long)N, (long long)position);
    gpu_check(checks, error_of(down(out_gpu, N * H * D), out), BOUND_SUM,
              "cached attention H %lld KV %lld D %lld", (long long)H, (long long)KV, (long long)D);
    release({qkv_gpu, k_gpu, v_gpu, out_gpu});
}

// ---------------------------------------------------------------------------------------------------------------
// Tensors of more than 2^31 elements: a few of their rows against the same rows alone.

#define LARGE 2300000000ll

// Where samples are taken: at the beginning, on both sides of element 2^31, and at the end.
static std::vector<int64_t> sample_rows(int64_t rows, int64_t width) {
    int64_t edge = (1ll << 31) / width;
    return {0, 1, edge - 1, edge, edge + 1, rows - 2, rows - 1};
}

// The rows of a small tensor `expected` against those of a large one on the card.
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
    float *weight_gpu = up(weight), *dweight = up(weight),
          *partial = room<float>(RMSNORM_BACKWARD_BLOCKS * C);

    rmsnorm_backward(y, dweight, z, partial, z, x, weight_gpu, rows, C, 1e-5, 0);
    rmsnorm_backward(y_small, dweight, z_small, partial, z_small, x_small, weight_gpu, n, C, 1e-5, 0);
    gpu_check(checks, sample_error(y, y_small, at, C), 0, "rmsnorm backward of %lld rows: dx",
              (long long)rows);
    gpu_check(checks, sample_error(z, z_small, at, C), 0, "rmsnorm backward of %lld rows: output",
              (long long)rows);
    rmsnorm_forward(z, x, weight_gpu, rows, C, 1e-5, 0);
    gpu_check(checks, sample_error(z, z_small, at, C), 0, "rmsnorm forward of %lld rows", (long long)rows);

    fill_kernel<<<(unsigned)ceil_div(rows * C, 256), 256>>>(y, rows * C, 2);
    swiglu_forward(z, x, half_rows, F, 0);
    swiglu_backward(y, x, half_rows, F, 0);
    bf16 *out_small = room<bf16>(n * F);
    swiglu_forward(out_small, gate_up_small, n, F, 0);
    swiglu_backward(d_small, gate_up_small, n, F, 0);
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
    rope_table(cosines, sines, N, D, 10000, 0);
    rope_forward(qkv, cosines, sines, scores, E, 1, N, H, KV, D, 0, 0);
    for (size_t i = 0; i < at.size(); i++) {
        rope_forward(small + (int64_t)i * width, cosines, sines, none, 0, 1, 1, H, KV, D, at[i], 0);
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
    cross_entropy(logits, nats, targets_gpu, rows, rows, 0, rows, V, 1, true, 0);
    cross_entropy(small, nats, small_targets_gpu, n, n, 0, n, V, 1, true, 0);
    gpu_check(checks, sample_error(logits, small, at, V), 0, "cross-entropy of %lld x %lld", (long long)rows,
              (long long)V);
    release({logits, small, targets_gpu, small_targets_gpu, nats});
}

// ---------------------------------------------------------------------------------------------------------------
// Timings.

// Median of 20 runs in microseconds.
template <typename Run> static double microseconds(Run run, cudaStream_t stream = 0) {
    std::vector<float> times;
    cudaEvent_t begin, end;
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
    for (int i = 0; i < 23; i++) {
        float ms;
        CUDA_CHECK(cudaEventRecord(begin, stream));
        run();
        CUDA_CHECK(cudaEventRecord(end, stream));
        CUDA_CHECK(cudaEventSynchronize(end));
        CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
        if (i >= 3) times.push_back(ms);
    }
    std::sort(times.begin(), times.end());
    return 1e3 * times[times.size() / 2];
}

template <typename Run> static void time_one(const char *name, double bytes, Run run) {
    double us = microseconds(run);
    printf("%-28s %9.1f us %8.2f TB/s\n", name, us, bytes / us / 1e6);
}

static void time_products(void) {
    const int64_t rows = 98304, widest = 3072;
    const int64_t shapes[][3] = {
        {rows, 1024, 3072}, {rows, 1024, 1024}, {rows, 1536, 1024}, {4096, 1024, 128256}, {rows, 1024, 320}};
    Error error;
    Products products;
    must(cuda_context_create(&products.context, 0, &error), &error);
    CUDA_CHECK(cudaMalloc(&products.workspace, MATMUL_WORKSPACE_BYTES));
    products.matmul = matmul_create(&products.context, products.workspace);
    bf16 *in = filled(rows * widest, 1), *out = filled(4096 * 128256, 2), *weight = filled(128256 * 1024, 3);
    bf16 *residual = filled(rows * 1024, 4);
    float *dweight = room<float>(128256 * 1024);
    for (const int64_t *s : shapes) {
        double flops = 2.0 * (double)s[0] * (double)s[1] * (double)s[2];
        bool ok = true, adds = s[2] == 1024; // the projections back to the residual stream
        double us[3] = {microseconds(
                            [&] {
                                ok = ok && matmul_forward(products.matmul, out, in, weight,
                                                          adds ? residual : NULL, s[0], s[1], s[2], &error);
                            },
                            products.context.stream),
                        microseconds(
                            [&] {
                                ok = ok && matmul_backward_input(products.matmul, in, out, weight, s[0], s[1],
                                                                 s[2], &error);
                            },
                            products.context.stream),
                        microseconds(
                            [&] {
                                ok = ok && matmul_backward_weight(products.matmul, dweight, out, in, s[0],
                                                                  s[1], s[2], &error);
                            },
                            products.context.stream)};
        must(ok, &error);
        printf("product %6lld x %4lld -> %6lld: forward %8.1f us %4.0f TFLOP/s, input %8.1f us %4.0f, weight "
               "%8.1f us %4.0f\n",
               (long long)s[0], (long long)s[1], (long long)s[2], us[0], flops / us[0] / 1e6, us[1],
               flops / us[1] / 1e6, us[2], flops / us[2] / 1e6);
    }
    release({in, out, weight, residual, dweight, products.workspace});
    matmul_destroy(products.matmul);
    cuda_context_destroy(&products.context);
}

// The 530m preset's sizes; bytes are those that must move once.
static void time_kernels(void) {
    const int64_t rows = 98304, C = 1024, F = 1536, H = 8, KV = 8, D = 128, V = 128256, params = 530117632;
    const double row_bytes = (double)(rows * C) * 2;
    bf16 *x = filled(rows * 2 * F, 1), *y = filled(rows * 2 * F, 2), *z = filled(rows * 2 * F, 3);
    float *weight = up(numbers(4, C)), *dweight = room<float>(C),
          *partial = room<float>(RMSNORM_BACKWARD_BLOCKS * C);
    float *cosines = room<float>(rows * D / 2), *sines = room<float>(rows * D / 2);
    LighthouseScores scores = {room<float>(H * rows), room<float>(H * rows)};
    rope_table(cosines, sines, rows, D, 10000, 0);
    time_one("copy", 2 * 3 * row_bytes, [&] {
        CUDA_CHECK(cudaMemcpyAsync(x, y, (size_t)(3 * row_bytes), cudaMemcpyDeviceToDevice, 0));
    });
    time_one("rmsnorm forward", 2 * row_bytes, [&] { rmsnorm_forward(y, x, weight, rows, C, 1e-5, 0); });
    time_one("rmsnorm backward", 5 * row_bytes,
             [&] { rmsnorm_backward(z, dweight, y, partial, y, x, weight, rows, C, 1e-5, 0); });
    time_one("rope forward with norms", 4 * row_bytes,
             [&] { rope_forward(x, cosines, sines, scores, rows, 1, rows, H, KV, D, 0, 0); });
    time_one("rope backward", 4 * row_bytes,
             [&] { rope_backward(x, cosines, sines, 1, rows, H, KV, D, 0, 0); });
    time_one("swiglu forward", 4.5 * row_bytes, [&] { swiglu_forward(y, x, rows, F, 0); });
    time_one("swiglu backward", 9 * row_bytes, [&] { swiglu_backward(y, x, rows, F, 0); });
    release({y, z, partial, cosines, sines, scores.q, scores.k, weight, dweight});

    int64_t chunk = cross_entropy_chunk(rows, V);
    bf16 *logits = filled(chunk * V, 1);
    std::vector<int32_t> tokens((size_t)rows), starts((size_t)V + 1), order_rows((size_t)rows);
    for (size_t i = 0; i < tokens.size(); i++) tokens[i] = (int32_t)(mix(i) % 100 + mix(i + 1) % 100);
    int32_t *tokens_gpu = up(tokens);
    double *nats = room<double>(rows);
    time_one("cross-entropy, a chunk", 2.0 * (double)(chunk * V) * 2,
             [&] { cross_entropy(logits, nats, tokens_gpu, rows, rows, 0, chunk, V, 1, true, 0); });
    std::vector<EmbeddingPiece> pieces((size_t)embedding_max_pieces(rows, V));
    std::vector<EmbeddingToken> long_tokens((size_t)embedding_max_slots(rows) / 2);
    EmbeddingOrder order = {order_rows.data(), pieces.data(), long_tokens.data(), 0, 0};
    embedding_order(&order, starts.data(), tokens.data(), rows, 1, rows, V);
    EmbeddingOrder device = {up(order_rows), up(pieces), up(long_tokens), order.n_pieces, order.n_long};
    float *dtable = room<float>(V * C), *slots = room<float>(embedding_max_slots(rows) * C);
    time_one("embedding backward", row_bytes, [&] { embedding_backward(dtable, slots, x, &device, C, 0); });
    release({x, logits, tokens_gpu, nats, device.rows, device.pieces, device.long_tokens, dtable, slots});

    float *flat[4];
    for (float *&array : flat) array = room<float>(params);
    for (float *array : flat) CUDA_CHECK(cudaMemset(array, 0, (size_t)params * sizeof(float)));
    bf16 *copy = room<bf16>(params);
    GradientNorm *norm = room<GradientNorm>(1);
    double *squares = room<double>(SQUARES_SLICES);
    AdamW a = {7, 1e-4, 0.9, 0.95, 1e-8, 0.1, 1, 0};
    time_one("gradient norm", 4.0 * params, [&] {
        gradient_squares(squares, flat[1], params, false, 0);
        gradient_norm(norm, squares, SQUARES_SLICES, 1, 0, 0);
    });
    time_one("adamw", 34.0 * params,
             [&] { adamw_update(flat[0], copy, flat[1], flat[2], flat[3], norm, params, &a, 0); });
    release({flat[0], flat[1], flat[2], flat[3], copy, norm, squares});
}

// ---------------------------------------------------------------------------------------------------------------

static void check_small(GpuChecks *checks) {
    const int64_t norm_shapes[][2] = {{1, 8},      {7, 64},      {3, 264},    {1, 1024},
                                      {1057, 320}, {2113, 1024}, {333, 2056}, {65, 8192}};
    for (const int64_t *shape : norm_shapes) check_rmsnorm(checks, shape[0], shape[1]);
    check_rope(checks, 1, 1, 1, 1, 64, 0);
    check_rope(checks, 2, 77, 3, 1, 128, 0);
    check_rope(checks, 3, 33, 6, 2, 64, 0);
    check_rope(checks, 2, 45, 2, 1, 128, 0);
    check_rope(checks, 2, 45, 2, 1, 64, 0);
    check_rope(checks, 1, 130, 8, 8, 128, 0);
    check_rope(checks, 1, 19, 40, 8, 128, 1000);
    const int64_t swiglu_shapes[][2] = {{1, 8}, {7, 24}, {65, 768}, {33, 1536}, {5, 14336}};
    for (const int64_t *shape : swiglu_shapes) check_swiglu(checks, shape[0], shape[1]);
    check_embedding(checks, 1, 1, 8, 8, 0);
    check_embedding(checks, 3, 65, 16, 72, 0);
    check_embedding(checks, 2, 1001, 320, 1032, 3);
    check_embedding(checks, 1, 64, 320, 128, 10);
    check_embedding(checks, 1, 30000, 1000, 256, 9);
    check_cross_entropy(checks, 1, 8, 1, 0, 3);
    check_cross_entropy(checks, 37, 24, 20, 11, 3);
    check_cross_entropy(checks, 130, 320, 50, 7, 40);
    check_cross_entropy(checks, 9, 1000, 4, 3, 3);
    check_cross_entropy(checks, 5, 128256, 3, 1, 5);
    check_adamw(checks, 64, 0, true);
    check_adamw(checks, 64 * 4099, 1, true);
    check_adamw(checks, 64 * 4099, 1e9, true);
    check_adamw(checks, 64 * 7, 1, false);
    check_cached_attention(checks, 1, 0, 1, 1, 64);
    check_cached_attention(checks, 1, 1000, 8, 8, 128);
    check_cached_attention(checks, 5, 61, 6, 2, 64);
    check_cached_attention(checks, 33, 7, 8, 2, 128);
    Error error;
    Products products;
    must(cuda_context_create(&products.context, 0, &error), &error);
    CUDA_CHECK(cudaMalloc(&products.workspace, MATMUL_WORKSPACE_BYTES));
    products.matmul = matmul_create(&products.context, products.workspace);
    // The last three have tiles for more than two waves forward, backward to the input, and to the weight.
    const int64_t products_shapes[][3] = {{1, 64, 8},        {1, 1024, 320},    {7, 72, 40},
                                          {513, 320, 200},   {1000, 1024, 328}, {4104, 264, 2056},
                                          {4104, 2056, 264}, {264, 4104, 2056}};
    for (const int64_t *shape : products_shapes)
        check_matmul(checks, &products, shape[0], shape[1], shape[2]);
    matmul_destroy(products.matmul);
    CUDA_CHECK(cudaFree(products.workspace));
    cuda_context_destroy(&products.context);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "all";
    GpuChecks checks = {0, 0, true};
    if (!strcmp(mode, "time")) {
        time_kernels();
        time_products();
        return 0;
    }
    check_small(&checks);
    if (strcmp(mode, "small") != 0) {
        check_large_rows(&checks);
        check_large_rope(&checks);
        check_large_cross_entropy(&checks);
    }
    return gpu_checks_finish(&checks);
}
