// The gradients' norm and AdamW, against their CPU twins.
#include "cpu/cpu.h"
#include "cuda/kernels/adamw.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"

void check_adamw(GpuChecks *checks, int64_t count, double clip, bool finite) {
    Floats w = numbers(1, count), g = numbers(2, count), m = numbers(3, count, 0.1f),
           v = numbers(4, count, 0.1f);
    for (float &x : v) x = x * x;
    if (!finite) g[(size_t)count - 3] = INFINITY;
    Floats w_before = w, m_before = m;
    float *w_gpu = up(w), *g_gpu = up(g), *m_gpu = up(m), *v_gpu = up(v);
    bf16 *copy = room<bf16>(count);
    GradientNorm *norm_gpu = room<GradientNorm>(1);
    double *partial = room<double>(SQUARES_SLICES);
    AdamW a = {.step = 7,
               .lr = 1e-2,
               .beta1 = 0.9,
               .beta2 = 0.95,
               .eps = ADAMW_EPS,
               .weight_decay = 0.1,
               .clip = clip};

    double norm = sqrt(cpu_gradient_squares(g.data(), count)),
           scale = clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1;
    int64_t half = count / 8 * 4; // in two pieces, as shares come
    cuda_gradient_squares(partial, g_gpu, half, false, 0);
    cuda_gradient_squares(partial, g_gpu + half, count - half, true, 0);
    gradient_norm(norm_gpu, partial, SQUARES_SLICES, clip, 0, 0);
    cuda_adamw_update(w_gpu, copy, g_gpu, m_gpu, v_gpu, norm_gpu, count, &a, 0);
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
        cpu_adamw_update(w.data(), g.data(), m.data(), v.data(), count, scale, a.step, a.lr, a.beta1, a.beta2,
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
