// RMSNorm, biases, norms of heads, RoPE, SwiGLU and attention over cached keys and values, against their CPU
// twins.
#include "cpu/cpu.h"
#include "cuda/kernels/bias.cuh"
#include "cuda/kernels/cached_attention.cuh"
#include "cuda/kernels/head_norm.cuh"
#include "cuda/kernels/rmsnorm.cuh"
#include "cuda/kernels/rope.cuh"
#include "cuda/kernels/swiglu.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"

#include <algorithm>

void check_rmsnorm(GpuChecks *checks, int64_t rows, int64_t C) {
    const double eps = 1e-5;
    Floats x = numbers(1, rows * C), weight = numbers(2, C), dout = numbers(3, rows * C),
           dx = numbers(4, rows * C);
    Floats dweight = numbers(5, C), out((size_t)(rows * C)), rstd((size_t)rows);
    std::vector<double> slices((size_t)(RMSNORM_SLICES * C));
    bf16 *x_gpu = up_bf16(x), *out_gpu = room<bf16>(rows * C), *normed = up_bf16(dout), *dx_gpu = up_bf16(dx);
    float *weight_gpu = up(weight), *dweight_gpu = up(dweight),
          *partial = room<float>(column_slices(rows) * C);

    cpu_rmsnorm_forward(out.data(), rstd.data(), x.data(), weight.data(), rows, C, eps);
    cuda_rmsnorm_forward(out_gpu, x_gpu, weight_gpu, rows, C, eps, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * C), out), BOUND_BF16, "rmsnorm forward %lld x %lld",
              (long long)rows, (long long)C);

    cpu_rmsnorm_backward(dx.data(), dweight.data(), slices.data(), dout.data(), x.data(), weight.data(),
                         rstd.data(), rows, C);
    cuda_rmsnorm_backward(dx_gpu, dweight_gpu, normed, partial, normed, x_gpu, weight_gpu, rows, C, eps, 0);
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

void check_rope(GpuChecks *checks, int64_t B, int64_t N, int64_t H, int64_t KV, int64_t D, int64_t start) {
    int64_t heads = H + 2 * KV, count = B * N * heads * D, half = D / 2, E = N + 5;
    Floats qkv = numbers(1, count), cosines((size_t)((start + N) * half)), sines = cosines;
    float *cosines_gpu = room<float>((start + N) * half), *sines_gpu = room<float>((start + N) * half);
    LighthouseScores scores = {room<float>(B * H * E), room<float>(B * H * E)};
    bf16 *qkv_gpu = up_bf16(qkv), *back_gpu = up_bf16(qkv);
    const RopeScaling yarn = {ROPE_YARN, 4, 256};
    RopeFrequencies frequencies = rope_frequencies(&yarn, 10000, D, 0);
    cpu_rope_table(cosines.data(), sines.data(), start + N, D, &frequencies);
    cuda_rope_table(cosines_gpu, sines_gpu, start + N, D, frequencies, 0);
    gpu_check(checks, error_of(down_as(cosines_gpu, (start + N) * half), cosines), 1e-7,
              "rope cosines %lld x %lld", (long long)(start + N), (long long)D);
    gpu_check(checks, N + start > 1 ? error_of(down_as(sines_gpu, (start + N) * half), sines) : 0, 1e-7,
              "rope sines");

    Floats qk = heads_of(qkv, heads, D, 0, H + KV);
    cpu_rope_forward(qk.data(), cosines.data(), sines.data(), B, N, H + KV, D, start);
    cuda_rope_forward(qkv_gpu, cosines_gpu, sines_gpu, scores, E, B, N, H, KV, D, start, 0);
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
        cpu_rope_backward(back.data(), cosines.data(), sines.data(), B, N, H + KV, D, 0);
        cuda_rope_backward(back_gpu, cosines_gpu, sines_gpu, B, N, H, KV, D, 0, 0);
        gpu_check(checks, error_of(heads_of(down(back_gpu, count), heads, D, 0, H + KV), back), BOUND_BF16,
                  "rope backward");
    }
    release({cosines_gpu, sines_gpu, scores.q, scores.k, qkv_gpu, back_gpu});
}

