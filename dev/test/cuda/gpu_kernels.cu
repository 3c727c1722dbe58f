// Kernels of the CUDA engine, forward and backward, against their CPU twins, and their timings. Needs a GPU.
// The checks are in dev/test/gpu_kernels/, by subject; here are the shapes.
//   test_gpu_kernels          every check: awkward shapes, one row, tensors of more than 2^31 elements
//   test_gpu_kernels small    the checks without the large tensors
//   test_gpu_kernels time     microseconds and bytes a second at the size of the 530m preset
// Exit status 1 when a check fails.
#include "dev/test/cuda/gpu_kernels/checks.cuh"

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
    check_rope(checks, 2, 77, 3, 1, 96, 0);
    check_rope(checks, 1, 131, 32, 8, 96, 5);
    const int64_t bias_shapes[][2] = {{1, 64}, {7, 192}, {2113, 1024}, {65, 6144}};
    for (const int64_t *shape : bias_shapes) check_bias(checks, shape[0], shape[1]);
    check_head_norm(checks, 1, 1, 1, 64);
    check_head_norm(checks, 77, 3, 1, 128);
    check_head_norm(checks, 2113, 6, 2, 64);
    check_head_norm(checks, 1057, 16, 8, 128);
    check_head_norm(checks, 1, 1, 1, 96);
    check_head_norm(checks, 2113, 6, 2, 96);
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
    check_cross_entropy(checks, 4, 1, 4, 0, 3);
    check_cross_entropy(checks, 40, 130, 20, 11, 3);
    check_cross_entropy(checks, 6, 50257, 4, 1, 5);
    check_cross_entropy(checks, 5, 128256, 3, 1, 5);
    check_adamw(checks, 64, 0, true);
    check_adamw(checks, 64 * 4099, 1, true);
    check_adamw(checks, 64 * 4099, 1e9, true);
    check_adamw(checks, 64 * 7, 1, false);
    check_cached_attention(checks, 1, 0, 1, 1, 64);
    check_cached_attention(checks, 1, 1000, 8, 8, 128);
    check_cached_attention(checks, 5, 61, 6, 2, 64);
    check_cached_attention(checks, 33, 7, 8, 2, 128);
    check_cached_attention(checks, 1, 0, 1, 1, 96);
    check_cached_attention(checks, 5, 1000, 6, 2, 96);
    check_products(checks);
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
    if (strcmp(mode, "small") != 0) check_large(&checks);
    return gpu_checks_finish(&checks);
}