void check_bias(GpuChecks *checks, int64_t rows, int64_t C) {
    Floats x = numbers(1, rows * C), bias = numbers(2, C), dbias = numbers(3, C);
    bf16 *x_gpu = up_bf16(x), *dout_gpu = up_bf16(x);
    float *bias_gpu = up(bias), *dbias_gpu = up(dbias), *partial = room<float>(column_slices(rows) * C);
    cpu_bias_backward(dbias.data(), x.data(), rows, C);
    cuda_bias_backward(dbias_gpu, partial, dout_gpu, rows, C, 0);
    gpu_check(checks, error_of(down_as(dbias_gpu, C), dbias), BOUND_FLOAT32, "dbias %lld x %lld",
              (long long)rows, (long long)C);
    cpu_bias_forward(x.data(), bias.data(), rows, C);
    cuda_bias_forward(x_gpu, bias_gpu, rows, C, 0);
    gpu_check(checks, error_of(down(x_gpu, rows * C), x), BOUND_BF16, "bias");
    release({x_gpu, dout_gpu, bias_gpu, dbias_gpu, partial});
}

// The twin, of some heads.   x, dx, first: (rows, count, D)
static void norm_heads(Floats *x, Floats *dx, Floats *dweight, const Floats &weight, int64_t D) {
    int64_t rows = (int64_t)x->size() / D;
    Floats before = *x, rstd((size_t)rows), given = *dx;
    std::vector<double> slices((size_t)(RMSNORM_SLICES * D));
    cpu_rmsnorm_forward(x->data(), rstd.data(), before.data(), weight.data(), rows, D, 1e-6);
    std::fill(dx->begin(), dx->end(), 0.0f);
    cpu_rmsnorm_backward(dx->data(), dweight->data(), slices.data(), given.data(), before.data(),
                         weight.data(), rstd.data(), rows, D);
}

void check_head_norm(GpuChecks *checks, int64_t rows, int64_t H, int64_t KV, int64_t D) {
    int64_t heads = H + 2 * KV, count = rows * heads * D;
    Floats qkv = numbers(1, count), dqkv = numbers(2, count), weight = numbers(3, 2 * D),
           dweight = numbers(4, 2 * D);
    bf16 *qkv_gpu = up_bf16(qkv), *dqkv_gpu = up_bf16(dqkv), *before = room<bf16>(rows * (H + KV) * D);
    float *weight_gpu = up(weight), *dweight_gpu = up(dweight),
          *partial = room<float>(column_slices(rows) * 2 * D);
    cuda_head_norm_forward(qkv_gpu, before, weight_gpu, rows, H, KV, D, 1e-6, 0);
    cuda_head_norm_backward(dqkv_gpu, dweight_gpu, partial, before, weight_gpu, rows, H, KV, D, 1e-6, 0);
    Floats out = down(qkv_gpu, count), dout = down(dqkv_gpu, count), summed = down_as(dweight_gpu, 2 * D);
    gpu_check(checks, error_of(down(before, rows * (H + KV) * D), heads_of(qkv, heads, D, 0, H + KV)), 0,
              "head norm keeps %lld x (%lld + %lld) x %lld", (long long)rows, (long long)H, (long long)KV,
              (long long)D);
    for (int side = 0; side < 2; side++) {
        int64_t first = side ? H : 0, n = side ? KV : H;
        Floats x = heads_of(qkv, heads, D, first, n), dx = heads_of(dqkv, heads, D, first, n);
        Floats w(weight.begin() + side * D, weight.begin() + (side + 1) * D);
        Floats dw(dweight.begin() + side * D, dweight.begin() + (side + 1) * D);
        Floats got(summed.begin() + side * D, summed.begin() + (side + 1) * D);
        norm_heads(&x, &dx, &dw, w, D);
        gpu_check(checks, error_of(heads_of(out, heads, D, first, n), x), BOUND_BF16, "head norm, side %d",
                  side);
        gpu_check(checks, error_of(heads_of(dout, heads, D, first, n), dx), BOUND_BF16, "head norm dx");
        gpu_check(checks, error_of(got, dw), BOUND_FLOAT32, "head norm dweight");
    }
    gpu_check(checks,
              error_of(heads_of(out, heads, D, H + KV, KV), heads_of(qkv, heads, D, H + KV, KV)) +
                  error_of(heads_of(dout, heads, D, H + KV, KV), heads_of(dqkv, heads, D, H + KV, KV)),
              0, "head norm leaves values alone");
    release({qkv_gpu, dqkv_gpu, before, weight_gpu, dweight_gpu, partial});
}

// gate | up of rows side by side, and apart.
static void split(const Floats &gate_up, Floats *gate, Floats *up_half, int64_t rows, int64_t F) {
    for (int64_t row = 0; row < rows; row++) {
        auto at = gate_up.begin() + row * 2 * F;
        gate->insert(gate->end(), at, at + F);
        up_half->insert(up_half->end(), at + F, at + 2 * F);
    }
}

void check_swiglu(GpuChecks *checks, int64_t rows, int64_t F) {
    Floats gate_up = numbers(1, rows * 2 * F, 4), dout = numbers(2, rows * F), gate, up_half, dgate_gpu,
           dup_gpu;
    split(gate_up, &gate, &up_half, rows, F);
    Floats out(gate.size()), dgate(gate.size()), dup(gate.size());
    bf16 *gate_up_gpu = up_bf16(gate_up), *out_gpu = room<bf16>(rows * F), *dout_gpu = up_bf16(dout);
    cpu_swiglu_forward(out.data(), gate.data(), up_half.data(), rows * F);
    cpu_swiglu_backward(dgate.data(), dup.data(), dout.data(), gate.data(), up_half.data(), rows * F);
    cuda_swiglu_forward(out_gpu, gate_up_gpu, rows, F, 0);
    gpu_check(checks, error_of(down(out_gpu, rows * F), out), BOUND_BF16, "swiglu forward %lld x %lld",
              (long long)rows, (long long)F);
    cuda_swiglu_backward(dout_gpu, gate_up_gpu, rows, F, 0);
    split(down(gate_up_gpu, rows * 2 * F), &dgate_gpu, &dup_gpu, rows, F);
    gpu_check(checks, error_of(dgate_gpu, dgate), BOUND_BF16, "swiglu dgate");
    gpu_check(checks, error_of(dup_gpu, dup), BOUND_BF16, "swiglu dup");
    Floats again = down(dout_gpu, rows * F), first = down(out_gpu, rows * F);
    gpu_check(checks, gpu_differences(again.data(), first.data(), rows * F), 0, "swiglu output once more");
    release({gate_up_gpu, out_gpu, dout_gpu});
}

void check_cached_attention(GpuChecks *checks, int64_t N, int64_t position, int64_t H, int64_t KV,
                            int64_t D) {
    int64_t heads = H + 2 * KV, n_k = position + N, width = KV * D, room_rows = n_k + 3;
    Floats qkv = numbers(1, N * heads * D), k = numbers(2, room_rows * width),
           v = numbers(3, room_rows * width);
    bf16 *qkv_gpu = up_bf16(qkv), *k_gpu = up_bf16(k), *v_gpu = up_bf16(v), *out_gpu = room<bf16>(N * H * D);
    Floats q = heads_of(qkv, heads, D, 0, H), new_k = heads_of(qkv, heads, D, H, KV);
    Floats new_v = heads_of(qkv, heads, D, H + KV, KV), out((size_t)(N * H * D));
    std::copy(new_k.begin(), new_k.end(), k.begin() + position * width);
    std::copy(new_v.begin(), new_v.end(), v.begin() + position * width);
    cpu_sdpa_forward(rows_token_major(out.data(), N, H, D, 1), NULL, rows_token_major(q.data(), N, H, D, 1),
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
